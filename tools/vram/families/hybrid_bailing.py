"""Ling and Ring 2.5 (lightning attention) and 3 (Kimi delta attention), latent attention in the last layer of a group.

Source: vLLM 0.32 ``model_executor/models/bailing_moe_linear.py``, ``bailing_moe_v3.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tools.domain import Layer, Linear, LinearAttention, MlaAttention, MoeMlp
from tools.errors import NotYetExact
from tools.vram.dialects import Dialect, Experts
from tools.vram.families import hybrid, mla, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number

_LING = Dialect(
    moe=Experts(
        experts=("num_experts",),
        width=("moe_intermediate_size",),
        shared_width=("moe_shared_expert_intermediate_size", "moe_intermediate_size"),
    )
)
_USUAL: Mapping[str, int] = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512}
_GATES = {"head_wise": 1, "element_wise": 0}
"""Outputs a head of the gate on latent attention; 0 = as many as a value head has."""


def ling(config: Config) -> Structure:
    """Describe a Ling or Ring: delta attention has a short convolution (version 3), lightning attention has none.

    Raises:
        NotYetExact: projections have biases.
    """
    if config.get("use_bias"):
        raise NotYetExact("errors_vram.not_covered", architecture="bailing_hybrid", part="use_bias")
    is_third = config.get("short_conv_kernel_size") is not None
    count = hybrid.layer_count(config)
    step = number(config, "layer_group_size", maximum=MAX_LAYERS)
    whole = count // step * step if is_third else count
    first = number(config, "first_k_dense_replace", default=0, maximum=MAX_LAYERS)
    routed = number(config, "num_experts", default=0, maximum=1 << 16) > 1
    linear = _delta(config) if is_third else _lightning(config)
    latent, gate = _latent(config, gated=is_third)

    def layer(kind: tuple[bool, bool]) -> Layer:
        mlp = _experts(config, is_third=is_third) if kind[1] else regular.dense_mlp(config, _LING)
        return Layer((linear,), mlp) if kind[0] else Layer((latent,), mlp, extras=gate)

    kinds = [((i + 1) % step != 0 and i < whole, routed and i >= first) for i in range(count)]
    return Structure(hybrid.layers(kinds, layer))


def _latent(config: Config, *, gated: bool) -> tuple[MlaAttention, tuple[Linear, ...]]:
    """Latent attention, and the gate beside it in version 3."""
    attention = mla.latent_attention({**_USUAL, **{key: value for key, value in config.items() if value is not None}})
    said = config.get("gated_attention_proj_granularity_type") if gated else None
    if said not in _GATES:
        return attention, ()
    outputs = attention.heads * (_GATES[said] or attention.v_head_dim)
    return attention, (Linear("self_attn.g_proj", (outputs,), number(config, "hidden_size"), split="out", plain=False),)


def _delta(config: Config) -> LinearAttention:
    heads, size = number(config, "num_attention_heads"), number(config, "head_dim")
    return LinearAttention(
        kind="kda_ling",
        key_heads=heads,
        value_heads=heads,
        key_head_dim=size,
        value_head_dim=size,
        conv_kernel=number(config, "short_conv_kernel_size"),
        state_bytes=4,
    )


def _lightning(config: Config) -> LinearAttention:
    heads = number(config, "num_attention_heads")
    size = number(config, "head_dim", default=number(config, "hidden_size") // heads)
    return LinearAttention(
        kind="lightning",
        key_heads=heads,
        value_heads=heads,
        key_head_dim=size,
        value_head_dim=size,
        conv_kernel=0,
        groups=number(config, "group_norm_size", default=1),
        bias=bool(config.get("use_qkv_bias")),
        qk_norm=bool(config.get("use_qk_norm")),
    )


def _experts(config: Config, *, is_third: bool) -> MoeMlp:
    made = regular.moe_mlp(config, _LING)
    shared = made.shared_intermediate * number(config, "num_shared_experts", "n_shared_experts", default=0)
    wide = is_third or config.get("router_dtype") in (None, "fp32")
    return replace(
        made,
        shared_intermediate=shared,
        shared_name="shared_experts",
        router_bytes=4 if wide else 2,
        score_bias=is_third or bool(config.get("moe_router_enable_expert_bias")),
    )


BUILDERS: dict[str, Callable[[Config], Structure]] = {"bailing_hybrid": ling}
