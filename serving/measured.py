"""What a start of an engine came to beside what was predicted, from its log and its ``/metrics``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from serving.engine_metrics import CacheInfo
from serving.room import asked_by
from serving.spec import PROCESSOR
from tools.domain import Band, Footprint
from tools.errors import RequestError
from tools.logs.facts import EngineLog, Memory
from tools.logs.predict import ROUNDING_BYTES, differences, predicted_parts
from tools.vram.estimate import estimate

if TYPE_CHECKING:
    from serving.spec import EngineSpec

Source = Literal["log", "metrics"]
CPU_BLOCK_TOKENS = 128
"""Tokens a block of the cache has on the processor (``CpuPlatform.check_and_update_config``, vLLM 0.32.0)."""
COUNT_UNSURE = 0.005
"""Counts are of whole blocks, and the log prints two decimals of how many requests fit."""
SECONDS = {"load_s": ("load", "weights"), "init_s": ("init",)}
"""Steps of a start by field, the first that is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; bytes, tokens, requests or seconds by the end of its name.

    Attributes:
        field: ``weights_bytes non_torch_bytes activation_bytes graphs_bytes kv_pool_bytes kv_pool_tokens
            max_concurrency load_s init_s``; where the log prints them as a sum ``weights_and_non_torch_bytes`` and
            ``activation_and_graphs_bytes``.
        predicted: as planned; None where nothing is predicted.
        measured: None where the engine does not say.
        source: who said so.
    """

    field: str
    predicted: Band | None = None
    measured: float | None = None
    source: Source | None = None

    @property
    def difference(self) -> float | None:
        """Measured less predicted; None where one is not known."""
        if self.measured is None or self.predicted is None:
            return None
        return self.measured - self.predicted.value

    @property
    def within(self) -> bool | None:
        """Whether what was measured lies in what was predicted, but for rounding; None where one is not known."""
        if self.measured is None or self.predicted is None:
            return None
        bytes_too = self.field.endswith("_bytes")
        unsure = ROUNDING_BYTES if bytes_too else COUNT_UNSURE * self.predicted.value
        return self.predicted.low - unsure <= self.measured <= self.predicted.high + unsure


@dataclass(frozen=True, slots=True)
class StartUp:
    """One start of one engine.

    Attributes:
        name: of the engine in the fleet.
        version: as the engine prints it.
        on_cpu: it ran on the processor, where vLLM prints less, and nothing is learnt about a card.
        rows: in the order of the budget, each field once.
    """

    name: str
    version: str | None
    on_cpu: bool
    rows: tuple[Row, ...]

    def row(self, field: str) -> Row:
        """Return a field's row; an empty one where there is none."""
        return next((row for row in self.rows if row.field == field), Row(field))

    def measured(self) -> dict[str, float | None]:
        """Return what was measured, by field."""
        return {row.field: row.measured for row in self.rows}

    def predicted(self) -> dict[str, float | None]:
        """Return the middles of what was predicted, by field."""
        return {row.field: row.predicted.value if row.predicted else None for row in self.rows}


def start_up(spec: EngineSpec, log: EngineLog | None, cache: CacheInfo | None) -> StartUp | None:
    """Set what an engine says of its start beside what was predicted.

    Args:
        spec: the engine; its unit holds the prediction.
        log: its log, read.
        cache: what its ``/metrics`` say.

    Returns: None where neither says anything.
    """
    if log is None and cache is None:
        return None
    on_cpu, memory = PROCESSOR in spec.cards, log.memory if log else Memory()
    footprint = predicted_on_cpu(spec) if on_cpu else spec.unit.instance.footprint
    rows = (
        *(_on_cpu(footprint, memory) if on_cpu else _on_card(footprint, memory)),
        _pool(footprint, memory, cache),
        _count("kv_pool_tokens", footprint, footprint.kv_pool_tokens, memory.kv_tokens, cache and cache.tokens),
        _count("max_concurrency", footprint, footprint.max_concurrency, memory.max_concurrency, cache and cache.fits),
        *(_seconds(field, log.seconds if log else {}) for field in SECONDS),
    )
    return StartUp(spec.name, log.version if log else None, on_cpu, rows)


def predicted_on_cpu(spec: EngineSpec) -> Footprint:
    """Return what is predicted for the processor: the pool is what the command sets, in the blocks that are used there.

    Without ``--kv-cache-memory-bytes`` the pool is what is left of a share of the RAM, which is not predicted.
    """
    instance = spec.unit.instance
    cache = asked_by(spec).cache_bytes
    unknown = replace(instance.footprint, kv_pool_bytes=None, kv_pool_tokens=None, max_concurrency=None)
    if cache is None:
        return unknown
    deployment = replace(
        instance.deployment,
        kv_cache_memory_bytes=cache,
        kv_dtype="auto",
        block_size=CPU_BLOCK_TOKENS,
        tp=1,
        pp=1,
        enforce_eager=True,
    )
    try:
        return estimate(deployment, None)
    except RequestError:
        return unknown


def _on_card(footprint: Footprint, memory: Memory) -> tuple[Row, ...]:
    """The parts of the budget without the pool: each as the log has it, else as predicted alone."""
    logged = {one.part: one for one in differences(memory, footprint) if one.part not in {"kv_pool", "compute"}}
    told = {name for part in logged for name in part.split("_and_")}
    rows = [Row(f"{part}_bytes", one.predicted, one.measured_bytes, "log") for part, one in logged.items()]
    predicted = predicted_parts(footprint).items()
    return (*rows, *(Row(f"{part}_bytes", band) for part, band in predicted if part not in {*told, "kv_pool"}))


def _on_cpu(footprint: Footprint, memory: Memory) -> tuple[Row, ...]:
    """The weights; nothing else of the budget is told apart there."""
    weights = footprint.parameter_bytes
    return (_row("weights_bytes", Band(weights, weights, weights), (memory.weights_bytes, "log")),)


def _pool(footprint: Footprint, memory: Memory, cache: CacheInfo | None) -> Row:
    told: tuple[tuple[float | None, Source], ...] = (
        (cache.set_bytes if cache else None, "metrics"),
        (memory.kv_bytes, "log"),
    )
    return _row("kv_pool_bytes", footprint.kv_pool_bytes, *told)


def _count(field: str, footprint: Footprint, predicted: float | None, logged: float | None, asked: float | None) -> Row:
    """How much the pool holds: as unsure as the pool itself."""
    pool, band = footprint.kv_pool_bytes, None
    if predicted is not None and pool is not None and pool.value > 0:
        band = Band(*(predicted * max(0.0, end / pool.value) for end in (pool.low, pool.value, pool.high)))
    return _row(field, band, (asked, "metrics"), (logged, "log"))


def _seconds(field: str, told: Mapping[str, float]) -> Row:
    steps: list[tuple[float | None, Source]] = [(told.get(step), "log") for step in SECONDS[field]]
    return _row(field, None, *steps)


def _row(field: str, predicted: Band | None, *told: tuple[float | None, Source]) -> Row:
    """Make a row of the first figure that is known."""
    for value, source in told:
        if value is not None:
            return Row(field, predicted, value, source)
    return Row(field, predicted)
