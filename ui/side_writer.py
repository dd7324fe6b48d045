"""Writes to a terminal or a pipe from a thread of its own, so that a reader that stands still holds nobody up."""

from __future__ import annotations

import os
import queue
from contextlib import suppress
from threading import Thread

_MOST = 1000
"""Pieces that wait to be written; while nobody reads, later ones are lost."""


class SideWriter:
    """Writes text in order.

    Ctrl+S in a terminal, or a parent process that reads no further, stops whoever writes there; a server must go on.

    Args:
        descriptor: where it goes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST)
        self._thread = Thread(target=self._work, daemon=True, name="side writer")
        self._thread.start()

    def put(self, words: str) -> None:
        """Have text written soon."""
        with suppress(queue.Full):
            self._waiting.put_nowait(words)

    def close(self, within_s: float = 1.0) -> None:
        """Wait a while until all is written."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(within_s)

    def _work(self) -> None:
        while (words := self._waiting.get()) is not None:
            left = words.encode("utf-8", "replace")
            with suppress(OSError):  # nobody reads it any longer
                while left:
                    left = left[os.write(self._descriptor, left) :]
