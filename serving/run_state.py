"""Keeps what is known of a run up to date, in memory and on disk, while its engines change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from prompts import text
from serving.engine_state import EngineState, Stage
from serving.measured import StartUp, predicted_on_cpu
from serving.processes import birth
from serving.runs import EngineRecord, RunRecord, Runs
from serving.spec import PROCESSOR, EngineSpec
from tools.errors import StorageError

_PAUSE_S = 0.2
"""Between two writes: a start changes stages several times a second."""
FIGURES = ("weights_bytes", "kv_pool_bytes", "kv_pool_tokens", "max_concurrency")
"""What is predicted and measured of an engine."""


class RunState:
    """A run's record while the run lasts.

    Args:
        record: as it is at the start.
        runs: where it is kept.
        say: told once where that is not possible.
    """

    def __init__(self, record: RunRecord, runs: Runs, say: Callable[[str], None]) -> None:
        self.record = record
        self._runs = runs
        self._say = say
        self._dirty = asyncio.Event()
        self._writing = threading.Lock()
        self._failed = False

    def changed(self, state: EngineState) -> None:
        """Take an engine's new state."""
        language = self.record.wish.language
        engines = tuple(
            _updated(one, state, language) if one.name == state.name else one for one in self.record.engines
        )
        if engines != self.record.engines:
            self.update(engines=engines)

    def failed(self, name: str) -> bool:
        """Tell whether an engine has failed or was given up."""
        engine = self.record.engine(name)
        return engine is not None and engine.stage in {Stage.FAILED.value, Stage.GAVE_UP.value}

    def measured(self, found: StartUp) -> None:
        """Take what an engine's last start came to."""
        engines = tuple(
            replace(one, predicted=found.predicted(), measured=found.measured()) if one.name == found.name else one
            for one in self.record.engines
        )
        self.update(engines=engines)

    def sleeping(self, names: Collection[str]) -> None:
        """Take which engines sleep now."""
        engines = tuple(
            one if one.asleep is (one.name in names) else replace(one, asleep=not one.asleep, since=time.time())
            for one in self.record.engines
        )
        if engines != self.record.engines:
            self.update(engines=engines)

    def update(self, **fields: object) -> None:
        """Change what is known, and have it written soon."""
        self.record = replace(self.record, **fields)
        self._dirty.set()

    async def keep(self) -> None:
        """For ever: write what changed."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await asyncio.to_thread(self.write)
            await asyncio.sleep(_PAUSE_S)

    def write(self) -> None:
        """Write what is known now; a disk that takes nothing does not end the run."""
        try:
            with self._writing:
                self._runs.write(self.record)
        except StorageError as error:
            if not self._failed:
                self._say(text(self.record.wish.language, error.code, **error.params))
            self._failed = True


def first_records(specs: Iterable[EngineSpec], now: float) -> tuple[EngineRecord, ...]:
    """Return engines as they are before anything was started; ``now`` in epoch seconds."""
    return tuple(
        EngineRecord(
            name=spec.name,
            models=spec.served_names,
            port=spec.port,
            cards=spec.cards,
            predicted=predicted(spec),
            stage="stopped",
            since=now,
        )
        for spec in specs
    )


def predicted(spec: EngineSpec) -> Mapping[str, float | None]:
    """Return the plan's figures of an engine, on each of its cards or of the RAM."""
    on_cpu = PROCESSOR in spec.cards
    footprint = predicted_on_cpu(spec) if on_cpu else spec.unit.instance.footprint
    pool = footprint.kv_pool_bytes
    values = (
        footprint.parameter_bytes if on_cpu else footprint.weights_bytes,
        None if pool is None else pool.value,
        footprint.kv_pool_tokens,
        footprint.max_concurrency,
    )
    return dict(zip(FIGURES, values, strict=True))


def _updated(record: EngineRecord, state: EngineState, language: str) -> EngineRecord:
    same = record.pid == state.pid and record.born is not None
    asleep = record.asleep and state.stage is Stage.READY
    return replace(
        record,
        stage=state.stage.value,
        asleep=asleep,
        since=record.since if asleep else state.since,
        next_try=state.next_try,
        pid=state.pid,
        born=record.born if same else birth(state.pid) if state.pid else None,
        ready_s=state.ready_s,
        restarts=state.restarts,
        reason=text(language, state.reason.code, **state.reason.params) if state.reason else "",
        log=str(state.log),
    )
