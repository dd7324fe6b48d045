"""Lets a model's text out piece by piece, each only once every figure in it has a source."""

from __future__ import annotations

from agent.grounding.check import Checker, PlanFigures
from agent.grounding.conversation import facts_of
from agent.grounding.links import links_of
from agent.grounding.pieces import finished
from agent.state import State, artifact


class Outlet:
    """What may be shown of the pieces that were accepted, without links to what the program did not find.

    Where the turn has a plan for what the message names, nothing is shown before a figure of it is stated: a text that
    leaves the question open is not the answer.

    Attributes:
        text: all that may be shown so far; white space at its end waits for what follows.
    """

    def __init__(self, state: State) -> None:
        self._plan = PlanFigures(state) if owes_figure(state) else None
        self._links = links_of(state)
        self._waiting = ""
        self.text = ""

    @property
    def is_open(self) -> bool:
        """Whether what is accepted may be shown."""
        return self._plan is None

    @property
    def ends_paragraph(self) -> bool:
        """Whether what is accepted next begins a paragraph."""
        return (self.text + self._waiting)[-2:] in {"", "\n\n"}

    def accept(self, piece: str, *, answers: bool = False) -> str:
        """Take a checked piece and return what may be shown now.

        Args:
            piece: the next one, with the white space after it.
            answers: it states the plan, whatever its figures.
        """
        self._waiting += self._links.clean(piece)
        if self._plan is not None and (answers or self._plan.are_in(piece)):
            self._plan = None
        shown = "" if self._plan is not None else self._waiting.rstrip()
        self._waiting = self._waiting[len(shown) :]
        self.text += shown
        return shown


class Release:
    """Reads a text while it is written; the first piece that fails ends the release until the text is whole."""

    def __init__(self, state: State) -> None:
        self._checker, self._outlet = Checker(facts_of(state, whole=False)), Outlet(state)
        self._tail, self._is_over = "", False

    @property
    def shown(self) -> str:
        """All that was let out."""
        return self._outlet.text

    def hear(self, more: str) -> str:
        """Take what was written since and return what may be shown now."""
        if self._is_over:
            return ""
        self._tail = self._tail + more if self._tail or self.shown else more.lstrip()
        shown = ""
        for piece in finished(self._tail):
            if self._checker.check(piece):
                self._is_over = True
                break
            self._tail = self._tail[len(piece) :]
            shown += self._outlet.accept(piece)
        return shown


def owes_figure(state: State) -> bool:
    """Whether an answer must state the plan: one was made in this turn, for what its message names."""
    made = artifact(state, "calculate_vram")
    return bool(made and made.get("plan") and state.get("reading", {}).get("names_now"))
