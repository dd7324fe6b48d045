"""Measures each start of the fleet, and keeps what cards taught for the next plans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from serving.engine_metrics import read_cache_info
from serving.measured import StartUp, start_up
from serving.spec import PROCESSOR
from tools.calibrations import Calibrations
from tools.domain import Note, note
from tools.errors import BadValue, StorageError
from tools.logs.facts import EngineLog
from tools.logs.read import read_log
from tools.logs.remember import measured_in

if TYPE_CHECKING:
    from serving.spec import EngineSpec

FAR = 2.0
"""Weights that are so many times more or less than predicted are of something else, and teach nothing."""
LOG_BYTES = 4 << 20
"""Of a log's end; a start that has just become ready prints some 100 kB."""


class Measuring:
    """Measures starts.

    Args:
        data_dir: Rigfit's data folder, where measurements are kept; None keeps nothing.
        say: takes a Note where one can't be kept.
    """

    def __init__(self, data_dir: Path | None, *, say: Callable[[Note], None] | None = None) -> None:
        self._kept = Calibrations(data_dir) if data_dir else None
        self._say = say

    async def measure(self, spec: EngineSpec, log: Path) -> StartUp | None:
        """Set what an engine that is ready says of its start beside what was predicted.

        What it measured of a card is kept; of the processor nothing is.

        Args:
            spec: the engine.
            log: its log file.

        Returns: None where it says nothing.
        """
        cache = await read_cache_info(spec.url, spec.key)
        told = await asyncio.to_thread(read_tail, log)
        found = start_up(spec, told, cache)
        if told is not None and self._kept is not None and PROCESSOR not in spec.cards:
            failed = await asyncio.to_thread(_keep, spec, told, log.name, self._kept)
            if failed and self._say:
                self._say(failed)
        return found


def _keep(spec: EngineSpec, told: EngineLog, name: str, kept: Calibrations) -> Note | None:
    """Keep what a start measured of its card; returns what is to be said where that fails."""
    deployment = spec.unit.instance.deployment
    card = spec.unit.gpus[0] if spec.unit.gpus else None
    weights, expected = told.memory.weights_bytes, spec.unit.instance.footprint.weights_bytes
    if weights is not None and not expected / FAR <= weights <= expected * FAR:
        return None
    ran = replace(deployment, engine_version=told.version or deployment.engine_version)
    try:
        kept.remember(measured_in(told, ran, card, date=datetime.now(UTC).date().isoformat(), log=name))
    except BadValue:
        return None  # nothing was measured, or the card is known by its size alone
    except StorageError as error:
        return note("measured.not_kept", name=spec.name, reason=str(error.params.get("reason", error.code)))
    return None


def read_tail(path: Path) -> EngineLog | None:
    """Read the last start in a log file; None where it can't be read or holds none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    return read_log(text)
