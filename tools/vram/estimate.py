"""One deployment on one card: the parts, their sum, and whether it starts. Pure; well under a millisecond."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tools.domain import Band, Deployment, Footprint, Gpu, Note, Provenance, note
from tools.errors import BadValue, NotYetExact
from tools.vram import kv
from tools.vram.engines import vllm
from tools.vram.loaded import Loaded, is_by_size, loaded, registered_bytes
from tools.vram.stages import fullest_layers
from tools.vram.weights import element_bytes, not_exact


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
    registered = registered_bytes(deployment)
    held = loaded(deployment, gpu, registered)
    parts = vllm.parts_with(deployment, gpu, held)
    layers = fullest_layers(deployment.model, deployment.pp)
    kinds = kv.caches(layers, deployment.tp, kv_element_bytes(deployment))
    length = deployment.max_model_len or deployment.model.max_context
    in_flight = vllm.tokens_in_flight(deployment, gpu)
    needed = kv.needed_bytes(kinds, length, deployment.max_num_seqs or 1, in_flight)
    pool = vllm.pool(deployment, gpu, parts)
    cache = max(0, math.floor(pool.value)) if pool else needed
    crowd = kv.concurrency(kinds, cache, length, in_flight) if pool else None
    context = _shift(parts.non_torch, vllm.CUDA_CONTEXT_BYTES)
    rest = parts.activation.value + parts.graphs.value + context.value
    return Footprint(
        deployment=deployment,
        parameter_bytes=registered,
        weights_bytes=parts.weights_bytes,
        backend=held.backend,
        kv_bytes_per_token=kv.bytes_per_token(kinds),
        kv_needed_bytes=needed,
        kv_pool_bytes=pool,
        kv_pool_tokens=None if crowd is None else math.floor(crowd * length),
        max_concurrency=crowd,
        activation_bytes=parts.activation,
        cuda_graph_bytes=parts.graphs,
        context_bytes=context,
        total_bytes=math.ceil(parts.weights_bytes + cache + rest),
        verdict=None if crowd is None else ("fits" if crowd >= 1 else "does_not_fit"),
        provenance=_provenance(deployment, held),
        assumptions=tuple(_notes(deployment, gpu)),
    )


def kv_element_bytes(deployment: Deployment) -> int:
    """Bytes of one cached element; ``auto`` follows the checkpoint, whose config may ask for an fp8 cache.

    Raises:
        BadValue: the cache type is not known.
    """
    size = kv.KV_BYTES.get(deployment.kv_dtype)
    if size is None:
        raise BadValue("errors_vram.bad_kv_dtype", value=deployment.kv_dtype, allowed=", ".join(kv.KV_BYTES))
    if deployment.kv_dtype != "auto":
        return size
    if deployment.checkpoint.quantization.extra.get("kv_cache") == "fp8":
        return 1
    return element_bytes(deployment.checkpoint.dtype)


def _check(deployment: Deployment) -> None:
    if not deployment.model.layers:
        raise not_exact(deployment.model)
    if deployment.engine != "vllm":
        raise NotYetExact("errors_vram.engine_not_covered", engine=deployment.engine)
    for name in ("tp", "pp", "max_model_len", "max_num_seqs", "max_num_batched_tokens"):
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
    if deployment.ep and deployment.tp > 1:
        yield note("vram.experts_spread", ranks=deployment.tp)


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
