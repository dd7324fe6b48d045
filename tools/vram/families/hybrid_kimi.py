"""Kimi delta attention beside latent attention: Kimi Linear and Kimi K3.

Source: vLLM 0.32 ``models/kimi_k3/nvidia/model.py`` (both families), ``transformers_utils/configs/kimi_linear.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Layer, Linear, LinearAttention, MoeMlp
from tools.errors import BadValue
from tools.vram.dialects import Dialect, Experts
from tools.vram.families import hybrid, mla, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number

LEAST_SHARE = 256
"""Narrowest share of an expert's width on a rank; narrower ones are padded (``min_moe_intermediate_per_partition``)."""

_KINDS = {"linear_attention": "kda", "kda": "kda", "full_attention": "full"}
_KIMI = Dialect(
    moe=Experts(
        experts=("num_experts",),
        width=("moe_intermediate_size",),
        shared_count=("num_shared_experts", "n_shared_experts"),
        shared_whole=True,
        score_bias=True,
    )
)


def kimi_linear(config: Config) -> Structure:
    """Describe a Kimi Linear or K3: delta attention in most layers, latent attention without positions in the others.

    K3 adds residuals across layers (two norms and two one-row projections a layer) and experts in a latent width.
    """
    linear = _linear(config)
    count = hybrid.layer_count(config)
    kinds = _kinds(config, linear, count)
    latent = replace(mla.latent_attention(config, gate=bool(config.get("mla_use_output_gate"))), rotates=False)
    mixers = {"kda": _delta(linear), "full": latent}
    crossed = config.get("attn_res_block_size") is not None
    hidden = number(config, "hidden_size")

    def layer(kind: tuple[str, bool]) -> Layer:
        mlp = _experts(config) if kind[1] else regular.dense_mlp(config, _KIMI)
        extras, narrow = _latent(config, hidden) if kind[1] else ((), 0)
        norms, further = (4, 2 * hidden) if crossed else (2, 0)
        return Layer((mixers[kind[0]],), mlp, norms, extras, further + narrow)

    made = hybrid.layers(list(zip(kinds, _sparse(config, count), strict=True)), layer)
    return Structure(made, outer_elements=2 * hidden if crossed else 0)


def _linear(config: Config) -> Config:
    """Sizes of delta attention: an object of their own, or fields as transformers 5.19 names them."""
    rules = config.get("linear_attn_config")
    if isinstance(rules, Mapping):
        return cast("Config", rules)
    names = {"num_heads": "linear_num_heads", "head_dim": "linear_head_dim"}
    found = {ours: config.get(theirs) for ours, theirs in names.items()}
    return {**found, "short_conv_kernel_size": config.get("linear_conv_kernel_dim")}


def _kinds(config: Config, linear: Config, count: int) -> list[str]:
    """Layers of delta attention are listed, counted from one; a catalogue row may name kinds instead."""
    listed = linear.get("kda_layers")
    if isinstance(listed, list):
        numbers = set(cast("list[Any]", listed))
        return ["kda" if i + 1 in numbers else "full" for i in range(count)]
    return list(hybrid.kinds_of(config, _KINDS, lambda _: _unlisted()))


def _unlisted() -> list[str]:
    raise BadValue("errors_vram.missing_field", field="linear_attn_config")


def _sparse(config: Config, count: int) -> list[bool]:
    if not config.get("num_experts"):
        return [False] * count
    named = config.get("mlp_layer_types")
    if isinstance(named, list) and len(cast("list[Any]", named)) == count:
        return [kind == "sparse" for kind in cast("list[Any]", named)]
    first = number(config, "first_k_dense_replace", default=0, maximum=MAX_LAYERS)
    step = number(config, "moe_layer_freq", default=1, maximum=MAX_LAYERS)
    return [i >= first and i % step == 0 for i in range(count)]


def _delta(linear: Config) -> LinearAttention:
    """Delta attention by ``linear_attn_config``; its recurrent state is float32."""
    heads, size = number(linear, "num_heads"), number(linear, "head_dim")
    return LinearAttention(
        kind="kda_full" if linear.get("use_full_rank_gate") else "kda",
        key_heads=heads,
        value_heads=heads,
        key_head_dim=size,
        value_head_dim=size,
        conv_kernel=number(linear, "short_conv_kernel_size", default=4),
        state_bytes=4,
    )


def _experts(config: Config) -> MoeMlp:
    latent = number(config, "routed_expert_hidden_size", default=0)
    least = number(config, "min_moe_intermediate_per_partition", default=LEAST_SHARE)
    return replace(regular.moe_mlp(config, _KIMI), latent=latent, least_share=least, shared_name="shared_experts")


def _latent(config: Config, hidden: int) -> tuple[tuple[Linear, ...], int]:
    """Projections into experts' latent width and back, and the elements of the norm between."""
    width = number(config, "routed_expert_hidden_size", default=0)
    if not width:
        return (), 0
    down = Linear("mlp.routed_expert_down_proj", (width,), hidden, plain=False)
    up = Linear("mlp.routed_expert_up_proj", (hidden,), width, plain=False)
    return (down, up), width if config.get("latent_moe_use_norm") else 0


BUILDERS: dict[str, Callable[[Config], Structure]] = {"kimi_linear": kimi_linear}
