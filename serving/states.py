"""What an engine does, in one word for callers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serving.engine_state import AT_REST, IN_START, Stage
from serving.errors import Refused
from serving.fleet_control import OwnEngines
from serving.orders import Phase
from serving.turns import Turns
from serving.upstreams import Engine, Upstreams

READY, STARTING, STOPPED, FAILED = "ready", "starting", "stopped", "failed"
STATES = (
    READY,
    Phase.WAKING.value,
    STARTING,
    Phase.SLEEPING.value,
    Phase.ASLEEP.value,
    STOPPED,
    Phase.UNKNOWN.value,
    Stage.STOPPING.value,
    Phase.GONE.value,
    FAILED,
)
"""Every word, that of the engine that answers soonest first."""

_STARTING = frozenset({Stage.WAITING, *IN_START})


_START_AGAIN_S = 10.0
"""When asking again makes sense for who met an engine that starts."""


class States:
    """What engines do, from what is known of their health, their turns and their processes.

    Args:
        upstreams: the engines.
        turns: who takes turns.
        own: the engines that Rigfit runs itself.
    """

    def __init__(self, upstreams: Upstreams, turns: Mapping[Engine, Turns], own: OwnEngines | None) -> None:
        self._upstreams = upstreams
        self._turns = turns
        self._own = own

    def of(self, engine: Engine) -> str:
        """Return what an engine does."""
        process = None if self._own is None else self._own.state(engine)
        stage = None if process is None else process.stage
        turns = self._turns.get(engine)
        if turns is not None:
            return of_turns(turns.phase(engine), stage)
        return engine.state if stage is None else of_process(stage)

    def of_model(self, model: str) -> str:
        """Return what the engine of a model does that answers soonest."""
        return best(self.of(engine) for engine in self._upstreams.models[model])

    def health(self) -> tuple[bool, str]:
        """Return whether at least one engine can be asked, and a word for it."""
        words = [self.of(engine) for engine in self._upstreams.engines]
        takes_turns = any(turns.phase(engine) is not Phase.GONE for engine, turns in self._turns.items())
        if takes_turns or any(word in {READY, Phase.UNKNOWN.value} for word in words):
            return True, STARTING if READY not in words and STARTING in words else "ok"
        return False, STARTING if STARTING in words else "no engine answers"

    def unreachable(self, model: str) -> Refused:
        """Return what a request for a model is refused with of which no engine could be reached."""
        for engine in self._upstreams.models[model]:
            process = None if self._own is None else self._own.state(engine)
            if process is None:
                continue
            if of_process(process.stage) == STARTING:
                return Refused("engine_starting", retry_after_s=_START_AGAIN_S, model=model)
            if process.stage in AT_REST and process.reason is not None:
                return Refused("start_failed", retry_after_s=_START_AGAIN_S, model=model, reason=process.reason)
        return Refused("engine_unreachable", retry_after_s=5, model=model)


def best(words: Iterable[str]) -> str:
    """Return the word of whoever answers soonest."""
    return min(words, key=STATES.index)


def of_process(stage: Stage) -> str:
    """Return what an engine's process does."""
    if stage in _STARTING:
        return STARTING
    return FAILED if stage in AT_REST and stage is not Stage.STOPPED else stage.value


def of_turns(phase: Phase, stage: Stage | None) -> str:
    """Return what an engine does that takes turns.

    Args:
        phase: what its group knows.
        stage: what its process does; None where Rigfit does not run it.
    """
    if phase is Phase.SLEEPLESS:
        return READY
    if stage in _STARTING or (phase is Phase.ASLEEP and stage in AT_REST):
        return of_process(stage)
    return phase.value
