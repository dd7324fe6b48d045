"""An event loop whose time jumps to the next timer, and that fails where nothing would ever happen again."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class Stuck(Exception):
    """Nothing is due and nothing can come: somebody waits for ever."""


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise Stuck
        if not found and timeout:
            self.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
