"""Families with multi-head latent attention: DeepSeek V2 to V3.2, Kimi K2, GLM-5, LongCat-Flash, Mistral Small 4 ...

Facts are those of vLLM 0.32's model code: ``models/deepseek_v2.py``, ``glm4_moe_lite.py``, ``minicpm3.py``,
``AXK1.py``, ``openpangu.py``, ``longcat_flash.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from tools.domain import DenseMlp, Indexer, Layer, Linear, MlaAttention, MoeMlp
from tools.vram.dialects import Flag, Says
from tools.vram.families import regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, flag, number

__all__ = ["BUILDERS", "indexer_layers", "latent_attention", "routed_experts"]


@dataclass(frozen=True, slots=True)
class Latent:
    """What holds for a family whatever its sizes.

    Attributes:
        score_bias: choosing experts adds a correction where the config does not name its ``topk_method``.
        norms: vectors of the hidden size a layer.
        sandwich: a config's ``sandwich_norm`` adds two.
        router_bytes: bytes of a router weight; 4 where the engine keeps it in float32.
        expanded: the engine caches every head's keys and values, not the latent.
        tied: embeddings are tied where the config is silent.
    """

    score_bias: Flag = False
    norms: int = 2
    sandwich: bool = False
    router_bytes: int = 2
    expanded: bool = False
    tied: bool = False


_FAMILIES: dict[str, Latent] = {
    "deepseek_v2": Latent(),
    "deepseek_v3": Latent(score_bias=True),
    "deepseek_v32": Latent(score_bias=True),
    "kimi_k2": Latent(score_bias=True),
    "glm_moe_dsa": Latent(score_bias=True),
    "glm4_moe_lite": Latent(score_bias=True, router_bytes=4),
    "minicpm3": Latent(expanded=True, tied=True),
    "youtu": Latent(tied=True),
    "mistral4": Latent(),
    "axk1": Latent(score_bias=True, norms=3),
    "pangu_ultra_moe": Latent(score_bias=Says("router_enable_expert_bias"), sandwich=True),
}


def build(config: Config) -> Structure:
    """Describe a model whose layers are latent attention and an MLP, dense or of experts.

    Raises:
        BadValue: a field is missing or absurd.
    """
    family = _FAMILIES[str(config.get("model_type"))]
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    kinds = list(zip(indexer_layers(config, count), sparse_layers(config, count), strict=True))
    norms = family.norms + (2 if family.sandwich and config.get("sandwich_norm") else 0)
    made: dict[tuple[bool, bool], Layer] = {}
    for kind in kinds:
        if kind not in made:
            mlp = routed_experts(config, family) if kind[1] else _dense(config)
            attention = latent_attention(config, has_indexer=kind[0], expanded=family.expanded)
            made[kind] = Layer((attention,), mlp, norms)
    return Structure(layers=tuple(made[kind] for kind in kinds), tied=family.tied)


def _dense(fields: Config) -> DenseMlp:
    """A dense layer's block; models with an indexer run it on shares of the tokens, like experts."""
    return DenseMlp(number(fields, "intermediate_size"), whole=fields.get("index_topk") is not None)


def latent_attention(
    fields: Config, *, has_indexer: bool = False, expanded: bool = False, gate: bool = False
) -> MlaAttention:
    """One layer's latent attention.

    Args:
        fields: a config.
        has_indexer: the layer has a sparse-attention indexer of its own.
        expanded: the engine caches heads' keys and values; a value head is then as wide as the hidden size shared
            among heads where the config is silent (MiniCPM3's own configuration class).
        gate: a projection gates the output.

    Raises:
        BadValue: a field is missing or absurd.
    """
    heads, hidden = number(fields, "num_attention_heads"), number(fields, "hidden_size")
    return MlaAttention(
        heads=heads,
        kv_lora_rank=number(fields, "kv_lora_rank"),
        nope_head_dim=number(fields, "qk_nope_head_dim"),
        rope_head_dim=number(fields, "qk_rope_head_dim", default=0),
        v_head_dim=number(fields, "v_head_dim", default=hidden // heads if expanded and hidden % heads == 0 else None),
        q_lora_rank=number(fields, "q_lora_rank", default=0) or None,
        indexer=_indexer(fields) if has_indexer else None,
        sparse=fields.get("index_topk") is not None,
        gate=gate,
        expanded=expanded,
    )


def _indexer(fields: Config) -> Indexer:
    return Indexer(number(fields, "index_n_heads"), number(fields, "index_head_dim"), number(fields, "index_topk"))


def indexer_layers(fields: Config, count: int) -> list[bool]:
    """Say for each layer whether it has an indexer of its own; others use the choice of an earlier layer.

    Source: ``DeepseekV2MLAAttention``: ``index_topk_pattern`` marks with ``S`` those that skip; else all but every
    ``index_topk_freq``-th from layer ``index_skip_topk_offset`` - 1 on do. GLM-5.2 (4, 3): layers 0, 1, 2, 6, 10 ...
    """
    if fields.get("index_topk") is None:
        return [False] * count
    pattern = fields.get("index_topk_pattern")
    if isinstance(pattern, str | list):
        marks = list(cast("str | list[Any]", pattern))[:count]
        return [mark != "S" for mark in marks] + [True] * (count - len(marks))
    step = number(fields, "index_topk_freq", default=1, maximum=MAX_LAYERS)
    offset = number(fields, "index_skip_topk_offset", default=2, maximum=MAX_LAYERS)
    return [max(i - offset + 1, 0) % step == 0 for i in range(count)]


def sparse_layers(fields: Config, count: int) -> list[bool]:
    """Say for each layer whether its MLP is a mixture of experts."""
    if number(fields, "n_routed_experts", "num_experts", default=0, maximum=1 << 16) == 0:
        return [False] * count
    listed = fields.get("mlp_layer_types")
    if fields.get("first_k_dense_replace") is None and isinstance(listed, list):
        kinds = cast("list[Any]", listed)[:count]
        return [kind == "sparse" for kind in kinds] + [True] * (count - len(kinds))
    first = number(fields, "first_k_dense_replace", default=0, maximum=MAX_LAYERS)
    step = number(fields, "moe_layer_freq", default=1, maximum=MAX_LAYERS)
    return [i >= first and i % step == 0 for i in range(count)]


def routed_experts(fields: Config, family: Latent) -> MoeMlp:
    """A sparse layer's experts and the shared ones, which are one wider MLP."""
    width = number(fields, "moe_intermediate_size")
    correction = fields["topk_method"] == "noaux_tc" if "topk_method" in fields else flag(fields, family.score_bias)
    return MoeMlp(
        experts=number(fields, "n_routed_experts", "num_experts", maximum=1 << 16),
        active=number(fields, "num_experts_per_tok", maximum=1 << 16),
        intermediate=width,
        shared_intermediate=width * number(fields, "n_shared_experts", default=0, maximum=1024),
        score_bias=correction,
        router_bytes=family.router_bytes,
        shared_name="shared_experts",
        shared_whole=True,
    )


def build_longcat(config: Config) -> Structure:
    """Describe a LongCat-Flash model: two attentions and two dense blocks a layer beside experts, some of them idle.

    Raises:
        BadValue: a field is missing or absurd.
    """
    hidden, width = number(config, "hidden_size"), number(config, "ffn_hidden_size", "intermediate_size")
    experts = MoeMlp(
        experts=number(config, "n_routed_experts", "num_experts", maximum=1 << 16),
        active=number(config, "moe_topk", "num_experts_per_tok", maximum=1 << 16),
        intermediate=number(config, "expert_ffn_hidden_size", "moe_intermediate_size"),
        score_bias=True,
        router_bytes=4,
        idle=number(config, "zero_expert_num", default=0, maximum=1 << 16),
    )
    dense = (
        Linear("mlps.gate_up_proj", (width, width), hidden, split="out", plain=False, times=2),
        Linear("mlps.down_proj", (hidden,), width, split="in", plain=False, times=2),
    )
    layer = Layer((latent_attention(config),) * 2, experts, norms=4, extras=dense)
    return Structure(layers=(layer,) * number(config, "num_layers", "num_hidden_layers", maximum=MAX_LAYERS))


def build_mistral(config: Config) -> Structure:
    """Describe a Mistral model by what it declares: latent attention (Small 4), or keys and values by heads."""
    is_latent = config.get("kv_lora_rank") is not None
    return build({**config, "model_type": "mistral4"}) if is_latent else regular.build(config)


BUILDERS: dict[str, Callable[[Config], Structure]] = {
    **dict.fromkeys(_FAMILIES, build),
    "longcat_flash": build_longcat,
    "mistral": build_mistral,
}
"""Builders by ``model_type``."""
