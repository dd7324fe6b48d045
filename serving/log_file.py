"""An engine's log file: limited in size, a few older ones kept; a full disk loses lines, never the engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_HEAD, _TAIL = 1 << 18, 1 << 18
"""Bytes kept of a start's words to explain a failure: how it began, and how it ended."""


class LogFile:
    """Takes bytes in one thread; may be asked in another.

    Args:
        path: of the newest file; older ones are ``path.1`` (the youngest of them), ``path.2`` and so on.
        limit_bytes: size at which a file is put aside.
        keep: how many older ones are kept.
        lost: told once when the disk takes nothing more, and with None when it takes something again.
    """

    def __init__(self, path: Path, limit_bytes: int, keep: int, lost: Callable[[OSError | None], None]) -> None:
        self.path = path
        self._limit = limit_bytes
        self._keep = keep
        self._lost = lost
        self._losing = False
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._size = 0
        self._head = bytearray()
        self._tail = bytearray()

    def begin(self, line: str) -> None:
        """Begin a start with a line of Rigfit's own; what was said before is no longer part of ``said``."""
        with self._lock:
            self._head, self._tail = bytearray(), bytearray()
        self.write(line.encode(errors="replace") + b"\n")

    def write(self, chunk: bytes) -> None:
        """Append bytes. What the disk does not take is lost, and that is told."""
        why = None
        with self._lock:
            self._remember(chunk)
            try:
                self._append(chunk)
            except OSError as error:
                self._close()
                why = error
            told, self._losing = self._losing, why is not None
        if told is not self._losing:
            self._lost(why)

    def said(self) -> str:
        """Return what was written since ``begin``, the middle left out where it is long."""
        with self._lock:
            parts = (bytes(self._head), bytes(self._tail))
        return "\n".join(part.decode(errors="replace") for part in parts if part)

    def close(self) -> None:
        """Close the file; writing opens it again."""
        with self._lock:
            self._close()

    def _remember(self, chunk: bytes) -> None:
        room = max(0, _HEAD - len(self._head))
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * _TAIL:
            del self._tail[:-_TAIL]

    def _append(self, chunk: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open()
            self._size = self._file.tell()
        if self._size and self._size + len(chunk) > self._limit:
            self._rotate()
        self._size += len(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _open(self) -> BinaryIO:
        """Only its owner reads what callers may have asked."""
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0)

    def _rotate(self) -> None:
        self._close()
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._keep + 1))]
        if self._keep:
            for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
                with suppress(FileNotFoundError):
                    newer.replace(older)
        else:
            self.path.unlink(missing_ok=True)
        self._file = self._open()
        self._size = 0

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None
