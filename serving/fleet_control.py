"""Taking turns where Rigfit runs the engines itself: sleep mode where an engine has it, else its process is stopped.

An engine whose process does not run holds nothing and can be started, so it counts as asleep, whether it was stopped,
has died or has never been started: to wake it is to start it. So restarts follow the rule of who may be awake, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from serving.engine_state import AT_REST, EngineState, Stage
from serving.notices import Notices
from serving.orders import Seen
from serving.sleep_api import SleepApi
from serving.upstreams import Engine
from tools.domain import Note

if TYPE_CHECKING:
    from serving.spec import EngineSpec


class Runner(Protocol):
    """What runs engines' processes: the fleet."""

    async def start(self, name: str) -> bool:
        """Start an engine and wait; returns whether it is ready."""
        ...

    async def stop(self, name: str) -> None:
        """Stop an engine and wait until none of its processes is left."""
        ...

    def state(self, name: str) -> EngineState:
        """Return how an engine is."""
        ...


@dataclass(frozen=True, slots=True)
class OwnEngines:
    """The engines that Rigfit runs, as the gateway sees them.

    Attributes:
        runner: what runs them.
        names: an engine's address -> its name in the fleet.
        sleepers: addresses of those that run with vLLM's sleep mode.
    """

    runner: Runner
    names: dict[str, str] = field(default_factory=dict[str, str])
    sleepers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, runner: Runner, specs: Iterable[EngineSpec]) -> OwnEngines:
        """Note who is who."""
        specs = tuple(specs)
        sleepers = frozenset(spec.url for spec in specs if spec.can_sleep)
        return cls(runner, {spec.url: spec.name for spec in specs}, sleepers)

    def state(self, engine: Engine) -> EngineState | None:
        """Return how an engine's process is; None where Rigfit does not run it."""
        name = self.names.get(engine.url)
        return None if name is None else self.runner.state(name)


class FleetControl:
    """Puts engines to sleep and wakes them, by their sleep mode or by stopping and starting them.

    Whatever fails in sleep mode ends with the engine stopped: only then its memory is free for sure.

    Args:
        own: the engines.
        api: sleep mode.
        answers: tells whether an engine answers.
        notices: told once of each engine that has to be stopped and started.
    """

    def __init__(
        self, own: OwnEngines, api: SleepApi, answers: Callable[[Engine], Awaitable[bool]], notices: Notices
    ) -> None:
        self._own = own
        self._api = api
        self._answers = answers
        self._notices = notices
        self._sleepers = set(own.sleepers)
        self._told = set[Engine]()

    async def sleep(self, engine: Engine) -> bool:
        """Free an engine's memory; returns whether that is done."""
        if self._has_sleep_mode(engine) and await self._api.sleep(engine):
            return True
        await self._own.runner.stop(self._own.names[engine.url])
        return self._stage(engine) in AT_REST

    async def wake(self, engine: Engine) -> bool:
        """Have an engine answer; returns whether it does. One that does not wake is stopped and started anew."""
        name, runner = self._own.names[engine.url], self._own.runner
        if self._has_sleep_mode(engine) and await self._api.wake(engine):
            return True
        if self._stage(engine) not in AT_REST:
            await runner.stop(name)
        if not await runner.start(name):
            return False
        starts_asleep = self._has_sleep_mode(engine) and await self._api.look(engine) is Seen.ASLEEP
        return not starts_asleep or await self._api.wake(engine)

    async def look(self, engine: Engine) -> Seen:
        """Return what an engine does. Its process is asked for first, which can't be mistaken."""
        self._tell(engine)
        stage = self._stage(engine)
        if stage in AT_REST:
            return Seen.STOPPED
        if stage is not Stage.READY:
            return Seen.CHANGING
        seen = await self._api.look(engine) if engine.url in self._sleepers else Seen.SLEEPLESS
        if seen is Seen.SLEEPLESS:
            self._sleepers.discard(engine.url)
            return Seen.AWAKE if await self._answers(engine) else Seen.SILENT
        return Seen.SILENT if seen is Seen.GONE else seen  # nobody listens, but its process has not ended

    def why(self, engine: Engine) -> Note | None:
        """Return what went wrong with an engine that does not run."""
        state = self._own.state(engine)
        return state.reason if state is not None else None

    def _stage(self, engine: Engine) -> Stage:
        return self._own.runner.state(self._own.names[engine.url]).stage

    def _has_sleep_mode(self, engine: Engine) -> bool:
        return engine.url in self._sleepers and self._stage(engine) is Stage.READY

    def _tell(self, engine: Engine) -> None:
        if engine.url not in self._sleepers and engine not in self._told:
            self._told.add(engine)
            self._notices.restarts(engine)
