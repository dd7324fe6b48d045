"""Families with attention of two kinds: windows with heads of their own, Llama 4's chunks, MiniMax-M3's blocks.

Source: vLLM 0.32 ``model_executor/models/mimo_v2.py``, ``step3p5.py``, ``laguna.py``, ``llama4.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Attention, DenseMlp, Layer, MoeMlp
from tools.vram.dialects import Dialect, Experts, Says
from tools.vram.families import regular
from tools.vram.families.structure import Choices, Structure
from tools.vram.fields import MAX_LAYERS, Config, number

_FULL, _SLIDING, _CHUNKED = "full_attention", "sliding_attention", "chunked_attention"

_TEXT_ALONE = "MiMoV2ForCausalLM"
"""An architecture whose towers the engine leaves out."""
_MIMO = Dialect(qkv_bias=Says("attention_bias"), moe=Experts(width=("moe_intermediate_size",)))
_STEP = Dialect(qk_norm=True, qkv_bias=Says("attention_bias"))
_STEP_MOE = Experts(
    experts=("moe_num_experts", "num_experts"),
    active=("moe_top_k", "num_experts_per_tok"),
    width=("moe_intermediate_size",),
    shared_width=("share_expert_dim", "moe_intermediate_size"),
    score_bias=True,
    router_bytes=4,
)
_LAGUNA = Dialect(qk_norm=True, qkv_bias=Says("attention_bias"), o_bias=Says("attention_bias"))
_LAGUNA_MOE = Experts(shared_width=("shared_expert_intermediate_size",), score_bias=True)
_LLAMA4 = Dialect()
_LLAMA4_MOE = Experts(width=("intermediate_size", "moe_intermediate_size"), shared_width=("intermediate_size",))


def _assembled(
    config: Config,
    attentions: list[Attention],
    sparse: list[bool],
    experts: Callable[[Config], MoeMlp],
    choices: Choices = (),
    dense: int = 0,
) -> Structure:
    """Put layers together, one object for equal ones; ``dense`` is a dense layer's width where not the usual field."""
    made: dict[tuple[Attention, bool], Layer] = {}
    layers: list[Layer] = []
    for attention, is_sparse in zip(attentions, sparse, strict=True):
        key = attention, is_sparse
        if key not in made:
            mlp = experts(config) if is_sparse else DenseMlp(dense or number(config, "intermediate_size"))
            made[key] = Layer((attention,), mlp)
        layers.append(made[key])
    return Structure(tuple(layers), choices=choices)


def _flags(config: Config, name: str, count: int) -> list[bool] | None:
    said = config.get(name)
    if not isinstance(said, list) or len(cast("list[Any]", said)) < count:
        return None
    return [bool(value) for value in cast("list[Any]", said)[:count]]


def _mimo_v2(config: Config) -> Structure:
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    full = replace(
        regular.attention(config, _MIMO, _FULL),
        v_head_dim=number(config, "v_head_dim", default=0) or None,
        sinks=bool(config.get("add_full_attention_sink_bias")),
    )
    sliding = replace(
        full,
        heads=number(config, "swa_num_attention_heads", default=full.heads),
        kv_heads=number(config, "swa_num_key_value_heads", default=2 * full.kv_heads),
        head_dim=number(config, "swa_head_dim", default=full.head_dim),
        v_head_dim=number(config, "swa_v_head_dim", default=full.v_head_dim or 0) or None,
        window=number(config, "sliding_window", "sliding_window_size"),
        sinks=config.get("add_swa_attention_sink_bias", True) is not False,
    )
    slides = _flags(config, "hybrid_layer_pattern", count) or _flags(config, "hybrid_pattern", count)
    slides = slides or [kind == _SLIDING for kind in regular.layer_kinds(config, _MIMO, count)]
    sparse = _flags(config, "moe_layer_freq", count) or [index > 0 for index in range(count)]
    rules = Experts(width=("moe_intermediate_size",), score_bias=True, router_bytes=4)
    attentions = [sliding if slide else full for slide in slides]
    choices: Choices = (("v_head_dim", (None, 2 * full.head_dim // 3)),) if full.v_head_dim is None else ()
    made = _assembled(config, attentions, sparse, lambda _: regular.experts(config, rules), choices)
    said = config.get("architectures")
    return replace(made, knows_towers=isinstance(said, list) and _TEXT_ALONE in cast("list[Any]", said))


def _step3p5(config: Config) -> Structure:
    """Step-3.5 and 3.7: the config calls KV heads groups, and names the layers with experts."""
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    groups = number(config, "num_attention_groups", "num_key_value_heads")
    gate = 1 if config.get("use_head_wise_attn_gate", True) else 0
    full = replace(regular.attention(config, _STEP, _FULL), kv_heads=groups, gate_width=gate)
    other = config.get("attention_other_setting")
    said: Config = cast("Config", other) if isinstance(other, Mapping) else {}
    kinds = regular.declared_kinds(config, count) or [_SLIDING if i % 4 else _FULL for i in range(count)]
    window = number(config, "sliding_window") if _SLIDING in kinds else None
    sliding = replace(
        full,
        heads=number(said, "num_attention_heads", default=full.heads),
        kv_heads=number(said, "num_attention_groups", default=groups),
        head_dim=number(said, "head_dim", default=full.head_dim),
        window=window,
    )
    chosen = _listed(config, count)
    attentions = [sliding if kind == _SLIDING else full for kind in kinds]
    return _assembled(config, attentions, chosen, lambda given: regular.experts(given, _STEP_MOE))


def _listed(config: Config, count: int) -> list[bool]:
    """Read which layers have experts: a list of numbers in a string, or all after the first dense ones."""
    said = config.get("moe_layers_enum")
    if isinstance(said, str) and len(said) < 8 * MAX_LAYERS:
        named = {int(part) for part in said.split(",") if part.strip().isdecimal() and len(part.strip()) < 6}
        return [index in named for index in range(count)]
    dense = number(config, "first_k_dense_replace", default=1, maximum=MAX_LAYERS)
    return [index >= dense for index in range(count)]


def _laguna(config: Config) -> Structure:
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    kinds = regular.declared_kinds(config, count) or [_FULL] * count
    said, per_head = config.get("num_attention_heads_per_layer"), config.get("gating") != "per-element"
    heads = cast("list[Any]", said) if isinstance(said, list) and len(cast("list[Any]", said)) >= count else None
    attentions: list[Attention] = []
    for index, kind in enumerate(kinds):
        one = regular.attention(config, _LAGUNA, kind)
        own = one.heads if heads is None else number({"heads": heads[index]}, "heads")
        width = 0 if not config.get("gating", True) else 1 if per_head else one.head_dim
        sinks = kind == _SLIDING and bool(config.get("swa_attention_sink_enabled"))
        attentions.append(replace(one, heads=own, gate_width=width, sinks=sinks))
    sparse = regular.sparse_layers({"mlp_only_layers": [0], **config}, Dialect(moe=_LAGUNA_MOE), count)
    return _assembled(config, attentions, sparse, lambda _: regular.experts(config, _LAGUNA_MOE))


def _llama4(config: Config) -> Structure:
    """Llama 4: layers with rotary positions attend within chunks; experts in every ``interleave``-th layer."""
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    full = regular.attention(config, _LLAMA4, _FULL)
    chunk = number(config, "attention_chunk_size", default=8192)
    rotates = _flags(config, "no_rope_layers", count)
    kinds = regular.declared_kinds(config, count)
    rotates = rotates or [kind != _FULL for kind in kinds or [_FULL if i % 4 == 3 else _CHUNKED for i in range(count)]]
    has_experts = any(config.get(name) for name in ("num_local_experts", "num_experts"))
    none = config.get("interleave_moe_layer_step") == 0 or not has_experts
    step = 1 if none else number(config, "interleave_moe_layer_step", default=1, maximum=MAX_LAYERS)
    sparse = [not none and (i + 1) % step == 0 for i in range(count)]
    local = replace(full, chunk=chunk)
    silent = config.get("interleave_moe_layer_step") is None and has_experts
    return _assembled(
        config,
        [local if rotate else full for rotate in rotates],
        sparse,
        lambda _: regular.experts(config, _LLAMA4_MOE),
        (("interleave_moe_layer_step", (1, 2, 4)),) if silent else (),
        number(config, "intermediate_size_mlp", default=16384 if has_experts else number(config, "intermediate_size")),
    )


_M3 = Dialect(qk_norm=True)
_M3_MOE = Experts(
    width=("intermediate_size", "moe_intermediate_size"),
    shared_count=("n_shared_experts",),
    score_bias=Says("use_routing_bias", absent=True),
    router_bytes=4,
)


def _minimax_m3(config: Config) -> Structure:
    """MiniMax-M3: most layers choose blocks of tokens by an index, and have experts (``vllm/models/minimax_m3``)."""
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    said = config.get("sparse_attention_config")
    index: Config = cast("Config", said) if isinstance(said, Mapping) else {}
    full = regular.attention(config, _M3, _FULL)
    chosen = replace(full, index_dim=number(index, "sparse_index_dim", "index_head_dim", default=128))
    dense = number(config, "first_k_dense_replace", default=0, maximum=MAX_LAYERS)
    sparse = _flags(config, "moe_layer_freq", count) or [i >= dense for i in range(count)]
    indexed = _flags(index, "sparse_attention_freq", count) or [bool(index) and flag for flag in sparse]
    return _assembled(
        config,
        [chosen if flag else full for flag in indexed],
        sparse,
        lambda _: regular.experts(config, _M3_MOE),
        dense=number(config, "dense_intermediate_size", "intermediate_size"),
    )


BUILDERS: dict[str, Callable[[Config], Structure]] = {
    "laguna": _laguna,
    "llama4_text": _llama4,
    "mimo_v2": _mimo_v2,
    "minimax_m3": _minimax_m3,
    "mimo_v2_flash": _mimo_v2,
    "step3p5": _step3p5,
    "step3p7": _step3p5,
}
