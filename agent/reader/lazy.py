"""Patterns that are compiled when they are first used: a cold start has to be quick."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator


class Lazy:
    """A regular expression with the methods of ``re.Pattern`` that the reader uses."""

    __slots__ = ("_compiled", "_flags", "_text")

    def __init__(self, text: str, flags: int = 0) -> None:
        self._text, self._flags = text, flags
        self._compiled: re.Pattern[str] | None = None

    @property
    def _pattern(self) -> re.Pattern[str]:
        if self._compiled is None:
            self._compiled = re.compile(self._text, self._flags)
        return self._compiled

    def match(self, text: str, start: int = 0) -> re.Match[str] | None:
        """Match at a position."""
        return self._pattern.match(text, start)

    def search(self, text: str) -> re.Match[str] | None:
        """Return the first match."""
        return self._pattern.search(text)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """Match the whole text."""
        return self._pattern.fullmatch(text)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Yield matches in order."""
        return self._pattern.finditer(text)

    def findall(self, text: str) -> list[str]:
        """Return every match of a pattern without groups."""
        return self._pattern.findall(text)

    def sub(self, new: str | Callable[[re.Match[str]], str], text: str) -> str:
        """Replace every match."""
        return self._pattern.sub(new, text)
