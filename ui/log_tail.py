"""The end of a log file that another process writes, and what comes after."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ui.output import printable

_BLOCK = 64 * 1024
LONGEST = 8192
"""Characters of a line that are shown."""
MOST_BYTES = 32 << 20
"""A log is read no further back."""


class Tail:
    """Reads one log; it may be put aside and begun anew at any time.

    Args:
        path: of the newest file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._file: tuple[int, int] | None = None
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """Return the last lines, at most so many; what follows is told by ``more``."""
        try:
            with self._path.open("rb") as file:
                about = os.fstat(file.fileno())
                self._file, self._place = (about.st_dev, about.st_ino), about.st_size
                words = _end(file.fileno(), about.st_size, count)
        except OSError:
            return []
        lines = self._finished(words)
        return lines[-count:] if count else []

    def more(self) -> list[str]:
        """Return the lines that were finished since."""
        try:
            with self._path.open("rb") as file:
                about = os.fstat(file.fileno())
                me = (about.st_dev, about.st_ino)
                if me != self._file or about.st_size < self._place:
                    self._file, self._place, self._rest = me, 0, b""
                words = self._rest + os.pread(file.fileno(), MOST_BYTES, self._place)
                self._place += len(words) - len(self._rest)
        except OSError:
            return []
        return self._finished(words)

    def _finished(self, words: bytes) -> list[str]:
        """Return the lines that are whole, and keep what is not."""
        *lines, self._rest = words.split(b"\n")
        return [_shown(line) for line in lines]


def _end(descriptor: int, size: int, count: int) -> bytes:
    """Return the end of a file with at least so many line ends, where it has them."""
    words, place = b"", size
    while place > 0 and words.count(b"\n") <= count and len(words) < MOST_BYTES:
        step = min(_BLOCK, place)
        place -= step
        words = os.pread(descriptor, step, place) + words
    return words


def _shown(line: bytes) -> str:
    """Write a line as a terminal shows it in the end: a bar once, not each of its states, and no colours."""
    last = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    text = printable(_COLOURS.sub("", last))
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


_COLOURS = re.compile(r"\x1b\[[0-9;:?]{0,30}[A-Za-z]")
"""Control sequences with a CSI (ECMA-48, 5.4); what else steers a terminal is not printable."""
