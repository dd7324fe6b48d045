"""Gated delta nets: Qwen3-Next, Qwen3.5 to 3.8 (dense, and a mixture of experts), Olmo Hybrid.

Three of four layers hold a state, the fourth attends with a gate that the query projection makes too. Source: vLLM 0.32
``model_executor/models/qwen3_next.py``, ``qwen3_5.py``, ``olmo_hybrid.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, cast

from tools.domain import Attention, Layer, LinearAttention
from tools.vram.dialects import Dialect, Experts, Says
from tools.vram.families import hybrid, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, flag, number

_Layout = Literal["gdn", "gdn_fused", "gdn_olmo"]
_LINEAR, _FULL = "linear_attention", "full_attention"
_KINDS = {_LINEAR: _LINEAR, _FULL: _FULL}
_DENSE = Dialect(qk_norm=True, qkv_bias=Says("qkv_bias"), head_dim=256)
_SPARSE = replace(
    _DENSE,
    moe=Experts(
        width=("moe_intermediate_size",),
        shared_width=("shared_expert_intermediate_size",),
        shared_gate=True,
        every="decoder_sparse_step",
    ),
)
_OLMO = Dialect(qk_norm=True, qk_norm_span="all", derived_head_dim=True)


def qwen3_next(config: Config) -> Structure:
    """Describe a Qwen3-Next: queries, keys, values and gate of its delta nets are one tensor."""
    sparse = regular.sparse_layers(config, _SPARSE, hybrid.layer_count(config))
    return _build(config, "gdn_fused", _SPARSE, sparse, 0)


def qwen3_5(config: Config) -> Structure:
    """Describe a dense Qwen3.5: its delta nets' projections are tensors of their own."""
    return _build(
        config, "gdn", _DENSE, [False] * hybrid.layer_count(config), hybrid.state_bytes(config, "mamba_ssm_dtype")
    )


def qwen3_5_moe(config: Config) -> Structure:
    """Describe a Qwen3.5 whose every feed-forward block is a mixture of experts."""
    return _build(
        config, "gdn", _SPARSE, [True] * hybrid.layer_count(config), hybrid.state_bytes(config, "mamba_ssm_dtype")
    )


def olmo_hybrid(config: Config) -> Structure:
    """Describe an Olmo Hybrid: plain attention, normed over all heads, in every fourth layer."""
    kinds = hybrid.kinds_of(config, _KINDS, lambda count: _habit(config, count))
    mlp = regular.dense_mlp(config, _OLMO)
    attention = regular.attention(config, _OLMO, _FULL)
    mixers = {_LINEAR: _delta_net(config, "gdn_olmo", 0), _FULL: replace(attention, rotary_dim=_olmo_rotary(config))}
    return Structure(hybrid.layers(kinds, lambda kind: Layer((mixers[kind],), mlp)))


def _olmo_rotary(config: Config) -> int | None:
    """Positions are rotated only where a base for it is stated."""
    rope = config.get("rope_parameters")
    theta = cast("Config", rope).get("rope_theta") if isinstance(rope, Mapping) else config.get("rope_theta")
    return None if theta else 0


def _build(config: Config, kind: _Layout, dialect: Dialect, sparse: list[bool], state_bytes: int) -> Structure:
    kinds = hybrid.kinds_of(config, _KINDS, lambda count: _habit(config, count))
    mixers = {_LINEAR: _delta_net(config, kind, state_bytes), _FULL: _attention(config, dialect)}

    def layer(one: tuple[str, bool]) -> Layer:
        mlp = regular.moe_mlp(config, dialect) if one[1] else regular.dense_mlp(config, dialect)
        scales = 2 * number(config, "hidden_size") if config.get("layer_scale") else 0
        return Layer((mixers[one[0]],), mlp, extra_elements=scales)

    return Structure(hybrid.layers(list(zip(kinds, sparse, strict=True)), layer), prefix=_prefix(config))


def _prefix(config: Config) -> str:
    return "model.language_model.layers" if config.get("vision_config") else "model.layers"


def _habit(config: Config, count: int) -> list[str]:
    step = number(config, "full_attention_interval", default=4, maximum=MAX_LAYERS)
    return [_LINEAR if (i + 1) % step else _FULL for i in range(count)]


def _attention(config: Config, dialect: Dialect) -> Attention:
    gate = flag(config, Says("attn_output_gate", absent=True))
    return replace(regular.attention(config, dialect, _FULL), q_gate=gate)


def _delta_net(config: Config, kind: _Layout, state_bytes: int) -> LinearAttention:
    return LinearAttention(
        kind=kind,
        key_heads=number(config, "linear_num_key_heads"),
        value_heads=number(config, "linear_num_value_heads"),
        key_head_dim=number(config, "linear_key_head_dim"),
        value_head_dim=number(config, "linear_value_head_dim"),
        conv_kernel=number(config, "linear_conv_kernel_dim", default=4),
        state_bytes=state_bytes,
    )


BUILDERS: dict[str, Callable[[Config], Structure]] = {
    "qwen3_next": qwen3_next,
    "qwen3_5_text": qwen3_5,
    "qwen3_5_moe_text": qwen3_5_moe,
    "olmo_hybrid": olmo_hybrid,
}
