"""One line a tool call, for the folded steps of the page."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import ToolMessage

from agent.answer.recalled import remembered_notes
from prompts import text as say
from tools.units import gib


def summarise(message: ToolMessage, language: str) -> str:
    """Return what a call came to, as one plain sentence."""
    found: dict[str, Any] = message.artifact if isinstance(message.artifact, dict) else {}
    if message.status == "error":
        code = found.get("code", "errors_agent.wrong_arguments")
        return say(language, code, **found.get("params", {}))
    kind = found.get("kind")
    if kind == "specs":
        names = [m["name"] for m in found["models"]] + [g["name"] for g in found["gpus"]]
        return say(language, "agent.step_specs", names=", ".join(names) or "-", date=found["catalogue_date"])
    if kind == "search":
        return say(language, "agent.step_search", count=len(found["hits"]), query=found["query"])
    if kind == "files":
        return say(language, "agent.step_files", names=", ".join(found["names"]))
    if kind == "log":
        return str(found["summary"])
    if kind == "knowledge":
        names = [entry["title"] for entry in found["entries"]]
        return say(language, "agent.step_knowledge", names=", ".join(names) or "-")
    if kind == "remembered":
        notes = [say(language, n["code"], **n["params"]) for n in remembered_notes(found, language)]
        return say(language, "recall.step", what=" ".join(notes))
    if kind == "hardware":
        return _hardware(found, language)
    return _calculation(found, language)


def _hardware(found: dict[str, Any], language: str) -> str:
    cards = [g["name"] for g in (found.get("rig") or {}).get("gpus", [])]
    return say(language, "agent.step_hardware", names=", ".join(cards)) if cards else say(language, "agent.step_no_gpu")


def _calculation(found: dict[str, Any], language: str) -> str:
    plan = found.get("plan")
    if not plan:
        return say(language, "agent.step_sizes")
    missing = plan["as_asked"]["deficit_bytes"]
    code = f"agent.step_{plan['verdict']}"
    return say(language, code, missing=gib(missing), options=len(plan["options"]))
