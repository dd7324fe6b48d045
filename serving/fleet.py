"""The fleet: a plan's engines as processes, started one after the other on each card, watched, and ended together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from serving.card_queue import CardQueue
from serving.causes import Cause
from serving.engine_process import Process
from serving.engine_state import AT_REST, EDGES, IN_START, EngineState, FleetPolicy, Stage
from serving.local_engines import Engines, LocalEngines
from serving.progress import Progress
from serving.spec import EngineSpec
from tools.domain import Note, note

if TYPE_CHECKING:
    from serving.measured import StartUp

__all__ = ["EngineState", "Fleet", "FleetPolicy", "Room", "Stage"]

_POLL_S = 0.25
_SLEEP_S = 120.0
_MEASURE_S = 30.0

Measure = Callable[[EngineSpec, Path], Awaitable["StartUp | None"]]


class Room(Protocol):
    """Who knows how much memory is free."""

    async def shortage(self, spec: EngineSpec) -> Note | None:
        """Return what an engine lacks to start now, with numbers; None where nothing."""
        ...


class _Engine:
    """What the fleet remembers of one engine."""

    def __init__(self, spec: EngineSpec, log: Path, now: float) -> None:
        self.spec = spec
        self.state = EngineState(spec.name, Stage.STOPPED, now, log)
        self.process: Process | None = None
        self.start: asyncio.Task[None] | None = None
        self.mourner: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()
        self.failures: deque[float] = deque()
        self.retry_at: float | None = None
        self.moved = asyncio.Event()
        self.fetched_at = 0.0


class Fleet:
    """Engines of one machine.

    Args:
        specs: the engines, in start order.
        logs: folder of their log files.
        room: who knows how much memory is free.
        policy: limits.
        changed: told every new state of an engine; it must not raise.
        measure: what a start came to, from the engine and its log file.
        on_demand: names of engines that are not started again by themselves after they end.
        engines: the machine; this one by default.
    """

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        *,
        logs: Path,
        room: Room,
        policy: FleetPolicy,
        changed: Callable[[EngineState], None],
        measure: Measure | None = None,
        on_demand: Collection[str] = (),
        engines: Engines | None = None,
    ) -> None:
        self._world = engines or LocalEngines(logs, policy)
        self._room = room
        self._policy = policy
        self._changed = changed
        self._measure = measure
        self._on_demand = frozenset(on_demand)
        self._cards = CardQueue()
        self._engines = {spec.name: _Engine(spec, self._world.log(spec), time.time()) for spec in specs}

    @property
    def specs(self) -> tuple[EngineSpec, ...]:
        """The engines, in start order."""
        return tuple(one.spec for one in self._engines.values())

    @property
    def states(self) -> tuple[EngineState, ...]:
        """All engines as they are now, in start order."""
        return tuple(one.state for one in self._engines.values())

    def state(self, name: str) -> EngineState:
        """Return an engine as it is now. Raises ``KeyError`` for an unknown name."""
        return self._engines[name].state

    async def start_all(self, names: Collection[str] | None = None) -> bool:
        """Start engines in spec order, one at a time on a card; returns whether all are ready.

        Args:
            names: those to start, all by default.
        """
        chosen = [name for name in self._engines if names is None or name in names]
        return all(await asyncio.gather(*(self.start(name) for name in chosen)))

    async def start(self, name: str) -> bool:
        """Start an engine, once, or join a start on its way; returns whether it is ready now."""
        one = self._engines[name]
        if one.state.stage is Stage.READY:
            return True
        if one.start is None or one.start.done():
            one.start = asyncio.create_task(self._attempt(one), name=f"start {name}")
        await asyncio.wait({one.start})
        if not one.start.cancelled():
            one.start.result()
        return one.state.stage is Stage.READY

    async def stop(self, name: str) -> None:
        """End an engine; returns once none of its processes is left."""
        one = self._engines[name]
        if one.start is not None and not one.start.done():
            one.start.cancel()
            await asyncio.wait({one.start})
        async with one.lock:
            one.retry_at = None
            one.failures.clear()
            await self._end(one, self._policy.stop_s)
            if one.state.stage is not Stage.STOPPED:
                self._to(one, Stage.STOPPED, reason=None, next_try=None, share=None)

    async def stop_all(self) -> None:
        """End all engines at once."""
        await asyncio.gather(*(self.stop(name) for name in self._engines))

    async def close(self) -> None:
        """End all engines and let go of connections and files."""
        await self.stop_all()
        await self._world.close()

    async def watch(self) -> None:
        """For ever: start engines again that failed, after a while and not too often; end those that hang."""
        async with asyncio.TaskGroup() as group:
            for one in self._engines.values():
                group.create_task(self._keep(one))

    async def _keep(self, one: _Engine) -> None:
        misses = 0
        while True:
            one.moved.clear()
            wait = self._next_look(one)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await one.moved.wait()
            if one.state.stage is Stage.FAILED and one.retry_at is not None and self._now() >= one.retry_at:
                await self.start(one.spec.name)
            elif one.state.stage is Stage.READY and not one.moved.is_set():
                well = await self._world.well(one.spec, self._policy.answer_s)
                misses = 0 if well else misses + 1
                if misses * self._policy.check_s >= self._policy.hang_s:
                    misses = 0
                    await self._hung(one)
            else:
                misses = 0

    def _next_look(self, one: _Engine) -> float | None:
        if one.state.stage is Stage.READY:
            return self._policy.check_s
        if one.state.stage is Stage.FAILED and one.retry_at is not None:
            return max(0.0, one.retry_at - self._now())
        return None

    async def _hung(self, one: _Engine) -> None:
        async with one.lock:
            if one.state.stage is Stage.READY:
                await self._end(one, 0.0)
                self._fail(one, Cause(note("fleet.hung", seconds=round(self._policy.hang_s))))

    async def _attempt(self, one: _Engine) -> None:
        """Start an engine once, and leave it ready or failed."""
        async with one.lock:
            if one.state.stage not in AT_REST:
                return
            one.retry_at = None
            self._to(one, Stage.WAITING, reason=None, next_try=None, share=None, ready_s=None, measured=None)
            async with self._cards.held(one.spec.cards):
                cause = await self._make_ready(one)
                if cause is None:
                    await self._settle(one)
                    return
            await self._end(one, self._policy.stop_s)
            self._fail(one, cause)

    async def _make_ready(self, one: _Engine) -> Cause | None:
        """Check, launch and wait; returns why that failed."""
        self._to(one, Stage.CHECKING)
        shortage = await self._shortage(one) or self._world.obstacle(one.spec)
        if shortage:
            return Cause(shortage)
        began = self._now()
        try:
            process = self._world.launch(one.spec, lambda step: self._heard(one, process, step))
        except OSError as error:
            return Cause(note("fleet.no_process", error=error.strerror or str(error)))
        one.process = process
        one.fetched_at = began
        self._to(one, Stage.STARTING)
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                if one.state.pid != process.pid:
                    self._to(one, one.state.stage, pid=process.pid)
                if self._now() - one.fetched_at > one.spec.load_s:
                    return Cause(note("fleet.late", seconds=round(one.spec.load_s)))
                if await self._is_ready(one):
                    self._to(one, Stage.READY, ready_s=self._now() - began, share=None, pid=process.pid)
                    one.process = process
                    one.mourner = asyncio.create_task(self._mourn(one, process))
                    return None
                await asyncio.wait({ended}, timeout=_POLL_S)
            return await self._world.cause(ended.result())
        finally:
            ended.cancel()

    async def _shortage(self, one: _Engine) -> Note | None:
        deadline = self._now() + self._policy.room_s
        while True:
            shortage = await self._room.shortage(one.spec)
            if shortage is None or self._now() >= deadline:
                return shortage
            self._to(one, Stage.CHECKING, reason=shortage)
            await asyncio.sleep(1.0)

    async def _is_ready(self, one: _Engine) -> bool:
        if not await self._world.well(one.spec, self._policy.answer_s):
            return False
        if one.state.stage is not Stage.ANSWERING:
            self._to(one, Stage.ANSWERING, share=None)
        lacking = await self._world.unready(one.spec, max(self._policy.answer_s, one.spec.load_s))
        return lacking is None

    async def _settle(self, one: _Engine) -> None:
        """Measure an engine that has just become ready, and put it to sleep where it is to start so."""
        if self._measure is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_MEASURE_S):
                    measured = await self._measure(one.spec, one.state.log)
                if one.state.stage is Stage.READY:
                    self._to(one, Stage.READY, measured=measured)
        if one.spec.unit.sleeps:
            await self._world.sleep(one.spec, _SLEEP_S)

    async def _mourn(self, one: _Engine, process: Process) -> None:
        """Note that an engine that was ready has ended by itself."""
        ended = await process.wait()
        cause = await self._world.cause(ended)
        async with one.lock:
            if one.process is process and one.state.stage is Stage.READY:
                one.process = None
                self._fail(one, replace(cause, final=False))

    async def _end(self, one: _Engine, within_s: float) -> None:
        process = one.process
        if process is not None:
            if one.state.stage is not Stage.STOPPING:
                self._to(one, Stage.STOPPING, share=None)
            await process.stop(within_s)
            one.process = None

    def _fail(self, one: _Engine, cause: Cause) -> None:
        now = self._now()
        one.failures.append(now)
        while one.failures and now - one.failures[0] > self._policy.window_s:
            one.failures.popleft()
        count = len(one.failures)
        lost: dict[str, Any] = {"reason": cause.reason, "pid": None, "share": None, "restarts": count - 1}
        if cause.final or (count > self._policy.restarts and one.spec.name not in self._on_demand):
            self._to(one, Stage.GAVE_UP, **lost)
        elif one.spec.name in self._on_demand:
            self._to(one, Stage.FAILED, **lost)
        else:
            wait = self._policy.wait_s(count)
            one.retry_at = now + wait
            self._to(one, Stage.FAILED, **lost, next_try=time.time() + wait)

    def _heard(self, one: _Engine, process: Process, step: Progress) -> None:
        """Take what an engine's output tells: a start goes forward only."""
        stage = one.state.stage
        if one.process is not process or stage not in IN_START or step.stage not in IN_START:
            return
        if IN_START.index(step.stage) >= IN_START.index(stage):
            self._to(one, step.stage, share=step.share, pid=process.pid)

    def _to(self, one: _Engine, stage: Stage, **changes: Any) -> None:
        before = one.state
        if stage is not before.stage:
            if stage not in EDGES[before.stage]:
                raise RuntimeError(f"{before.name}: {before.stage} is not followed by {stage}")
            changes["since"] = time.time()
        one.state = replace(before, stage=stage, **changes)
        if one.state != before:
            one.moved.set()
            self._changed(one.state)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
