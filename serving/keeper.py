"""Keeps one engine of the fleet: its start from the first check to ready, its end, and its failures."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.card_queue import CardQueue
from serving.causes import Cause
from serving.engine_process import Process
from serving.engine_state import AT_REST, EDGES, IN_START, EngineState, FleetPolicy, Stage
from serving.local_engines import Engines
from serving.progress import Progress
from serving.spec import EngineSpec
from tools.domain import Note, note

if TYPE_CHECKING:
    from serving.measured import StartUp
    from serving.room import Room

Measure = Callable[[EngineSpec, Path], Awaitable["StartUp | None"]]

_POLL_S = 0.25
"""Between two looks at an engine that starts."""
_ROOM_POLL_S = 1.0
_SLEEP_S = 120.0
_MEASURE_S = 30.0
_FETCH_POLL_S = 2.0
_MISSES = 3
"""So many looks in a row must find an engine silent before it counts as hung, however long each took."""
_MAY_FETCH = frozenset({Stage.STARTING, Stage.LOADING})


@dataclass(frozen=True, slots=True)
class Around:
    """What the keepers of a fleet share: the machine, its memory, its cards, limits, and who is told."""

    engines: Engines
    room: Room
    policy: FleetPolicy
    cards: CardQueue
    changed: Callable[[EngineState], None]
    measure: Measure | None


class Keeper:
    """Keeps one engine.

    Args:
        spec: the engine.
        around: what it shares with the others.
        on_demand: it is not started again by itself after it failed.
    """

    def __init__(self, spec: EngineSpec, around: Around, *, on_demand: bool) -> None:
        self.spec = spec
        self.state = EngineState(spec.name, Stage.STOPPED, time.time(), around.engines.log(spec))
        self._around = around
        self._policy = around.policy
        self._on_demand = on_demand
        self._process: Process | None = None
        self._start: asyncio.Task[None] | None = None
        self._mourner: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # held while it is started or ended
        self._failures: deque[float] = deque()
        self._retry_at: float | None = None
        self._got_on_at = 0.0  # when the start began, or last fetched something
        self._moved = asyncio.Event()

    async def start(self, *, asleep: bool = False) -> bool:
        """Start the engine, or join a start on its way; returns whether it is ready.

        Args:
            asleep: put it to sleep once it is ready, where the plan wants that.
        """
        if self.state.stage in AT_REST and not self._starting():
            self._failures.clear()
        return await self._begin(asleep=asleep)

    async def stop(self) -> None:
        """End the engine; returns once none of its processes is left, or ``gone_s`` after they were killed."""
        start = self._start
        if start is not None and not start.done():
            start.cancel()
            await asyncio.wait({start})
        async with self._lock:
            self._retry_at = None
            if await self._end(self._policy.stop_s) and self.state.stage is not Stage.STOPPED:
                self._to(Stage.STOPPED, reason=None, next_try=None, restarts=0)

    async def watch(self) -> None:
        """For ever: start the engine again when it is time to, and end it where it hangs."""
        silent_since, misses = 0.0, 0
        while True:
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._moved.wait()
                misses = 0
                continue
            if self.state.stage is Stage.READY:
                asked, process = self._now(), self._process
                misses = 0 if await self._lives() else misses + 1
                silent_since = asked if misses == 1 else silent_since
                if misses >= _MISSES and self._now() - silent_since >= self._policy.hang_s:
                    await self._hung(process)
            elif self._retry_at is not None:
                await self._begin(asleep=False)

    def _starting(self) -> bool:
        return self._start is not None and not self._start.done()

    async def _begin(self, *, asleep: bool) -> bool:
        if self.state.stage is Stage.READY:
            return True
        start = self._start
        if start is None or start.done():
            start = self._start = asyncio.create_task(self._attempt(asleep=asleep), name=f"start {self.spec.name}")
        await asyncio.wait({start})
        if not start.cancelled():
            start.result()
        return self.state.stage is Stage.READY

    def _pause_s(self) -> float | None:
        """How long until something is to be done, if nothing happens."""
        if self.state.stage is Stage.READY:
            return self._policy.check_s
        return None if self._retry_at is None else max(0.0, self._retry_at - self._now())

    async def _lives(self) -> bool:
        process, engines = self._process, self._around.engines
        if not await engines.well(self.spec, self._policy.answer_s):
            return False
        return process is None or not await engines.halted(process)

    async def _hung(self, process: Process | None) -> None:
        async with self._lock:
            still = self._process is process and self.state.stage is Stage.READY
            if still and await self._end(0.0):
                self._fail(Cause(note("fleet.hung", seconds=round(self._policy.hang_s))))

    async def _attempt(self, *, asleep: bool) -> None:
        """Start the engine once, and leave it ready or failed; a start that is broken off leaves no process."""
        async with self._lock:
            if self.state.stage not in AT_REST:
                return
            self._retry_at = None
            begun = {"reason": None, "next_try": None, "ready_s": None, "measured": None}
            self._to(Stage.WAITING, **begun, restarts=len(self._failures))
            async with self._around.cards.held(self.spec.cards):
                try:
                    cause = await self._make_ready()
                    if cause is None:
                        await self._settle(asleep=asleep)
                    elif await self._end(self._policy.stop_s):
                        self._fail(cause)
                except asyncio.CancelledError:
                    await self._end(self._policy.stop_s)
                    raise

    async def _make_ready(self) -> Cause | None:
        """Check, launch and wait; returns why that failed."""
        self._to(Stage.CHECKING)
        shortage = await self._shortage()
        if shortage:
            return Cause(shortage)
        obstacle = self._around.engines.obstacle(self.spec)
        if obstacle:
            return obstacle
        began = self._now()
        self._to(Stage.STARTING, reason=None)
        try:
            process = self._process = self._around.engines.launch(self.spec, self._heard, self._said)
        except OSError as error:
            return Cause(note("fleet.no_process", error=error.strerror or str(error)))
        self._mourner = asyncio.create_task(self._mourn(process), name=f"mourn {self.spec.name}")
        return await self._until_ready(process, began)

    async def _shortage(self) -> Note | None:
        """Wait a while for memory that others hold; returns what lacks then."""
        deadline = self._now() + self._policy.room_s
        while True:
            shortage = await self._around.room.shortage(self.spec)
            if shortage is None or self._now() >= deadline:
                return shortage
            self._to(Stage.CHECKING, reason=shortage)
            await asyncio.sleep(_ROOM_POLL_S)

    async def _until_ready(self, process: Process, began: float) -> Cause | None:
        """Wait for a start, which may take its time, and as long as files come from the hub besides."""
        ended = asyncio.ensure_future(process.wait())
        late = Cause(note("fleet.late", seconds=round(self.spec.load_s)))
        self._got_on_at = began
        fetching = asyncio.create_task(self._follow_fetching())
        try:
            while self._now() - self._got_on_at < self.spec.load_s:
                if ended.done():
                    cause = await self._around.engines.cause(ended.result())
                    self._process = None
                    return cause
                if await self._around.engines.well(self.spec, self._policy.answer_s):
                    self._heard(Progress(Stage.ANSWERING))
                    left_s = max(self._policy.answer_s, self.spec.load_s - (self._now() - self._got_on_at))
                    lacking = await self._around.engines.unready(self.spec, left_s)
                    if lacking is None:
                        self._to(Stage.READY, ready_s=self._now() - began, share=None)
                        return None
                    late = Cause(lacking)
                await asyncio.wait({ended}, timeout=_POLL_S)
            return late
        finally:
            ended.cancel()
            fetching.cancel()

    async def _follow_fetching(self) -> None:
        """Tell how far the model's files have come; what comes makes the time for the start begin anew."""
        engines, size = self._around.engines, self.spec.file_bytes
        before = await engines.fetched(self.spec)
        while self.state.stage in _MAY_FETCH:
            await asyncio.sleep(_FETCH_POLL_S)
            now = await engines.fetched(self.spec)
            loads = self.state.share is not None and not self._fetches()  # it says itself how far
            if now > before and self.state.stage in _MAY_FETCH and not loads:
                self._got_on_at = self._now()
                share = min(now / size, 1.0) if size else None
                self._to(self.state.stage, share=share, reason=note("fleet.fetching", repo=self.spec.repo))
            before = now

    def _fetches(self) -> bool:
        return self.state.reason is not None and self.state.reason.code == "fleet.fetching"

    async def _settle(self, *, asleep: bool) -> None:
        """Measure an engine that has just become ready, and put it to sleep where that is wanted."""
        if self._around.measure is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_MEASURE_S):
                    measured = await self._around.measure(self.spec, self.state.log)
                self._to(self.state.stage, measured=measured)
        if asleep and self.spec.unit.sleeps and not await self._around.engines.sleep(self.spec, _SLEEP_S):
            self._to(self.state.stage, reason=note("fleet.no_sleep"))

    async def _mourn(self, process: Process) -> None:
        """Note that an engine has ended which was not told to, or no longer waited for."""
        ended = await process.wait()
        async with self._lock:
            if self._process is not process:
                return
            self._process = None
            if self.state.stage is Stage.STOPPING:
                self._to(Stage.STOPPED, reason=None, pid=None)
            else:
                self._fail(replace(await self._around.engines.cause(ended), final=False))

    async def _end(self, within_s: float) -> bool:
        """End the engine's processes; returns whether none is left."""
        process = self._process
        if process is not None:
            self._to(Stage.STOPPING, share=None)
            try:
                async with asyncio.timeout(within_s + self._policy.gone_s):
                    await process.stop(within_s)
            except TimeoutError:
                self._to(Stage.STOPPING, reason=note("fleet.stuck", pid=process.pid or "?"))
                return False
            self._process = None
            self._to(Stage.STOPPING, pid=None)
        return True

    def _fail(self, cause: Cause) -> None:
        """Leave the engine failed: for a while, until it is wanted, or until a person does something about it."""
        now, policy = self._now(), self._policy
        self._failures.append(now)
        while now - self._failures[0] > policy.window_s:
            self._failures.popleft()
        count = len(self._failures)
        lost: dict[str, Any] = {"reason": cause.reason, "pid": None, "share": None}
        if cause.final or (count > policy.restarts and not self._on_demand):
            self._to(Stage.GAVE_UP, **lost)
        elif self._on_demand:
            self._to(Stage.FAILED, **lost)
        else:
            wait_s = policy.wait_s(count)
            self._retry_at = now + wait_s
            self._to(Stage.FAILED, **lost, next_try=time.time() + wait_s)

    def _heard(self, step: Progress) -> None:
        """Take what an engine's output tells: a start goes forward only."""
        process, stage = self._process, self.state.stage
        if process is None or stage not in IN_START or IN_START.index(step.stage) < IN_START.index(stage):
            return
        changes: dict[str, Any] = {"share": step.share, "pid": process.pid}
        if self._fetches():
            still = step.share is None and step.stage in _MAY_FETCH
            changes |= {"share": self.state.share} if still else {"reason": None}
        self._to(step.stage, **changes)

    def _said(self, told: Note | None) -> None:
        """Take what a person should know of an engine that runs; None when that is over."""
        if self._process is not None:
            self._to(self.state.stage, reason=told)

    def _to(self, stage: Stage, **changes: Any) -> None:
        before = self.state
        if stage is not before.stage:
            if stage not in EDGES[before.stage]:
                raise RuntimeError(f"{before.name}: {before.stage} is not followed by {stage}")
            changes["since"] = time.time()
        self.state = replace(before, stage=stage, **changes)
        if self.state != before:
            self._moved.set()
            self._around.changed(self.state)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
