"""Writes a turn's answer: picks the template, renders it in the asker's language, and checks its figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from agent.answer.choices import enough_cards, less_quoted, next_questions, without_plan
from agent.answer.markdown import quote_markdown, render
from agent.answer.recalled import other_rigs, recalled_rig
from agent.answer.view import build_view
from agent.answer.web import is_only_found
from agent.grounding import Checker, facts_of, pieces
from agent.state import State, TurnRecord, this_turn, tool_calls
from prompts import text as say
from tools.domain import Note
from tools.tool_results import COUNTED

_CHECKED = ("grounded", "checked", "taken_out")
_LIMIT_QUESTIONS = frozenset({"max_context", "max_users", "max_copies", "which_quant"})


@dataclass(frozen=True)
class Answer:
    """A written answer with all that a turn hands out besides it; ``shown`` of it the asker has seen already."""

    markdown: str
    result: dict[str, Any]
    asks: tuple[Note, ...] = ()
    offered: dict[str, Any] | None = None
    files: tuple[Path, ...] = ()
    folder: Path = field(default_factory=Path)
    target: str = ""
    option: str = ""
    plan: dict[str, Any] | None = None
    shown: str = ""

    def chunks(self) -> Iterator[str]:
        """Yield what was not shown yet by paragraphs; a table is one piece, so nothing is shown half."""
        yield from re.findall(r".+?(?:\n\n+|\Z)", self.markdown[len(self.shown) :], re.DOTALL)

    def record(self, state: State) -> TurnRecord:
        """Return the turn as it is kept for a reload."""
        return {
            "user": state.get("turns", [""])[-1],
            "answer": self.markdown,
            "language": self.result["language"],
            "steps": self.result["steps"],
            "plan": self.plan,
            "files": [str(path) for path in self.files],
            "figures": {key: self.result[key] for key in ("llm", *_CHECKED)},
            "suggestions": self.result["suggestions"],
        }


def write_answer(state: State) -> Answer:
    """Write the answer of a turn from its tool results, or take a model's where it wrote one that stands."""
    view = build_view(state)
    language = view["language"]
    template = _template(view)
    view = {**view, "asks": [], "offered": None} if template == "news" else view
    draft = state.get("draft") or {"text": "", "shown": ""}
    checked = {key: draft[key] for key in _CHECKED} if draft["text"] else None
    body = draft["text"] or render(language, template, view)
    result = _result(state, view, template, checked or _checked(less_quoted(body, view), state))
    lines = [*map(quote_markdown, result["notices"]), *_from_memory(state, view, template)]
    web = [render(language, "found", view)] if draft["text"] and view["search"] else []
    parts = [body, *web, *lines] if draft["text"] else [draft["shown"], *lines, body]
    made, files = view["calculation"], view["files"]
    return Answer(
        markdown="\n\n".join(filter(None, parts)),
        result=result,
        asks=tuple(Note(a["code"], a["params"]) for a in view["asks"]),
        offered=view["offered"],
        files=tuple(Path(p) for p in files["files"]) if files else (),
        folder=Path(files["folder"]) if files else Path(),
        target=files["target"] if files else "",
        option=files["option"] if files else "",
        plan={"request": made["request"]} if made and made["plan"] else None,
        shown=draft["shown"],
    )


def _checked(written: str, state: State) -> dict[str, Any]:
    """Check what a template wrote: all its figures come from results, and this says so of each answer."""
    checker = Checker(facts_of(state))
    wrong = sum(len(checker.check(piece)) for piece in pieces(written))
    return {"grounded": not wrong, "checked": checker.checked, "taken_out": 0}


def _from_memory(state: State, view: Mapping[str, Any], template: str) -> list[str]:
    """Return what was remembered beside the answer, and which remembered hardware it takes."""
    notes = [] if template == "remembered" else list(view["remembered"])
    taken = recalled_rig(state) if view["plan"] else None
    lines: list[str] = [quote_markdown(say(view["language"], n["code"], **n["params"])) for n in notes]
    return [*lines, f"*{quote_markdown(say(view['language'], taken['code'], **taken['params']))}*"] if taken else lines


def _template(view: Mapping[str, Any]) -> str:
    """Choose the kind of answer, most pressing first."""
    reading, made = view["reading"], view["calculation"]
    if view["thanks"]:
        return "thanks"
    if view["remembered"] and not view["calculation"]:
        return "remembered"
    if view["log"]:
        return "log"
    if view["knowledge"]:
        return "knowledge"
    if view["failures"]:
        return "problem"
    if is_only_found(view):
        return "news"
    if reading.get("expect") == "scope":
        return "help" if view["greeting"] else "scope"
    if reading.get("expect") == "correct" and not view["plan"]:
        return "correct"
    if made:
        return _computed(view, made, reading.get("intent", "other"))
    return "asks" if view["asks"] else "help"


def _computed(view: Mapping[str, Any], made: Mapping[str, Any], intent: str) -> str:
    """Choose the kind of answer to something that was calculated."""
    if view["plan"] and intent == "config":
        return "config"
    kind = without_plan(view, made, intent)
    if kind:
        return kind
    if view["compared"]:
        return "compare"
    if view["needs"] and intent in COUNTED:
        return "needs"
    if view["plan"]:
        return "limits" if intent in _LIMIT_QUESTIONS and made["ladder"] else "plan"
    if made["rough"]:
        return "rough"
    if made["sizes"] and not (intent == "fit" and view["asks"]):
        return "sizes"
    return "asks" if view["asks"] else "help"


def _result(state: State, view: Mapping[str, Any], template: str, checked: Mapping[str, Any]) -> dict[str, Any]:
    language = view["language"]
    calls, steps = _calls(state)
    writer = next((m.additional_kwargs for m in reversed(this_turn(state)) if isinstance(m, AIMessage)), {})
    return {
        "language": language,
        "kind": template,
        "tool_calls": calls,
        "steps": steps,
        "files": view["files"]["files"] if view["files"] else [],
        "sources": _sources(view),
        "asks": [say(language, a["code"], **a["params"]) for a in view["asks"]],
        "suggestions": [*_suggestions(view, language), *(other_rigs(state, language) if view["plan"] else [])],
        **checked,
        "llm": writer.get("llm", "embedded"),
        "notices": [say(language, n["code"], **n["params"]) for n in [*writer.get("notices", []), *view["broken"]]],
    }


def _calls(state: State) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the turn's calls as ``rigfit ask`` prints them, and as the page's folded steps."""
    done = {m.tool_call_id: m for m in this_turn(state) if isinstance(m, ToolMessage)}
    calls: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for call in tool_calls(state):
        message = done.get(call["id"])
        if message is None:
            continue
        step = message.additional_kwargs.get("step", {})
        ok = message.status == "success"
        shown = {"seconds": step.get("seconds", 0.0), "ok": ok, "summary": step.get("summary", "")}
        calls.append({"name": call["name"], "args": call["args"], **shown})
        steps.append({"name": call["name"], "id": call["id"], **shown})
    return calls, steps


def _sources(view: Mapping[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    if view["specs"]:
        for model in view["specs"]["models"]:
            revision = model["hub"].get("revision")
            date = f"revision {revision[:12]}" if revision else view["catalogue_date"]
            found.append({"title": model["name"], "url": model["url"], "date": date})
    for entry in view["knowledge"]["entries"] if view["knowledge"] else ():
        found += [{"title": s["title"], "url": s["url"], "date": s["read"]} for s in entry["sources"]]
    hits = view["search"]["hits"] if view["search"] else []
    return found + [{"title": h["title"], "url": h["url"], "date": h["date"]} for h in hits]


def _suggestions(view: Mapping[str, Any], language: str) -> list[str]:
    """Offer the follow-ups that make sense after this answer, as chips."""
    if view["offered"] and not view["plan"]:
        return [say(language, "agent.chip_this_machine")]
    if not view["plan"]:
        return next_questions(view, language)
    more = enough_cards(view, language)
    codes = ["agent.chip_context"]
    if len(view["asked"]["footprints"]) > 1:
        codes.insert(0, "agent.chip_second_int4")
    if view["fits"] and not view["files"]:
        codes.append("agent.chip_compose")
    return [*more, *(say(language, code) for code in codes)]
