"""From the events of a conversation turn to the messages of the chat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from agent.events import (
    AnswerText,
    Asked,
    Event,
    FilesReady,
    Finished,
    Notice,
    PastTurn,
    PlanReady,
    StepFinished,
    StepStarted,
    TurnResult,
)
from prompts import messages, text
from tools.domain import Plan

Message = dict[str, Any]
"""A message of gr.Chatbot: ``{"role", "content"}``, with ``metadata`` where it is a step and ``options`` for chips."""

_NAME_CHARS = 80
_INLINE = re.compile(r"([\\`*_\[\]|~$])")
_AT_LINE_START = re.compile(r"^(\s*)([#+>=-]|\d+(?=[.)]))", re.MULTILINE)


def plain_markdown(line: str) -> str:
    """Escape text so that Markdown shows it as it is."""
    escaped = _INLINE.sub(r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;")
    return _AT_LINE_START.sub(lambda found: f"{found[1]}&#{ord(found[2][0])};{found[2][1:]}", escaped)


def user_message(words: str) -> Message:
    """Return the asker's own words, shown as typed."""
    return {"role": "user", "content": plain_markdown(words)}


def answer_message(markdown: str, chips: Sequence[str] = (), mark: str = "") -> Message:
    """Return an answer, with the mark on its figures below it and follow-up questions as chips."""
    message: Message = {"role": "assistant", "content": f"{markdown}\n\n{mark}".strip()}
    if chips:
        message["options"] = [{"value": chip} for chip in chips]
    return message


def figures_mark(turn: TurnResult | PastTurn, language: str) -> str:
    """Say who wrote an answer and how its figures were found; nothing where a model has no part and there are none."""
    by_rules = turn.llm == "embedded"
    if not turn.llm or (by_rules and not turn.checked):
        return ""
    kind = "rules" if by_rules else "checked" if turn.checked else "bare"
    if not turn.grounded or turn.taken_out:
        kind = "taken_out" if turn.taken_out else "unproven"
    counts = {"checked": turn.checked, "taken_out": turn.taken_out}
    words = escape(text(language, f"ui.figures_{kind}", llm=turn.llm[:_NAME_CHARS], **counts))
    return f'<div class="rf-mark rf-mark-{kind}">{words}</div>'


def step_message(step: StepFinished | StepStarted, language: str) -> Message:
    """Return a tool call as a fold of one line, with its time when it has ended."""
    title = step_title(step.name, language)
    if isinstance(step, StepFinished):
        title = text(language, "ui.step_ok" if step.ok else "ui.step_failed", step=title, seconds=step.seconds)
    content = plain_markdown(step.summary) if isinstance(step, StepFinished) else text(language, "ui.step_running")
    return {"role": "assistant", "content": content, "metadata": {"title": title, "status": "done"}}


def step_title(name: str, language: str) -> str:
    """Name a tool call in words; an unknown tool keeps its own name."""
    table = messages(language, "ui")
    return table.get(f"step_{name}", plain_markdown(name))


class Turn:
    """Collects the events of one turn.

    Attributes:
        finished: the turn is over, with an answer or with a sentence on what went wrong.
    """

    def __init__(self, words: str, language: str) -> None:
        self._language = language
        self._user = user_message(words)
        self._steps: dict[str, Message] = {}
        self._notices: list[str] = []
        self._answer = ""
        self._chips: tuple[str, ...] = ()
        self._mark = ""
        self.finished = False

    def apply(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case StepStarted() | StepFinished():
                self._steps[event.id or event.name] = step_message(event, self._language)
            case AnswerText():
                self._answer += event.markdown_chunk
            case Notice():
                self._notices.append(event.text)
            case Finished():
                self._answer = event.result.answer_markdown or self._answer
                self._chips = event.result.suggestions
                self._mark = figures_mark(event.result, event.result.language)
                self.finished = True
            case PlanReady() | Asked() | FilesReady():
                pass

    def fail(self, sentence: str) -> None:
        """End the turn with one sentence instead of an answer."""
        self._answer = f"{self._answer}\n\n{sentence}".strip()
        self.finished = True

    def shown(self) -> list[Message]:
        """Return the turn's messages as they stand."""
        shown = [self._user, *self._steps.values()]
        body = "\n\n".join([*(f"*{plain_markdown(line)}*" for line in self._notices), self._answer]).strip()
        if body:
            shown.append(answer_message(body, self._chips if self.finished else (), self._mark))
        return shown


def past_messages(turns: Sequence[PastTurn]) -> list[Message]:
    """Return a stored conversation as it was shown: follow-up questions stand under the last answer only."""
    shown: list[Message] = []
    for turn in turns:
        shown.append(user_message(turn.user))
        shown += [step_message(step, turn.language) for step in turn.steps]
        chips = turn.suggestions if turn is turns[-1] else ()
        shown.append(answer_message(turn.answer_markdown, chips, figures_mark(turn, turn.language)))
    return shown


def last_plan(turns: Sequence[PastTurn]) -> Plan | None:
    """Return the plan that was shown last."""
    return next((turn.plan for turn in reversed(turns) if turn.plan is not None), None)
