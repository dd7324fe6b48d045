"""The start of a log with other arguments ("and with 0.85?"), anchored on what the log measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.domain import Footprint, Note, note
from tools.errors import BadValue
from tools.logs.arguments import commanded
from tools.logs.explain import Explanation
from tools.logs.predict import budget_of, predict
from tools.logs.whatif import WhatIf, freed_between
from tools.vram.engines.vllm import utilization_of

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue


@dataclass(frozen=True, slots=True)
class Changed:
    """What other arguments come to.

    Attributes:
        arguments: what was changed.
        footprint: as computed.
        pool_bytes: the cache pool to expect: the measured one, moved by the difference of the two computations; as
            computed where none was measured. None without a card.
        needed_bytes: cache of one sequence of the longest allowed length.
        verdict: a sentence's code: ``fits``, ``pool_too_small``, ``not_free`` (more than was free at start), or None.
    """

    arguments: Mapping[str, Any]
    footprint: Footprint
    pool_bytes: int | None
    needed_bytes: int
    verdict: str | None


def read_changes(flags: str) -> dict[str, Any]:
    """Read flags such as ``--gpu-memory-utilization 0.85 --max-model-len 8192``.

    Raises:
        BadValue: there is no flag that is understood.
    """
    found = {name: value for name, value in commanded(flags[:2000]).items() if name in _CHANGEABLE}
    if not found:
        raise BadValue("errors_logs.no_change", flags=flags[:80])
    return found


_CHANGEABLE = frozenset(
    {"gpu_memory_utilization", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype", "tp"}
    | {"enforce_eager", "kv_cache_memory_bytes", "pp", "ep"}
)


def with_changes(
    explanation: Explanation,
    changes: Mapping[str, Any],
    models: ModelCatalogue,
    gpus: GpuCatalogue,
    *,
    model: str | None = None,
    gpu: str | None = None,
) -> Changed | Note:
    """Compute a log's start again with other arguments.

    Returns:
        What they come to, or why that can't be computed.
    """
    log, before = explanation.log, explanation.prediction.footprint
    made = predict(log, models, gpus, model=model, gpu=gpu, changes=changes)
    after = made.footprint
    if after is None:
        return made.problem or note("logs.no_model")
    pool = round(after.kv_pool_bytes.value) if after.kv_pool_bytes else None
    measured = log.memory.kv_bytes
    if pool is not None and measured is not None and before is not None and before.kv_pool_bytes is not None:
        pool += measured - round(before.kv_pool_bytes.value)
    if pool is None and measured is not None and before is not None and "gpu_memory_utilization" not in changes:
        pool = measured + freed_between(before, after)
    needed = WhatIf(after.deployment, made.gpu, after).one_sequence_bytes() or after.kv_needed_bytes
    return Changed(changes, after, pool, needed, _verdict(explanation, after, changes, pool, needed))


def _verdict(
    explanation: Explanation, after: Footprint, changes: Mapping[str, Any], pool: int | None, needed: int
) -> str | None:
    memory = explanation.log.memory
    if memory.free_bytes is not None and memory.total_bytes and explanation.log.engine == "vllm":
        changed = "gpu_memory_utilization" in changes
        budget = memory.total_bytes * utilization_of(after.deployment) if changed else budget_of(explanation.log)
        if budget is not None and budget > memory.free_bytes:
            return "not_free"
    if pool is None:
        return None
    return "fits" if pool >= needed else "pool_too_small"
