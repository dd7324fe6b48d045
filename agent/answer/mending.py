"""Writes a model's answer out of its text: pieces that fail are written again once, else rendered or left out."""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import AIMessage

from agent.answer.markdown import render
from agent.answer.view import build_view
from agent.grounding import Checker, Outlet, facts_of, pieces
from agent.grounding.links import without_foreign_links
from agent.state import State, this_turn

MAX_REWRITES = 4
"""Pieces of one answer that a model may write again; a text with more wrong figures is not worth the wait."""
_LONGER, _SPARE_CHARS = 3, 200
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_BREAKS = re.compile(r"\s*\Z")

Rewrite = Callable[[State, str, tuple[str, ...]], Awaitable[str | None]]
"""Writes a piece again, given its wrong figures; "" is no answer, None that it is not worth asking again."""
Show = Callable[[str], None]


async def mended(state: State, rewrite: Rewrite, show: Show) -> dict[str, Any] | None:
    """Check and show what a model wrote in a turn.

    Returns:
        What ``Mending.mend`` does, with all that the asker has ``shown`` by then; None where no model wrote.
    """
    said = [m for m in this_turn(state) if isinstance(m, AIMessage)]
    seen = [str(m.additional_kwargs.get("shown", "")) for m in said]
    written = without_foreign_links(said[-1].text, state) if said and not said[-1].tool_calls else ""
    if seen and not written.startswith(seen[-1]):
        seen.append("")
    before = "\n\n".join(part for part in seen[:-1] if part)
    if not written.strip():
        return {"text": "", "shown": before, "grounded": True, "checked": 0, "taken_out": 0} if before else None
    apart = "\n\n" if before else ""
    first = "" if seen[-1] else apart

    def after(more: str) -> None:
        nonlocal first
        show(first + more)
        first = ""

    draft = await Mending(state, seen[-1], after, rewrite).mend(written)
    text = before + apart + draft["text"] if draft["text"] else ""
    return {**draft, "text": text, "shown": text or before}


class Mending:
    """One answer of a model on its way to the asker.

    Args:
        state: the conversation.
        shown: what the asker has seen of the text while it was written.
        show: shows more of it.
        rewrite: asks the model to write a piece again; None where there is none to ask.
    """

    def __init__(self, state: State, shown: str, show: Show, rewrite: Rewrite | None) -> None:
        self._state, self._show, self._rewrite = state, show, rewrite
        self._checker, self._outlet = Checker(facts_of(state, whole=False)), Outlet(state)
        self._seen, self._tries = len(shown), MAX_REWRITES
        self._instead: str | None = None
        self._is_pending = False
        self._taken_out = self._replaced = 0

    async def mend(self, text: str) -> dict[str, Any]:
        """Check a text, show it as it is found to be right, and return it.

        Returns:
            ``text`` (empty where it states nothing of the plan that was asked for), ``grounded`` (all of it stands in
            the model's words), and how many figures were ``checked`` and ``taken_out``.
        """
        for piece in pieces(text):
            before = copy.copy(self._checker)
            wrong = self._checker.check(piece)
            if not wrong:
                self._accept(piece)
                continue
            self._taken_out += len(wrong)
            again = await self._again(piece, wrong, before)
            if again is None:
                self._replaced += 1
                self._drop(piece)
            else:
                self._accept(again)
        self._put_instead("\n")
        text = self._outlet.text if self._outlet.is_open else ""
        checked = {"checked": self._checker.checked, "taken_out": self._taken_out}
        return {"text": text, "grounded": not self._replaced, **checked}

    async def _again(self, piece: str, wrong: tuple[str, ...], before: Checker) -> str | None:
        """Have a piece written again; None where that came to nothing, or to a figure without a source again."""
        if self._rewrite is None or not self._tries or _is_block(piece):
            return None
        self._tries -= 1
        said = await self._rewrite(self._state, piece.strip(), wrong)
        if said is None:
            self._rewrite = None
        again = _in_place_of(piece, said or "")
        if again is None or before.check(again):
            return None
        self._checker = before
        return again

    def _accept(self, piece: str) -> None:
        if self._is_pending and not _in_list(piece):
            self._put_instead("\n\n")
        self._out(piece)

    def _drop(self, piece: str) -> None:
        """Leave a piece out; the first time the rendered verdict stands for it, after its list or table."""
        if self._instead is not None:
            return
        view = build_view(self._state)
        self._instead = render(view["language"], "instead", view)
        self._is_pending = True
        if not _in_list(piece):
            self._put_instead("\n\n" if piece.endswith("\n") or _is_block(piece) else " ")

    def _put_instead(self, after: str) -> None:
        if self._is_pending and self._instead is not None:
            self._is_pending = False
            between = "\n\n" if after != " " and not self._outlet.ends_paragraph else ""
            self._out(f"{between}{self._instead}{after}", answers=True)

    def _out(self, piece: str, *, answers: bool = False) -> None:
        """Accept a piece and show what the asker has not seen."""
        self._outlet.accept(piece, answers=answers)
        more = self._outlet.text[self._seen :]
        self._seen += len(more)
        if more:
            self._show(more)


def _in_list(piece: str) -> bool:
    return piece.lstrip().startswith("|") or bool(_ITEM.match(piece))


def _is_block(piece: str) -> bool:
    return piece.lstrip().startswith(("```", "~~~"))


def _in_place_of(piece: str, said: str) -> str | None:
    """Return what a model wrote in the form of the piece it stands for, or None where it has another."""
    words, end = said.strip(), _BREAKS.search(piece)
    if not words or "\n" in words or len(words) > _LONGER * len(piece) + _SPARE_CHARS or _is_block(words):
        return None
    is_row = piece.lstrip().startswith("|")
    if is_row != words.startswith("|") or (is_row and words.count("|") != piece.count("|")):
        return None
    item = _ITEM.match(piece)
    own = _ITEM.match(words)
    if item and not own:
        words = item.group() + words
    elif item and own:
        words = item.group() + words[own.end() :]
    return words + (end.group() if end else "")
