"""Gemma 3n and Gemma 4: embeddings for each layer, layers that share keys and values, heads of two sizes.

Source: vLLM 0.32 ``model_executor/models/gemma3n.py`` and ``gemma4.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from tools.domain import Attention, DenseMlp, Layer, Linear
from tools.vram.dialects import DIALECTS, Experts
from tools.vram.families import regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number

_FULL = "full_attention"
_ROWS = 64
"""Rows of a table of embeddings are rounded up to a multiple of this, as the vocabulary's are."""

_MOE = Experts(active=("top_k_experts", "num_experts_per_tok"), width=("moe_intermediate_size",))


def _gemma4(config: Config) -> Structure:
    """Describe Gemma 4's text model."""
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    kinds = _kinds(config, count, 6)
    first_shared = count - number(config, "num_kv_shared_layers", default=0, maximum=count)
    made: dict[tuple[str, bool], Layer] = {}
    layers: list[Layer] = []
    for index, kind in enumerate(kinds):
        key = kind, index >= first_shared
        if key not in made:
            made[key] = _gemma4_layer(config, *key)
        layers.append(made[key])
    return Structure(
        tuple(layers),
        outer=_outer(config, count, "model"),
        tied=True,
        shared_rotary=False,
        switches=tuple(name for name in ("use_double_wide_mlp", "attention_k_eq_v") if config.get(name) is None),
        choices=() if config.get("num_global_key_value_heads") else (("num_global_key_value_heads", (None, 1, 2, 4)),),
    )


def _kinds(config: Config, count: int, step: int) -> list[str]:
    declared = regular.declared_kinds(config, count)
    return declared or [_FULL if (i + 1) % step == 0 or i == count - 1 else "sliding_attention" for i in range(count)]


def _gemma4_layer(config: Config, kind: str, shares: bool) -> Layer:
    """One layer: experts, where there are any, run beside the dense block; norms are two more than Gemma 3's then."""
    hidden, inner = number(config, "hidden_size"), number(config, "intermediate_size")
    inner *= 2 if shares and config.get("use_double_wide_mlp") else 1
    attention = regular.attention(config, DIALECTS["gemma3_text"], kind)
    attention = replace(attention, shares_kv=shares)
    if kind == _FULL:
        attention = _global(config, attention)
    extras = _per_layer(config, hidden)
    if not config.get("num_experts"):
        return Layer((attention,), DenseMlp(inner), 4 + bool(extras), extras)
    experts = replace(regular.experts(config, _MOE), beside=True)
    dense = (
        Linear("mlp.gate_up_proj", (inner, inner), hidden, split="out", plain=False),
        Linear("mlp.down_proj", (hidden,), inner, split="in", plain=False),
    )
    scales = hidden + experts.experts
    return Layer((attention,), experts, 7 + bool(extras), (*extras, *dense), extra_elements=scales)


def _global(config: Config, attention: Attention) -> Attention:
    """Full layers have larger heads, and fewer of keys where values are the keys."""
    same = bool(config.get("attention_k_eq_v"))
    fewer = number(config, "num_global_key_value_heads", default=attention.kv_heads) if same else attention.kv_heads
    size = number(config, "global_head_dim", default=512)
    return replace(attention, kv_heads=fewer, head_dim=size, k_is_v=same)


def _per_layer(config: Config, hidden: int) -> tuple[Linear, ...]:
    """The gate and projection of a layer's own input embeddings."""
    width = number(config, "hidden_size_per_layer_input", default=0)
    if not width:
        return ()
    return (
        Linear("per_layer_input_gate", (width,), hidden, plain=False),
        Linear("per_layer_projection", (hidden,), width, plain=False),
    )


def _outer(config: Config, count: int, root: str) -> tuple[Linear, ...]:
    """The table of all layers' input embeddings, and the projection that makes them from the text's."""
    width = number(config, "hidden_size_per_layer_input", default=0)
    if not width:
        return ()
    rows = number(config, "vocab_size_per_layer_input", "vocab_size")
    return (
        Linear(f"{root}.embed_tokens_per_layer", (-(-rows // _ROWS) * _ROWS,), count * width, split="out"),
        Linear(
            f"{root}.per_layer_model_projection",
            (count * width,),
            number(config, "hidden_size"),
            split="out",
            plain=False,
        ),
        Linear(f"{root}.per_layer_projection_norm", (width,), 1),
    )


def _gemma3n(config: Config) -> Structure:
    """Describe Gemma 3n's text model: alternating updates of several streams, a residual of low rank a layer."""
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    hidden, streams = number(config, "hidden_size"), number(config, "altup_num_inputs", default=4, maximum=64)
    first_shared = count - number(config, "num_kv_shared_layers", default=0, maximum=count)
    kinds, widths = _kinds(config, count, 5), _widths(config, count)
    made: dict[tuple[str, bool, int], Layer] = {}
    layers: list[Layer] = []
    for index, kind in enumerate(kinds):
        key = kind, index >= first_shared, widths[index]
        if key not in made:
            attention = regular.attention(config, DIALECTS["gemma3_text"], kind)
            extras = (*_per_layer(config, hidden), *_altup(config, hidden, streams))
            mixers = (replace(attention, shares_kv=key[1]),)
            made[key] = Layer(mixers, DenseMlp(key[2]), 7, extras)
        layers.append(made[key])
    streams_out = tuple(
        Linear(f"model.{name}.0", (hidden,), hidden, split="out", plain=False, times=streams - 1)
        for name in ("altup_projections", "altup_unembed_projections")
        if streams > 1
    )
    outer = (*_outer(config, count, "model"), *streams_out)
    return Structure(tuple(layers), outer=outer, tied=True, shared_rotary=False)


def _altup(config: Config, hidden: int, streams: int) -> tuple[Linear, ...]:
    rank = number(config, "laurel_rank", default=64)
    return (
        Linear("altup.correct_output_scale", (hidden,), 1, element_bytes=4),
        Linear("altup.correction_coefs", (streams,), streams, plain=False),
        Linear("altup.prediction_coefs", (streams * streams,), streams, plain=False),
        Linear("altup.modality_router", (streams,), hidden, plain=False),
        Linear("laurel.linear_left", (rank,), hidden, split="out", plain=False),
        Linear("laurel.linear_right", (hidden,), rank, split="in", plain=False),
    )


def _widths(config: Config, count: int) -> list[int]:
    """Feed-forward widths, which may be one for all layers or a list."""
    said = config.get("intermediate_size")
    if not isinstance(said, list) or len(cast("list[Any]", said)) < count:
        return [number(config, "intermediate_size")] * count
    return [number({"intermediate_size": width}, "intermediate_size") for width in cast("list[Any]", said)[:count]]


BUILDERS: dict[str, Callable[[Config], Structure]] = {
    "gemma3n_text": _gemma3n,
    "gemma4_text": _gemma4,
    "gemma4_unified_text": _gemma4,
}


__all__ = ["BUILDERS"]
