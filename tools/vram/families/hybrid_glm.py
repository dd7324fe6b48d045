"""GLM-5.3-Flash: delta attention, and in every fourth layer latent attention over tokens that an indexer chooses.

Source: vLLM 0.32 ``vllm/models/glm5next/common/`` (``model.py``, ``kda.py``, ``attention.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from tools.domain import Indexer, Layer, Linear, LinearAttention, MlaAttention
from tools.vram.dialects import Dialect, Experts
from tools.vram.families import hybrid, mla, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number

_KINDS = {"linear_attention": "delta", "indexed_attention": "latent", "full_attention": "latent"}
_GLM = Dialect(
    moe=Experts(
        experts=("n_routed_experts",),
        width=("moe_intermediate_size",),
        shared_count=("n_shared_experts",),
        shared_whole=True,
        score_bias=True,
    )
)


def glm5_next(config: Config) -> Structure:
    """Describe a GLM-5.3-Flash; each layer mixes several residual streams by float32 weights of its own."""
    count = hybrid.layer_count(config)
    kinds = hybrid.kinds_of(config, _KINDS, lambda n: ["linear_attention"] * n)
    mixers = {"delta": _delta(config), "latent": _latent(config)}
    streams = _streams(config)

    def layer(kind: tuple[str, bool]) -> Layer:
        mlp = regular.moe_mlp(config, _GLM) if kind[1] else regular.dense_mlp(config, _GLM)
        return Layer((mixers[kind[0]],), mlp, extras=streams)

    return Structure(hybrid.layers(list(zip(kinds, _sparse(config, count), strict=True)), layer))


def _delta(config: Config) -> LinearAttention:
    heads, size = number(config, "linear_num_heads"), number(config, "linear_head_dim")
    return LinearAttention(
        kind="kda_plain",
        key_heads=heads,
        value_heads=heads,
        key_head_dim=size,
        value_head_dim=size,
        conv_kernel=number(config, "linear_conv_kernel_dim"),
        state_bytes=4,
    )


def _latent(config: Config) -> MlaAttention:
    """Latent attention without positions, its indexer's keys pooled."""
    indexer = Indexer(
        number(config, "index_n_heads"),
        number(config, "index_head_dim"),
        number(config, "index_topk"),
        pool=number(config, "index_kpool", maximum=1024),
    )
    return replace(mla.latent_attention(config), indexer=indexer, rotates=False)


def _streams(config: Config) -> tuple[Linear, ...]:
    """What mixes ``hc_mult`` residual streams before attention and before the feed-forward block."""
    streams = 0 if config.get("mhc") is False else number(config, "hc_mult", default=0, maximum=64)
    if not streams:
        return ()
    mixes = (2 + streams) * streams
    return (
        Linear("hc_fn", (mixes,), streams * number(config, "hidden_size"), element_bytes=4, times=2),
        Linear("hc_base", (mixes + 3,), 1, element_bytes=4, times=2),
    )


def _sparse(config: Config, count: int) -> list[bool]:
    named = config.get("mlp_layer_types")
    if isinstance(named, list) and len(cast("list[Any]", named)) >= count:
        return [kind == "sparse" for kind in cast("list[Any]", named)[:count]]
    first = number(config, "first_k_dense_replace", default=0, maximum=MAX_LAYERS)
    return [i >= first for i in range(count)]


BUILDERS: dict[str, Callable[[Config], Structure]] = {"glm5_next_text": glm5_next}
