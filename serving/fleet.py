"""The fleet: a plan's engines as processes, started one after the other on each card, watched, and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from serving.card_queue import CardQueue
from serving.engine_state import EngineState, FleetPolicy, Stage
from serving.keeper import Around, Keeper, Measure
from serving.local_engines import Engines, LocalEngines
from serving.spec import EngineSpec

if TYPE_CHECKING:
    from serving.room import Room

__all__ = ["EngineState", "Fleet", "FleetPolicy", "Stage"]


class Fleet:
    """Engines of one machine. No two start on a card at once; those on different cards may.

    Args:
        specs: the engines, in start order.
        logs: folder of their log files, ``NAME.log`` each.
        room: who knows how much memory is free.
        policy: limits.
        changed: told every new state of an engine, in the event loop; it must not raise.
        measure: what a start came to, from the engine and its log file; it may raise ``TimeoutError`` alone.
        on_demand: names of engines that are not started again by themselves after they failed.
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
        self._engines = engines or LocalEngines(logs, policy)
        around = Around(self._engines, room, policy, CardQueue(), changed, measure)
        self._keepers = {spec.name: Keeper(spec, around, on_demand=spec.name in on_demand) for spec in specs}

    @property
    def specs(self) -> tuple[EngineSpec, ...]:
        """The engines, in start order."""
        return tuple(keeper.spec for keeper in self._keepers.values())

    @property
    def states(self) -> tuple[EngineState, ...]:
        """All engines as they are now, in start order."""
        return tuple(keeper.state for keeper in self._keepers.values())

    def state(self, name: str) -> EngineState:
        """Return an engine as it is now. Raises ``KeyError`` for an unknown name."""
        return self._keepers[name].state

    async def start_all(self, names: Collection[str] | None = None) -> bool:
        """Start engines once each, in start order on every card; returns whether all are ready.

        Those that the plan wants asleep go to sleep before the next one starts on their card.

        Args:
            names: those to start; all by default.
        """
        wanted = [keeper for name, keeper in self._keepers.items() if names is None or name in names]
        return all(await asyncio.gather(*(keeper.start(asleep=True) for keeper in wanted)))

    async def start(self, name: str) -> bool:
        """Start an engine once, or join a start on its way; returns whether it is ready, and awake."""
        return await self._keepers[name].start()

    async def stop(self, name: str) -> None:
        """End an engine; returns once none of its processes is left.

        Only what the system itself can't end is waited for no longer than ``policy.gone_s``; it stays ``STOPPING``.
        """
        await self._keepers[name].stop()

    async def stop_all(self) -> None:
        """End all engines at once."""
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()))

    async def watch(self) -> None:
        """For ever: start engines again that failed, after a while and not too often; end those that hang."""
        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers.values():
                group.create_task(keeper.watch())

    async def close(self) -> None:
        """End all engines and let go of what was opened."""
        await self.stop_all()
        await self._engines.close()
