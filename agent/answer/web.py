"""What pages state beside what was computed, in words: quoted with title, address and date, differences told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.answer.markdown import billions, gib, group
from agent.state import State, artifact
from prompts import text as say
from tools.search.compare import compared, known_of


def web_rows(state: State) -> list[dict[str, Any]]:
    """Return the figures of the pages that were read, at most four, those that differ from the computed ones first.

    Returns:
        Rows of ``tools.search.compare.compared`` with ``note``: a message on how the figure compares, or None.
    """
    found = artifact(state, "search_web") or {}
    known = known_of(artifact(state, "look_up_specs"), artifact(state, "calculate_vram"))
    language = state.get("reading", {}).get("language", "en")
    return [{**row, "note": _note(row, language)} for row in compared(found.get("pages") or (), known)]


def is_only_found(view: Mapping[str, Any]) -> bool:
    """Tell whether what the search found is the answer: news, or a search for what no catalogue has."""
    reading, search = view["reading"], view["search"]
    if not search or not search["hits"] or view["plan"]:
        return False
    return bool(reading.get("wants_news")) or not (reading.get("models") or reading.get("gpus"))


def _note(row: Mapping[str, Any], language: str) -> dict[str, Any] | None:
    if row["agrees"] is None:
        return None
    code = "agent.web_agrees" if row["agrees"] else "agent.web_differs"
    name = str(row["about"]).rsplit("/", 1)[-1]
    return {"code": code, "params": {"name": name, "value": _value(row["quantity"], row["known"], language)}}


def _value(quantity: str, known: float, language: str) -> str:
    """Write a known value as people read it."""
    if quantity in {"params", "active"}:
        return say(language, f"agent.web_{quantity}", count=billions(known))
    if quantity == "context":
        return say(language, "agent.web_context", count=group(known, language))
    if quantity == "bandwidth":
        return say(language, "agent.web_bandwidth", count=group(known / 1e9, language))
    return gib(known)
