"""Families that differ only in facts: a Dialect and a config give the layers."""

from __future__ import annotations

from typing import Any, cast

from tools.domain import Attention, DenseMlp, Layer, Linear, MoeMlp
from tools.errors import BadValue, NotYetExact
from tools.vram.dialects import DIALECTS, Dialect, Experts, Says
from tools.vram.families.structure import Choices, Structure
from tools.vram.fields import MAX_LAYERS, Config, flag, number

_FOREIGN = {
    "kv_lora_rank": "mla",
    "mamba_d_state": "mamba",
    "ssm_state_size": "mamba",
    "linear_num_key_heads": "linear",
    "index_topk": "indexer",
    "num_kv_shared_layers": "kv_sharing",
    "hidden_size_per_layer_input": "per_layer_input",
    "compress_ratios": "compression",
}
"""Fields that announce structure not covered yet, with the word for it."""


def build(config: Config) -> Structure:
    """Describe a model whose family is a dialect.

    Raises:
        NotYetExact: the family is not known, or the config announces structure that is not covered.
        BadValue: a field is missing or absurd.
    """
    dialect = _dialect(config)
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    kinds = layer_kinds(config, dialect, count)
    sparse = sparse_layers(config, dialect, count)
    made: dict[tuple[str, bool], Layer] = {}
    for kind in zip(kinds, sparse, strict=True):
        if kind not in made:
            mlp = moe_mlp(config, dialect) if kind[1] else dense_mlp(config, dialect)
            norms = dialect.norms + 2 * flag(config, dialect.post_norms)
            made[kind] = Layer(
                (attention(config, dialect, kind[0]),), mlp, norms, extra_elements=dialect.activation_elements
            )
    return Structure(
        layers=tuple(made[kind] for kind in zip(kinds, sparse, strict=True)),
        outer=(*_positions(config, dialect), *_narrow_tables(config)),
        outer_elements=2 * number(config, "hidden_size") * dialect.embedding_norm,
        tied=dialect.tied,
        final_norm=dialect.final_norm and config.get("do_layer_norm_before") is not False,
        final_norm_bias=dialect.norm_bias,
        head_bias=flag(config, dialect.head_bias),
        shared_rotary=dialect.shared_rotary,
        choices=_unsaid_counts(config, dialect),
        switches=tuple(name for name in _switches(dialect) if config.get(name) is None),
    )


def _narrow_tables(config: Config) -> tuple[Linear, ...]:
    """Embeddings narrower than the hidden size are projected to it, and back before the head (``opt.py``)."""
    hidden = number(config, "hidden_size")
    width = number(config, "word_embed_proj_dim", default=hidden)
    if width == hidden:
        return ()
    path = "model.decoder"
    return (
        Linear(f"{path}.project_in", (hidden,), width, plain=False),
        Linear(f"{path}.project_out", (width,), hidden, plain=False, is_last=True),
    )


def _unsaid_counts(config: Config, dialect: Dialect) -> Choices:
    """Numbers of shared experts and of dense first layers that a config is silent about, the usual ones first."""
    rules = dialect.moe
    if rules is None:
        return ()
    names = [rules.shared_count[0]] if rules.shared_count and not any(config.get(n) for n in rules.shared_count) else []
    names += [rules.dense_first] if rules.dense_first and config.get(rules.dense_first) is None else []
    return tuple((name, (None, 1, 2, 3, 4)) for name in names)


def _positions(config: Config, dialect: Dialect) -> tuple[Linear, ...]:
    if dialect.positions is None:
        return ()
    rows = number(config, "max_position_embeddings") + dialect.positions
    return (Linear("model.embed_positions", (rows,), number(config, "hidden_size")),)


def _dialect(config: Config) -> Dialect:
    """Choose the dialect by ``model_type`` and refuse announced structure that is not covered."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in DIALECTS:
        raise NotYetExact("errors_vram.unknown_architecture", architecture=str(kind)[:80])
    for name, what in _FOREIGN.items():
        if config.get(name):
            raise NotYetExact("errors_vram.not_covered", architecture=kind, part=what)
    return DIALECTS[kind]


def attention(config: Config, dialect: Dialect, kind: str) -> Attention:
    """One layer's attention: ``kind`` is ``full_attention`` or ``sliding_attention``."""
    heads = number(config, "num_attention_heads")
    head_dim = None if dialect.derived_head_dim else config.get("head_dim") or dialect.head_dim
    window = number(config, "sliding_window") + dialect.window_extra if kind == "sliding_attention" else None
    if head_dim is None and number(config, "hidden_size") % heads:
        raise BadValue("errors_vram.bad_field", field="num_attention_heads", value=str(heads))
    size = number({"head_dim": head_dim}, "head_dim", default=number(config, "hidden_size") // heads)
    return Attention(
        heads=heads,
        kv_heads=heads if dialect.multi_head else number(config, "num_key_value_heads", default=heads),
        head_dim=size,
        window=window,
        qk_norm=flag(config, dialect.qk_norm),
        qkv_bias=flag(config, dialect.qkv_bias),
        o_bias=flag(config, dialect.o_bias),
        sinks=dialect.sinks,
        qk_norm_span=dialect.qk_norm_span,
        gate_width={"none": 0, "head": 1, "element": size}[dialect.gate],
    )


def dense_mlp(config: Config, dialect: Dialect) -> DenseMlp:
    """A dense layer's feed-forward block."""
    usual = dialect.width_factor * number(config, "hidden_size") or None
    return DenseMlp(number(config, *dialect.dense_width, default=usual), dialect.gated, flag(config, dialect.mlp_bias))


def moe_mlp(config: Config, dialect: Dialect) -> MoeMlp:
    """A sparse layer's mixture of experts."""
    return experts(config, dialect.moe or Experts())


def experts(fields: Config, rules: Experts) -> MoeMlp:
    """A mixture of experts by a family's rules for reading it."""
    width = number(fields, *rules.width)
    shared = number(fields, *rules.shared_width, default=0) if rules.shared_width else 0
    if rules.shared_count:
        shared = width * number(fields, *rules.shared_count, default=rules.shared_absent, maximum=1024)
    return MoeMlp(
        experts=number(fields, *rules.experts, maximum=1 << 16),
        active=number(fields, *rules.active, maximum=1 << 16),
        intermediate=width,
        shared_intermediate=shared,
        shared_gate=rules.shared_gate and shared > 0,
        shared_whole=rules.shared_whole,
        router_bias=flag(fields, rules.router_bias),
        expert_bias=rules.expert_bias,
        score_bias=flag(fields, rules.score_bias),
        router_bytes=4 if str(fields.get(rules.router_dtype)) in {"fp32", "float32"} else rules.router_bytes,
        router_quantised=rules.router_quantised,
    )


def sparse_layers(config: Config, dialect: Dialect, count: int) -> list[bool]:
    """Say for each layer whether its MLP is a mixture of experts."""
    rules = dialect.moe
    if rules is None:
        return [False] * count
    kinds = config.get("mlp_layer_types")
    if isinstance(kinds, list) and len(cast("list[Any]", kinds)) >= count:
        return [kind == "sparse" for kind in cast("list[Any]", kinds)[:count]]
    first = config.get(rules.dense_first, 0) if rules.dense_first else 0
    step = number(config, rules.every, default=1, maximum=MAX_LAYERS) if rules.every else 1
    dense_only = config.get("mlp_only_layers")
    skipped = set(cast("list[Any]", dense_only)) if isinstance(dense_only, list) else set[Any]()
    first = first if isinstance(first, int) else 0
    return [i >= first and i not in skipped and (i + 1) % step == 0 for i in range(count)]


def layer_kinds(config: Config, dialect: Dialect, count: int) -> list[str]:
    """Name each layer's attention: ``full_attention`` or ``sliding_attention``."""
    declared = declared_kinds(config, count)
    if declared is None:
        declared = _family_kinds(config, dialect, count)
    for kind in declared:
        if kind not in {"full_attention", "sliding_attention"}:
            raise NotYetExact("errors_vram.not_covered", architecture=str(config.get("model_type")), part=kind)
    return declared


def declared_kinds(config: Config, count: int) -> list[str] | None:
    """Read ``layer_types``; None where it is not stated."""
    types = config.get("layer_types")
    if isinstance(types, list) and len(cast("list[Any]", types)) >= count:
        return [str(kind) for kind in cast("list[Any]", types)[:count]]
    return None


def _family_kinds(config: Config, dialect: Dialect, count: int) -> list[str]:
    """Fill in the family's habit where the config is silent."""
    full, sliding = "full_attention", "sliding_attention"
    if dialect.sliding == "none" or not config.get("sliding_window"):
        return [full] * count
    if dialect.sliding == "all":
        return [sliding] * count
    if dialect.sliding == "even":
        return [full if i % 2 else sliding for i in range(count)]
    if dialect.sliding == "pattern":
        step = number(config, "sliding_window_pattern", default=dialect.pattern, maximum=MAX_LAYERS)
        return [sliding if (i + 1) % step else full for i in range(count)]
    if not config.get("use_sliding_window"):
        return [full] * count
    start = number(config, "max_window_layers", default=count)
    return [full if i < start else sliding for i in range(count)]


def _switches(dialect: Dialect) -> list[str]:
    """Name the config fields that turn parts of a family on and off."""
    flags = [dialect.qk_norm, dialect.qkv_bias, dialect.o_bias, dialect.mlp_bias, dialect.head_bias, dialect.post_norms]
    if dialect.moe:
        flags += [dialect.moe.router_bias, dialect.moe.score_bias]
    return sorted({flag.field for flag in flags if isinstance(flag, Says)})
