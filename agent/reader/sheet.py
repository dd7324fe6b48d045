"""A text under reading: its normalised form and the spans that a rule has already claimed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.reader.lazy import Lazy
from agent.reader.normalise import lower

_WORD = Lazy(r"[^\W\d_]+|\d+(?:\.\d+)?|\?")
_CLAUSE = Lazy(r"[,.!;:\n]|\s-\s")
_SENTENCE = Lazy(r"[?!;\n]+|\.(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, number or question mark of the text with its place."""

    text: str
    start: int
    end: int
    first: bool = False
    """Whether a sentence or a clause begins with it."""


def _words(low: str) -> Iterator[Word]:
    end = 0
    for match in _WORD.finditer(low):
        first = not end or bool(_CLAUSE.search(low[end : match.start()])) or low[end - 1] == "?"
        yield Word(match.group(), match.start(), match.end(), first)
        end = match.end()


@dataclass(slots=True)
class Sheet:
    """A text and what of it has been read. A span claimed by one rule is not read again by another.

    Attributes:
        text: normalised, in the asker's case.
        low: ``text`` in lower case, position by position.
        words: words, numbers and question marks of ``low`` in order.
    """

    text: str
    low: str
    words: tuple[Word, ...]
    _claimed: bytearray = field(repr=False)
    _stops: tuple[tuple[int, int], ...] = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Sheet:
        """Lay out a normalised text."""
        low = lower(text)
        words = tuple(_words(low))
        return cls(text, low, words, bytearray(len(text)), tuple(m.span() for m in _SENTENCE.finditer(low)))

    def free(self, start: int, end: int) -> bool:
        """Whether no rule has claimed any of the span."""
        return not any(self._claimed[start:end])

    def claim(self, start: int, end: int) -> None:
        """Mark a span as read."""
        self._claimed[start:end] = b"\x01" * (end - start)

    def find(self, pattern: Lazy, *, claim: bool = False) -> Iterator[re.Match[str]]:
        """Yield matches that lie wholly in unclaimed text, claiming each where asked."""
        for found in pattern.finditer(self.low):
            if found.end() > found.start() and self.free(*found.span()):
                if claim:
                    self.claim(*found.span())
                yield found

    def claim_all(self, pattern: Lazy) -> None:
        """Claim every match that lies in unclaimed text."""
        for _ in self.find(pattern, claim=True):
            pass

    def sentence(self, position: int) -> tuple[int, int]:
        """Return the span of the sentence around a position."""
        number = bisect_left(self._stops, (position, -1))
        start = self._stops[number - 1][1] if number else 0
        return start, self._stops[number][0] if number < len(self._stops) else len(self.low)

    def release(self, start: int, end: int) -> None:
        """Give a span back to the rules that follow."""
        self._claimed[start:end] = b"\x00" * (end - start)
