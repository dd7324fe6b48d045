"""SGLang's budget: the pool is what weights leave of a share of the card; graphs and steps take what lies outside it.

``pool = free after loading - free before loading x (1 - mem_fraction_static)`` (``model_runner.py``); the share is as
asked, else computed by version (``server_args.py``). Worked example: Qwen2.5-7B in bfloat16 on an A100 of 40 GB, 0.4.3:
38.97 GiB free, 24.59 after loading, share 0.88: 24.59 - 38.97 x 0.12 = 19.91 GiB, as logged (19.92). Its logs call GiB
"GB". Weights are sharded as vLLM's are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from tools.domain import (
    Attention,
    Band,
    Deployment,
    Footprint,
    Gpu,
    Mixer,
    MlaAttention,
    Note,
    Provenance,
    Verdict,
    note,
)
from tools.units import GIB, MIB
from tools.vram.kv.deployed import cache_of
from tools.vram.kv.types import element_bytes
from tools.vram.loaded import Loaded, loaded, registered_bytes
from tools.vram.mixers.attention import kv_heads_on_rank
from tools.vram.weights import element_bytes as width_of

BEFORE_LOADING_GIB = (0.3, 0.45, 1.2)
"""Taken before weights are loaded: the CUDA context and communication (A100 of 40 GB: 39.39 - 38.97 = 0.42)."""

LOADED_SHARE = 1.009
"""What a rank's free memory loses to the tensors of its weights: the allocator's blocks (logs: 1.009 and 1.010)."""

GRAPHS_GIB = (0.03, 1.0, 3.4)
"""CUDA graphs, outside the pool (logs)."""

_BY_RANKS = ((16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87), (1, 0.88))
"""Shares by tensor-parallel ranks before ``RESERVES_SINCE`` (0.4 ``server_args.py``)."""

RESERVES_SINCE, COUNTS_SINCE = (0, 4, 7), (0, 5, 0)
"""From the first, cards above 60 GiB keep 10 GiB free (H100, 0.4.7.post1: 65.3 GiB of pool expected, 64.8 logged);
from about the second, what is kept is summed from the step's size, graphs and ranks."""

NEWEST = (99, 0, 0)
KEPT_OF_LARGE_CARDS = 10 * 1024
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")

_STEPS = ((20, 2048, 8, 8), (35, 2048, 24, 80), (60, 4096, 32, 160), (160, 8192, 256, 512), (1 << 20, 16384, 512, 512))
"""Cards below so many GiB: tokens of a prefill chunk, largest batch in a graph with less than 4 ranks and with more."""


def version_of(text: str | None) -> tuple[int, int, int]:
    """Read ``0.4.7.post1``; what can't be read is taken as the newest."""
    found = _VERSION.search(text) if text else None
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else NEWEST


def default_share(deployment: Deployment, gpu: Gpu) -> float:
    """Return ``mem_fraction_static`` where it is not set.

    Worked example: H100 of 80 GB, newest, one rank: 512 + 8,192 x 1.5 + 128 + 256 x 2 = 13,440 MiB kept: 0.835.

    Args:
        deployment: its version, ranks and prefill chunk.
        gpu: the card.
    """
    version, ranks = version_of(deployment.engine_version), deployment.tp
    total = gpu.cuda_total_bytes / MIB
    old = next(share for least, share in _BY_RANKS if ranks >= least)
    if version < RESERVES_SINCE:
        return old
    if version < COUNTS_SINCE:
        return round((total - KEPT_OF_LARGE_CARDS) / total, 3) if total > 60 * 1024 else old
    _, chunk, few, many = next(step for step in _STEPS if total < step[0] * 1024)
    tokens = deployment.max_num_batched_tokens or chunk
    kept = 512 + max(tokens, 2048) * 1.5 + ranks * deployment.pp / 8 * 1024 + 2 * (few if ranks < 4 else many)
    if total > 60 * 1024:
        kept = max(kept, KEPT_OF_LARGE_CARDS)
    return max(0.1, round((total - kept) / total, 3))


@dataclass(frozen=True, slots=True)
class _Cached:
    """The pool and what it holds; ``token_bytes`` None where caches of several kinds share it."""

    pool: Band | None
    token_bytes: int | None
    tokens: int | None
    needed: int


def footprint(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what SGLang takes on its fullest card.

    Args:
        deployment: ``max_num_seqs`` stands for the sequences that are to run at full context (1 where not said).
        gpu: the card, or None: no pool and no verdict.

    Raises:
        NotYetExact: the architecture or the format is not covered.
        BadValue: the sizes do not divide among the ranks.
    """
    as_newest = replace(deployment, engine_version=None)
    registered = registered_bytes(as_newest)
    held = max(loaded(as_newest, gpu, registered), key=lambda stage: stage.bytes)
    weights = math.ceil(held.bytes * LOADED_SHARE)
    before = Band(*(gib * GIB for gib in BEFORE_LOADING_GIB))
    cached = _cached(deployment, gpu, weights, before)
    graphs = Band(0, 0, 0) if deployment.enforce_eager else Band(*(gib * GIB for gib in GRAPHS_GIB))
    size = cached.pool.value if cached.pool else cached.needed
    length = deployment.max_model_len or deployment.model.max_context
    return Footprint(
        deployment=deployment,
        parameter_bytes=max(registered),
        weights_bytes=weights,
        backend=held.backend,
        kv_bytes_per_token=cached.token_bytes,
        kv_needed_bytes=cached.needed,
        kv_pool_bytes=cached.pool,
        kv_pool_tokens=cached.tokens,
        max_concurrency=None if cached.tokens is None else cached.tokens / length,
        activation_bytes=_step(deployment),
        cuda_graph_bytes=graphs,
        context_bytes=before,
        total_bytes=math.ceil(weights + max(0.0, size) + graphs.value + before.value + _step(deployment).value),
        verdict=_verdict(cached, length),
        provenance=_provenance(deployment, held),
        assumptions=_notes(deployment, gpu, cached),
    )


def token_bytes(deployment: Deployment) -> int | None:
    """Bytes of a token on one rank, all layers; None where they keep states or windows.

    Worked example: DeepSeek-R1: 61 latents of 576 elements in 16 bits, 70,272 B on every rank.
    """
    width = element_bytes(deployment.kv_dtype, width_of(deployment.checkpoint.dtype))
    layers = deployment.model.layers[: -(-len(deployment.model.layers) // deployment.pp)]
    sizes = [_elements(mixer, deployment.tp) for layer in layers for mixer in layer.mixers]
    return None if None in sizes else width * sum(size for size in sizes if size is not None)


def _elements(mixer: Mixer, ranks: int) -> int | None:
    if isinstance(mixer, Attention) and not (mixer.window or mixer.chunk or mixer.index_dim):
        if mixer.shares_kv:
            return 0
        return kv_heads_on_rank(mixer, ranks) * (mixer.head_dim + (mixer.v_head_dim or mixer.head_dim))
    if isinstance(mixer, MlaAttention) and not (mixer.sparse or mixer.indexer or mixer.expanded):
        return mixer.kv_lora_rank + mixer.rope_head_dim
    return None


def _cached(deployment: Deployment, gpu: Gpu | None, weights: int, before: Band) -> _Cached:
    size = token_bytes(deployment)
    length = deployment.max_model_len or deployment.model.max_context
    users = deployment.max_num_seqs or 1
    needed = size * length * users if size else _needed(deployment, gpu, length, users)
    pool = _pool(deployment, gpu, weights, before)
    most = deployment.options.total_tokens
    if pool is None or not size:
        return _Cached(pool, size, None, needed)
    tokens = max(0, math.floor(pool.value)) // size
    if most and most < tokens:
        return _Cached(Band(most * size, most * size, most * size), size, most, needed)
    return _Cached(pool, size, tokens, needed)


def _needed(deployment: Deployment, gpu: Gpu | None, length: int, users: int) -> int:
    """Bytes that states, windows and full caches take side by side, in vLLM's pages."""
    plan = cache_of(replace(deployment, engine_version=None), gpu)
    return max(plan.needed(length, users, 0), default=0)


def _pool(deployment: Deployment, gpu: Gpu | None, weights: int, before: Band) -> Band | None:
    if gpu is None:
        return None
    asked = deployment.options.static_share or deployment.gpu_memory_utilization
    share = asked or default_share(deployment, gpu)
    free = gpu.cuda_total_bytes - gpu.reserved_bytes
    unsure = 0.0 if asked else 0.02 * free
    low, value, high = ((free - taken) * share - weights for taken in (before.high, before.value, before.low))
    doubt = 0.01 * weights + unsure
    return Band(low - doubt, value, high + doubt)


def _verdict(cached: _Cached, length: int) -> Verdict | None:
    if cached.pool is None:
        return None
    holds = cached.tokens >= length if cached.tokens is not None else cached.pool.value >= cached.needed
    return "fits" if holds else "does_not_fit"


def _step(deployment: Deployment) -> Band:
    """Working memory of a step: SGLang itself keeps 1.5 MiB a token of a prefill chunk for it."""
    tokens = deployment.max_num_batched_tokens or 2048
    return Band(0.1 * tokens * MIB, 0.4 * tokens * MIB, 1.5 * tokens * MIB)


def _notes(deployment: Deployment, gpu: Gpu | None, cached: _Cached) -> tuple[Note, ...]:
    found = [note("engines.graphs_outside")]
    if deployment.max_model_len is None:
        found.append(note("vram.default_length", tokens=deployment.model.max_context))
    if gpu is not None and not (deployment.options.static_share or deployment.gpu_memory_utilization):
        found.append(note("engines.static_share", share=default_share(deployment, gpu)))
    if cached.token_bytes is None:
        found.append(note("engines.pool_divided"))
    return tuple(found)


def _provenance(deployment: Deployment, held: Loaded) -> dict[str, Provenance]:
    fixed: Provenance = "computed" if deployment.options.total_tokens else "estimated"
    return {
        "parameter_bytes": "computed",
        "weights_bytes": "estimated",
        "kv_bytes_per_token": "computed",
        "kv_needed_bytes": "computed",
        **dict.fromkeys(("kv_pool_bytes", "kv_pool_tokens", "max_concurrency"), fixed),
        **dict.fromkeys(("activation_bytes", "cuda_graph_bytes", "context_bytes"), "estimated"),
    }
