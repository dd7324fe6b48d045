"""Splits an answer into the pieces that are checked and shown one at a time, also while it is still being written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.grounding.words import words

_GAP = re.compile(r"(?<=[.!?…])[*_»”\"')\]]{0,3}\s+(?=[A-ZА-ЯЁ0-9*«“\"(-])|\n+")
_FENCE = re.compile(r"^ {0,3}(```|~~~).*?(?:\n {0,3}\1[^\n]*(?:\n+|\Z)|\Z)", re.MULTILINE | re.DOTALL)
_LAST_WORD_CHARS = 24
_NUMBER = re.compile(r"(?:\A|\n)\s*\d{1,3}\.\Z")


def pieces(text: str) -> Iterator[str]:
    """Split into sentences, lines and fenced blocks, each with the white space after it; they join to the text again.

    A table's row and a list's item are lines; an abbreviation or the number of an item ends no sentence.
    """
    start = 0
    for end in _ends(text):
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def finished(text: str) -> list[str]:
    """Return the pieces of a text that is still being written, without the last: more of it may come."""
    found = list(pieces(text))
    return found[:-1] if found and found[-1].strip() else found[:-2]


def _ends(text: str) -> Iterator[int]:
    """Yield where pieces end; a fenced block is one, whatever stands in it."""
    start = 0
    for fence in _FENCE.finditer(text):
        yield from (start + end for end in _gaps(text[start : fence.start()]))
        if fence.start() > start:
            yield fence.start()
        yield fence.end()
        start = fence.end()
    yield from (start + end for end in _gaps(text[start:]))


def _gaps(text: str) -> Iterator[int]:
    for gap in _GAP.finditer(text):
        if gap.end() < len(text) and ("\n" in gap.group() or not _goes_on(text, gap)):
            yield gap.end()


def _goes_on(text: str, gap: re.Match[str]) -> bool:
    """Whether the full stop before a gap ends no sentence: after "approx.", "т. е.", "тыс." and a number, "1."."""
    before = text[max(0, gap.start() - _LAST_WORD_CHARS) : gap.start()]
    last = before.rsplit(maxsplit=1)[-1].lower().lstrip("(*_«“\"'~≈")
    if _NUMBER.search(before):
        return True
    follows = text[gap.end()]
    if last in words().sets["never_last"]:
        return True
    return last in words().sets["abbreviated"] and not follows.isupper()
