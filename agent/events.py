"""What a conversation turn shows while it runs; the page and the command line read these and nothing else.

Order of one turn: ``StepStarted``/``StepFinished`` pairs with ``PlanReady`` after the planning one, then ``FilesReady``
where files were made, ``Asked`` where something is asked back, the answer in ``AnswerText`` chunks, and ``Finished``,
always last. What a model writes comes in ``AnswerText`` chunks as it is checked, also before those others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools.domain import Note, Plan, Rig

Language = Literal["en", "ru"]


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A tool call begins. ``id`` pairs it with its ``StepFinished``; calls of one step may overlap."""

    name: str
    args: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A tool call ended. ``summary`` is one plain line in the asker's language (escape it where you show it)."""

    name: str
    seconds: float
    ok: bool
    summary: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The next piece of the answer's Markdown; the pieces join to ``TurnResult.answer_markdown``."""

    markdown_chunk: str


@dataclass(frozen=True, slots=True)
class PlanReady:
    """A plan was made in this turn; ``rig`` is what it was made for."""

    plan: Plan

    @property
    def rig(self) -> Rig:
        """The hardware the plan is for."""
        return self.plan.request.rig


@dataclass(frozen=True, slots=True)
class PlanMade:
    """Inside the graph only: the request of a plan just made; the session shows it as ``PlanReady``."""

    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AskedBack:
    """Inside the graph only: what is asked back, as plain data; the session shows it as ``Asked``."""

    notes: tuple[Note, ...]
    offered: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FilesReady:
    """Files were written in this turn. ``folder`` holds exactly ``paths`` (absolute)."""

    paths: tuple[Path, ...]
    folder: Path
    target: str = "compose"
    option: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer asks back: Notes to render with ``prompts.text(language, note.code, **note.params)``."""

    notes: tuple[Note, ...]
    offered_rig: Rig | None = None
    """This machine's hardware, offered where the card is what is asked; a bare "yes" accepts it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the conversation itself (a damaged store was set aside, the endpoint failed); one plain line."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A finished turn, in the words of the command line's ``rigfit ask``.

    Attributes:
        reading: what was understood, as ``rigfit read`` prints it.
        tool_calls: ``{name, args, ok, seconds, summary}`` each, in order.
        plan: the turn's plan, or the thread's last one.
        artifacts: files written in this turn.
        sources: ``{title, url, date}`` each.
        asks: what is asked back, as sentences.
        grounded: every figure of the answer is in a tool result or the asker's words, and no sentence of a model had
            to be replaced for that.
        checked: figures of the answer that were checked.
        taken_out: figures of a model that had no source and were never shown.
        llm: ``embedded`` (rules and templates) or the model's name.
    """

    thread_id: str
    answer_markdown: str
    language: Language
    reading: Mapping[str, Any]
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    plan: Plan | None = None
    artifacts: tuple[Path, ...] = ()
    sources: tuple[Mapping[str, str], ...] = ()
    asks: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    """Short follow-up questions worth a chip, in the asker's language."""
    grounded: bool = True
    checked: int = 0
    taken_out: int = 0
    llm: str = "embedded"
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over; always the last event, also after an error."""

    result: TurnResult


@dataclass(frozen=True, slots=True)
class PastTurn:
    """One stored turn of a thread, for a reload of the page.

    Attributes:
        plan: the turn's plan, rebuilt; None where it made none or it can't be rebuilt.
        files: those of the turn's files that still exist.
        llm, grounded, checked, taken_out, suggestions: as of ``TurnResult``; of a turn that was stored without them
            ``llm`` is "".
    """

    user: str
    answer_markdown: str
    steps: tuple[StepFinished, ...] = ()
    plan: Plan | None = None
    files: tuple[Path, ...] = ()
    language: Language = "en"
    llm: str = ""
    grounded: bool = True
    checked: int = 0
    taken_out: int = 0
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """A stored conversation: its first words as ``title`` and ISO date-time of its last turn."""

    thread_id: str
    title: str
    updated: str


@dataclass(frozen=True, slots=True)
class History:
    """A thread's turns, oldest first; ``rig`` is the thread's remembered hardware."""

    thread_id: str
    turns: tuple[PastTurn, ...] = ()
    rig: Rig | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


Event = StepStarted | StepFinished | AnswerText | PlanReady | FilesReady | Asked | Notice | Finished
