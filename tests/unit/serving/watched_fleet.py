"""A fleet on a pretended machine whose every state is checked as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any

from pretended_engines import PretendedEngines, Script
from virtual_time import run

from serving.engine_state import AT_REST, EDGES, IN_START, EngineState, FleetPolicy, Stage
from serving.fleet import Fleet
from serving.spec import EngineSpec

POLICY = FleetPolicy()


class Watched:
    """A fleet whose every state is checked as it comes."""

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        scripts: Callable[[str], Iterator[Script]],
        policy: FleetPolicy = POLICY,
        **more: Any,
    ) -> None:
        self.world = PretendedEngines(scripts)
        self.seen: dict[str, list[EngineState]] = {}
        self.times: dict[str, list[float]] = {}
        self.fleet = Fleet(
            specs,
            logs=Path("/nowhere"),
            room=self.world,
            policy=policy,
            changed=self.check,
            engines=self.world,
            **more,
        )
        self.cards = {one.name: set(one.cards) for one in self.fleet.specs}
        self.policy = policy

    def check(self, state: EngineState) -> None:
        seen = self.seen.setdefault(state.name, [])
        if seen and seen[-1].stage is not state.stage:
            assert state.stage in EDGES[seen[-1].stage]
        seen.append(state)
        self.times.setdefault(state.name, []).append(self.world.now())
        process = self.world.processes.get(state.name)
        if state.stage in AT_REST:
            assert process is None or not process.alive
            assert state.pid is None
        if state.stage is Stage.READY and len(seen) > 1 and seen[-2].stage is not Stage.READY:
            assert process is not None
            assert process.up
        if state.stage in IN_START:
            for other in self.fleet.states:
                if other.name != state.name and self.cards[other.name] & self.cards[state.name]:
                    assert other.stage not in IN_START
        if state.next_try is not None:
            assert state.stage is Stage.FAILED
            assert 0 <= state.next_try - state.since <= self.policy.last_wait_s + 1

    def stages(self, name: str) -> list[Stage]:
        """What an engine went through, each stage once in a row."""
        every = [Stage.STOPPED, *(state.stage for state in self.seen[name])]
        return [after for before, after in pairwise(every) if before is not after]


def always(*first: Script, then: Script | None = None) -> Callable[[str], Iterator[Script]]:
    return lambda _: chain(first, repeat(then or (first[-1] if first else Script())))


def within(seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(seconds):
            return await work()

    return run(limited())


async def until(true: Callable[[], bool], poll_s: float = 0.5) -> None:
    while not true():
        await asyncio.sleep(poll_s)


class Watching:
    """Runs ``watch`` beside a block."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def __aenter__(self) -> None:
        self.task = asyncio.create_task(self.fleet.watch())

    async def __aexit__(self, *_: object) -> None:
        assert not self.task.done()
        self.task.cancel()
        await asyncio.wait({self.task})
        await self.fleet.close()
