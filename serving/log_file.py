"""An engine's log file: limited in size, a few older ones kept; a full disk loses lines, never the engine."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_HEAD, _TAIL = 1 << 18, 1 << 18
"""What is kept of a start's words to explain a failure: how it began, and how it ended."""


class LogFile:
    """Takes bytes in one thread; may be asked in another.

    Args:
        path: of the newest file; older ones are ``path.1`` and so on.
        limit_bytes: size at which a file is put aside.
        keep: how many older ones are kept.
    """

    def __init__(self, path: Path, limit_bytes: int, keep: int) -> None:
        self.path = path
        self._limit = limit_bytes
        self._keep = keep
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._size = 0
        self._head = b""
        self._tail = b""
        self.lost_bytes = 0

    def begin(self) -> None:
        """Begin a start: what was said before is no longer part of ``said``."""
        with self._lock:
            self._head = self._tail = b""

    def write(self, chunk: bytes) -> None:
        """Append bytes; what the disk does not take is counted in ``lost_bytes``."""
        with self._lock:
            self._remember(chunk)
            try:
                self._append(chunk)
            except OSError:
                self.lost_bytes += len(chunk)
                self._close()

    def said(self) -> str:
        """Return what was written since ``begin``, the middle left out where it is long."""
        with self._lock:
            parts = (self._head, self._tail)
        return "\n".join(part.decode(errors="replace") for part in parts if part)

    def close(self) -> None:
        """Close the file; writing opens it again."""
        with self._lock:
            self._close()

    def _remember(self, chunk: bytes) -> None:
        room = _HEAD - len(self._head)
        self._head += chunk[:room] if room > 0 else b""
        self._tail = (self._tail + chunk[max(0, room) :])[-_TAIL:]

    def _append(self, chunk: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
            self._size = self._file.tell()
        if self._size and self._size + len(chunk) > self._limit:
            self._rotate()
        self._file.write(chunk)
        self._size += len(chunk)

    def _rotate(self) -> None:
        self._close()
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._keep + 1))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
        self._file = self.path.open("ab", buffering=0)
        self._size = 0

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None
