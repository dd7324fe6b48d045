"""One deployment on one card: the parts, their sum, and whether it starts. Pure; well under a millisecond."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tools.domain import Band, Deployment, Footprint, Gpu, Note, Provenance, Verdict, note
from tools.errors import BadValue
from tools.vram.calibration import calibrated
from tools.vram.engines import vllm
from tools.vram.engines.dispatch import engine_footprint
from tools.vram.engines.offload import is_ignored
from tools.vram.kv import CachePlan
from tools.vram.kv.deployed import cache_of, tokens_in_flight
from tools.vram.loaded import Loaded, is_by_size, loaded, registered_bytes
from tools.vram.weights import not_exact


def estimate(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what a deployment takes on its fullest GPU.

    Args:
        deployment: model, checkpoint, engine and flags; None means the engine's own default.
        gpu: the card, or None: weights and cache are still answered, the pool is not.

    Returns:
        Every part in bytes, with provenance by field.

    Raises:
        NotYetExact: the architecture, format or engine is not covered.
        BadValue: the sizes do not divide among the ranks, or a flag is absurd.
    """
    _check(deployment)
    if deployment.engine != "vllm":
        return engine_footprint(deployment)(deployment, gpu)
    registered = registered_bytes(deployment)
    stages = loaded(deployment, gpu, registered, vllm.batched_tokens_of(deployment, gpu))
    held = max(stages, key=lambda stage: stage.bytes)
    own = calibrated(vllm.parts_with(deployment, gpu, held), deployment, gpu)
    parts = own.parts
    spare = tuple(held.bytes - stage.bytes for stage in stages)
    cached = _cached(deployment, gpu, vllm.pool(deployment, gpu, parts), spare)
    context = _shift(parts.non_torch, vllm.CUDA_CONTEXT_BYTES)
    rest = parts.activation.value + parts.graphs.value + context.value
    return Footprint(
        deployment=deployment,
        parameter_bytes=max(registered),
        weights_bytes=parts.weights_bytes,
        backend=held.backend,
        kv_bytes_per_token=cached.plan.token_bytes,
        kv_needed_bytes=cached.needed_bytes,
        kv_pool_bytes=cached.pool,
        kv_pool_tokens=cached.tokens,
        max_concurrency=cached.concurrency,
        activation_bytes=parts.activation,
        cuda_graph_bytes=parts.graphs,
        context_bytes=context,
        total_bytes=math.ceil(parts.weights_bytes + cached.bytes + rest),
        verdict=cached.verdict,
        provenance={**_provenance(deployment, held), **own.provenance},
        assumptions=(*_notes(deployment, gpu), *cached.notes, *own.notes),
    )


@dataclass(frozen=True, slots=True)
class _Cached:
    """The cache's part of a footprint: ``bytes`` is the pool, or what is needed where there is no card."""

    plan: CachePlan
    pool: Band | None
    needed_bytes: int
    bytes: int
    tokens: int | None = None
    concurrency: float | None = None
    verdict: Verdict | None = None
    notes: tuple[Note, ...] = ()


def _cached(deployment: Deployment, gpu: Gpu | None, pool: Band | None, spare: tuple[int, ...]) -> _Cached:
    """Plan the cache for the fullest stage's pool; each has ``spare`` bytes more, unless the pool was set outright."""
    plan = cache_of(deployment, gpu)
    length = deployment.max_model_len or deployment.model.max_context
    in_flight = tokens_in_flight(deployment, gpu)
    needed = max(plan.needed(length, deployment.max_num_seqs or 1, in_flight), default=0)
    if pool is None:
        return _Cached(plan, None, needed, needed)
    size = max(0, math.floor(pool.value))
    is_set = deployment.kv_cache_memory_bytes is not None
    pools = tuple(size + (0 if is_set else more) for more in spare)
    step = vllm.batched_tokens_of(deployment, gpu)
    starts = plan.fits_step(step)
    return _Cached(
        plan,
        pool,
        needed,
        size,
        plan.capacity(pools, length, in_flight),
        plan.concurrency(pools, length, in_flight),
        "fits" if starts and plan.holds_one(pools, length, in_flight) else "does_not_fit",
        () if starts else (note("vram.block_exceeds_step", block=plan.block, tokens=step),),
    )


def _check(deployment: Deployment) -> None:
    if not deployment.model.layers:
        raise not_exact(deployment.model)
    for name in ("tp", "pp", "dp", "dcp", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size"):
        value = getattr(deployment, name)
        if value is not None and not 1 <= value <= 1 << 40:
            raise BadValue("errors_vram.bad_field", field=name, value=str(value)[:40])
    share = deployment.gpu_memory_utilization
    if share is not None and not 0 < share <= 1:
        raise BadValue("errors_vram.bad_field", field="gpu_memory_utilization", value=str(share))


def _notes(deployment: Deployment, gpu: Gpu | None) -> Iterator[Note]:
    """Say what the figures rest on beyond the request."""
    if deployment.max_model_len is None:
        yield note("vram.default_length", tokens=deployment.model.max_context)
    if deployment.max_num_seqs is None and gpu is not None:
        yield note("vram.default_sequences", sequences=vllm.sequences_of(deployment, gpu))
    if deployment.gpu_memory_utilization is None and deployment.kv_cache_memory_bytes is None and gpu is not None:
        yield note("vram.default_utilization", share=vllm.utilization_of(deployment))
    if deployment.checkpoint.quantization.method.startswith("bnb"):
        yield note("vram.bnb_plugin")
    if is_by_size(deployment.checkpoint.quantization):
        yield note("vram.by_size", format=deployment.checkpoint.precision)
    if deployment.model.tower_params:
        yield note("vram.towers", params=deployment.model.tower_params)
    if deployment.draft:
        kind = "draft_head" if deployment.draft == "mtp" and deployment.model.draft else "draft_cache"
        yield note(f"vram.{kind}", kind=deployment.draft.upper())
    if is_ignored(deployment):
        yield note("vram.offload_ignored", version=deployment.engine_version or "")
    if deployment.ranks.sharing_experts > 1:
        yield note("vram.experts_spread", ranks=deployment.ranks.sharing_experts)


def _shift(band: Band, by: float) -> Band:
    return Band(band.low + by, band.value + by, band.high + by)


def _provenance(deployment: Deployment, held: Loaded) -> dict[str, Provenance]:
    fixed = deployment.kv_cache_memory_bytes is not None
    by_size = is_by_size(deployment.checkpoint.quantization)
    file_status = deployment.checkpoint.file_provenance if deployment.checkpoint.file_bytes else "estimated"
    shared_towers = deployment.model.tower_params and deployment.tp > 1
    registered: Provenance = file_status if by_size else "estimated" if shared_towers else "computed"
    return {
        "parameter_bytes": registered,
        "weights_bytes": registered if by_size else "estimated" if held.repacked else "computed",
        "kv_bytes_per_token": "computed",
        "kv_needed_bytes": "computed",
        "kv_pool_bytes": "computed" if fixed else "estimated",
        "kv_pool_tokens": "computed" if fixed else "estimated",
        "max_concurrency": "computed" if fixed else "estimated",
        "activation_bytes": "estimated",
        "cuda_graph_bytes": "estimated",
        "context_bytes": "estimated",
    }
