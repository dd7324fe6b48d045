"""Carries out what a group of engines decides: calls, timers, and requests that wait for their turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from serving.errors import Refused
from serving.metrics import Metrics
from serving.orders import GoOn, Look, Order, Phase, Policy, Refuse, Seen, Sleep, Wake
from serving.residency import Group
from serving.upstreams import Engine
from tools.domain import Note

_SOON_S = 0.5
"""When an engine is looked at again that did not say what it does, though it is wanted."""


class Control(Protocol):
    """Ways to put an engine to sleep, to wake it and to look at it."""

    async def sleep(self, engine: Engine) -> bool:
        """Return whether it sleeps now."""
        ...

    async def wake(self, engine: Engine) -> bool:
        """Return whether it is awake now."""
        ...

    async def look(self, engine: Engine) -> Seen:
        """Return what it does."""
        ...

    def why(self, engine: Engine) -> Note | None:
        """Return what went wrong with it, where that is known."""
        ...


class Turns:
    """Engines of which one is awake at a time.

    Args:
        engines: which.
        policy: how turns are taken.
        control: what sleeps, wakes and looks.
        metrics: where waits and switches are counted.
        sleepless: called for an engine that is found unable to sleep.
    """

    def __init__(
        self,
        engines: Iterable[Engine],
        policy: Policy,
        control: Control,
        metrics: Metrics,
        sleepless: Callable[[Engine], None],
    ) -> None:
        self._engines = {engine.url: engine for engine in engines}
        self._group = Group(self._engines, policy, time.monotonic())
        self._control = control
        self._metrics = metrics
        self._sleepless = sleepless
        self._waiting: dict[int, asyncio.Future[Refuse | None]] = {}
        self._tasks = set[asyncio.Task[None]]()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self, engine: Engine, model: str) -> AsyncIterator[Refused | None]:
        """Wait until an engine is awake, and keep it so inside the block.

        Yields:
            Why that can't be, or did not come in time; None where the engine is awake.
        """
        began = time.monotonic()
        ticket = self._group.ask(engine.url, began)
        waiting = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._obey()
            refuse = await waiting
            if refuse is None:
                self._metrics.waited(model, time.monotonic() - began)
            yield None if refuse is None else self._refused(refuse, engine, model)
        finally:
            self._waiting.pop(ticket, None)
            self._group.leave(ticket, time.monotonic())
            self._obey()

    async def bring_up(self, engine: Engine) -> None:
        """Have an engine awake once, as if somebody asked for it.

        Raises:
            Refused: that can't be.
        """
        async with self.turn(engine, engine.models[0]) as refused:
            if refused is not None:
                raise refused

    def at_once(self, engine: Engine) -> bool:
        """Tell whether a request would go on without waiting."""
        return self._group.at_once(engine.url, time.monotonic())

    def phase(self, engine: Engine) -> Phase:
        """Return what an engine does."""
        return self._group.phase(engine.url)

    def waiting(self, engine: Engine) -> int:
        """Return how many requests wait for an engine."""
        return self._group.waiting(engine.url)

    def lost(self, engine: Engine) -> None:
        """Note that a request could not reach an engine."""
        self._group.lost(engine.url, time.monotonic())
        self._obey()

    def wish(self, engine: Engine) -> None:
        """Have an engine woken before somebody asks for it."""
        self._group.wish(engine.url, time.monotonic())
        self._obey()

    def pin(self, engine: Engine) -> None:
        """Keep an engine awake.

        Raises:
            Refused: another one is kept awake.
        """
        done = self._group.pin(engine.url, time.monotonic())
        self._obey()
        if not done:
            other = self._engines[self._group.pinned() or engine.url].models[0]
            raise Refused("pinned_out", model=engine.models[0], other=other)

    def unpin(self, engine: Engine) -> None:
        """Let an engine take turns again."""
        self._group.unpin(engine.url, time.monotonic())
        self._obey()

    def close(self) -> None:
        """Switch no more: who waits is refused, and who is running may finish."""
        self._group.close(time.monotonic())
        self._obey()

    def is_pinned(self, engine: Engine) -> bool:
        """Tell whether an engine is kept awake."""
        return self._group.pinned() == engine.url

    async def watch(self, every_s: float) -> None:
        """Look at every engine again and again, each in its own time, for ever; stop what is under way at the end."""
        try:
            async with asyncio.TaskGroup() as group:
                for engine in self._engines.values():
                    group.create_task(self._watch(engine, every_s))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()

    async def _watch(self, engine: Engine, every_s: float) -> None:
        while True:
            await self._look(engine, self._group.epoch(engine.url))
            soon = self._group.is_unclear(engine.url)
            await asyncio.sleep(min(every_s, _SOON_S) if soon else every_s)

    async def _look(self, engine: Engine, epoch: int) -> None:
        seen = await self._control.look(engine)
        if seen is Seen.SLEEPLESS and self.phase(engine) is not Phase.SLEEPLESS:
            self._sleepless(engine)
        self._group.saw(engine.url, seen, epoch, time.monotonic())
        self._obey()

    async def _sleep(self, engine: Engine) -> None:
        await self._switch(engine, "sleep", self._control.sleep, self._group.slept)

    async def _wake(self, engine: Engine) -> None:
        await self._switch(engine, "wake", self._control.wake, self._group.woke)

    async def _switch(
        self,
        engine: Engine,
        what: str,
        act: Callable[[Engine], Awaitable[bool]],
        note: Callable[[str, bool, float], None],
    ) -> None:
        began, good = time.monotonic(), False
        task = asyncio.current_task()
        try:
            good = await act(engine)
        finally:  # whatever happens to one switch, the others go on
            if task is None or not task.cancelling():
                now = time.monotonic()
                self._metrics.switched(engine.url, what, good, now - began)
                note(engine.url, good, now)
                self._obey()

    def _obey(self) -> None:
        """Begin what the group orders, and come back when its next rule is due."""
        for order in self._group.orders():
            self._carry_out(order)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._group.due()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - time.monotonic()), self._tick)

    def _carry_out(self, order: Order) -> None:
        match order:
            case GoOn(ticket):
                self._tell(ticket, None)
            case Refuse(ticket):
                self._tell(ticket, order)
            case Wake(name):
                self._begin(self._wake(self._engines[name]))
            case Sleep(name):
                self._begin(self._sleep(self._engines[name]))
            case Look(name, epoch):
                self._begin(self._look(self._engines[name], epoch))

    def _refused(self, refuse: Refuse, engine: Engine, model: str) -> Refused:
        why = self._control.why(engine) if refuse.why == "wake_failed" else None
        if why is not None:
            return Refused("start_failed", retry_after_s=refuse.retry_after_s, model=model, reason=why)
        other = self._engines[refuse.other].models[0] if refuse.other else ""
        return Refused(refuse.why, retry_after_s=refuse.retry_after_s, model=model, other=other)

    def _tell(self, ticket: int, refuse: Refuse | None) -> None:
        waiting = self._waiting.get(ticket)
        if waiting is not None and not waiting.done():
            waiting.set_result(refuse)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tick(self) -> None:
        self._timer = None
        self._group.tick(time.monotonic())
        self._obey()
