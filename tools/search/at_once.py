"""Calls made at the same time and given up together: nothing that hangs holds an answer or the program's end back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from tools.errors import RigfitError

T = TypeVar("T")
_BROKEN = (
    OSError, RigfitError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    SyntaxError,
)  # fmt: skip
"""What a call may raise, the parsers of pages that are not as they were included; the waiting thread decides."""


class Came(Generic[T]):
    """What a call came to: its ``value``, or the ``error`` it raised; ``at`` is its place in the list."""

    __slots__ = ("at", "error", "value")

    def __init__(self, at: int, value: T | None = None, error: BaseException | None = None) -> None:
        self.at, self.value, self.error = at, value, error


class AtOnce(Generic[T]):
    """All calls, begun at once.

    The threads are daemons (those of a pool are waited for when the interpreter ends): a call that hangs, in a name
    look-up for example, is left behind.

    Args:
        calls: what to call; each should have a limit of its own.
    """

    def __init__(self, calls: Sequence[Callable[[], T]]) -> None:
        self._came: SimpleQueue[Came[T]] = SimpleQueue()
        self._open = len(calls)
        for at, call in enumerate(calls):
            threading.Thread(target=self._run, args=(at, call), daemon=True, name=f"search-{at}").start()

    def _run(self, at: int, call: Callable[[], T]) -> None:
        came: Came[T] = Came(at, error=OSError("broken off"))
        try:
            came = Came(at, call())
        except _BROKEN as error:
            came = Came(at, error=error)
        finally:
            self._came.put(came)

    def within(self, timeout_s: float) -> Iterator[Came[T]]:
        """Yield what the calls come to that has not been yielded before; stop when the time is over."""
        deadline = time.monotonic() + timeout_s
        while self._open:
            try:
                one = self._came.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            self._open -= 1
            yield one


def within(call: Callable[[], T], timeout_s: float) -> T:
    """Return what a call comes to.

    Raises:
        TimeoutError: it took longer.
    """
    for came in AtOnce([call]).within(timeout_s):
        if came.error is not None:
            raise came.error
        return came.value  # pyright: ignore[reportReturnType]  the call's own type
    raise TimeoutError
