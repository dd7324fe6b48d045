"""What the calculator says of a case, and where it differs from what vLLM said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tools.domain import Deployment, Footprint, Gpu
from tools.errors import RigfitError
from tools.vram.architecture import spec_from_config
from tools.vram.estimate import estimate
from tools.vram.kv.deployed import cache_of, cached_layers, context_of
from tools.vram.kv.plan import specs_by_stage

VERSION = "0.32.0"
KINDS = {
    "FullAttentionSpec": "full",
    "SinkFullAttentionSpec": "full",
    "RSWASpec": "full",
    "SlidingWindowSpec": "sliding",
    "ChunkedLocalAttentionSpec": "chunked",
    "MLAAttentionSpec": "latent",
    "SlidingWindowMLASpec": "latent_sliding",
    "MambaSpec": "state",
    "CircularBufferSpec": "ring",
}
"""The calculator's word for each of vLLM's kinds of cache."""


@lru_cache(maxsize=8)
def card(capability: str = "9.0") -> Gpu:
    from tools.specs.gpus import GpuCatalogue

    return replace(GpuCatalogue.load().find("H100 SXM 80GB").gpu, compute_capability=capability)


def deployment(case: Mapping[str, Any]) -> Deployment:
    """Read a case as the calculator is asked."""
    spec = spec_from_config(case["config"], name=case["id"], quant_config=case.get("quant_config"))
    arguments = case.get("arguments", {})
    drafting = arguments.get("speculative_config", {})
    return Deployment(
        spec,
        spec.checkpoints[0],
        engine_version=VERSION,
        kv_dtype=case.get("kv_dtype", "auto"),
        tp=case.get("tp", 1),
        pp=case.get("pp", 1),
        dp=case.get("dp", 1),
        ep=bool(case.get("ep")),
        kv_cache_memory_bytes=case["pool_bytes"],
        max_model_len=case.get("max_model_len"),
        max_num_seqs=case.get("max_num_seqs"),
        max_num_batched_tokens=case.get("max_num_batched_tokens"),
        block_size=case.get("block_size"),
        prefix_caching=arguments.get("enable_prefix_caching"),
        draft=drafting.get("method"),
        draft_tokens=drafting.get("num_speculative_tokens", 0),
        cache_groups=False if arguments.get("disable_hybrid_kv_cache_manager") else None,
    )


def ours(case: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a case with the calculator, in the words of ``theirs``; or say why not."""
    try:
        asked, gpu = deployment(case), card(case.get("capability", "9.0"))
        footprint = estimate(asked, gpu)
        return {"parameter_bytes": footprint.parameter_bytes, "layers": layers(asked, gpu), **cache(footprint, gpu)}
    except RigfitError as error:
        return {"refused": error.code}


def theirs(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Say what is compared of the probe's answer; or why vLLM refuses the case."""
    if "error" in answer:
        return {"refused": answer["error"][:100]}
    found = Counter[tuple[Any, ...]]()
    for kind in answer["kv"]:
        page = kind.get("state_bytes") or kind["page_bytes"]
        found[KINDS[kind["kind"]], kind["window"] or kind.get("chunk") or 0, page] += kind["count"]
    pool = answer["pool"]
    return {
        "parameter_bytes": answer["parameter_bytes"],
        "layers": sorted([*key, count] for key, count in found.items()),
        "block": answer["block_size"],
        "block_bytes": pool.get("block_bytes", 0),
        "num_blocks": pool["num_blocks"],
        "tokens": pool.get("tokens"),
        "concurrency": pool.get("concurrency"),
        "starts": pool["starts"],
    }


def layers(asked: Deployment, gpu: Gpu) -> list[list[Any]]:
    """Count caches of all layers by kind, window and bytes of a block."""
    specs = specs_by_stage(*cached_layers(asked), context_of(asked, gpu))
    block = cache_of(asked, gpu).block
    found = Counter[tuple[Any, ...]]()
    for spec, counts in specs.items():
        found[spec.kind, spec.window or 0, spec.page_of(spec.block or block)] += sum(counts)
    return sorted([*key, count] for key, count in found.items())


def cache(footprint: Footprint, gpu: Gpu) -> dict[str, Any]:
    """Say what becomes of the pool."""
    asked = footprint.deployment
    plan = cache_of(asked, gpu)
    pools = (asked.kv_cache_memory_bytes or 0,) * len(plan.block_bytes)
    return {
        "block": plan.block,
        "block_bytes": max(plan.block_bytes, default=0),
        "num_blocks": plan.blocks(pools),
        "tokens": footprint.kv_pool_tokens,
        "concurrency": footprint.max_concurrency,
        "starts": footprint.verdict == "fits",
    }


def differences(case: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Compare: by what differs, the calculator's value and vLLM's; ``refused`` alone where one of them refuses.

    Args:
        case: what was asked.
        said: ``theirs`` of vLLM's answer.
    """
    mine = ours(case)
    if "refused" in mine or "refused" in said:
        both = "refused" in mine and "refused" in said
        return {} if both else {"refused": (mine.get("refused"), said.get("refused"))}
    names = dict.fromkeys((*mine, *said))
    return {name: (mine.get(name), said.get(name)) for name in names if mine.get(name) != said.get(name)}
