"""From a config (a Hugging Face ``config.json`` or a catalogue row) to layers, by declared structure.

Both carry the same field names. A catalogue row may say ``moe`` as one object, and its pattern of layers in
``layer_pattern``/``layer_counts`` where a config has ``layer_types``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Attention, DenseMlp, Layer, ModelSpec, MoeMlp, Note, note
from tools.errors import BadValue, NotYetExact
from tools.vram.checkpoint import native_checkpoint, quantization_from_config
from tools.vram.dialects import DIALECTS, WRAPPERS, Dialect, Experts, Flag, Says

Config = Mapping[str, Any]

__all__ = ["layers_from_config", "quantization_from_config", "spec_from_config"]

MAX_LAYERS = 4096
MAX_SIZE = 1 << 40
"""Larger than any model; keeps a damaged config from asking for endless work."""

MAX_TOWER_SHARE = 0.35
"""Largest share of a model that towers may be; more means that the text model was not understood."""

_FOREIGN = {
    "mla": "mla",
    "kv_lora_rank": "mla",
    "mamba": "mamba",
    "mamba_d_state": "mamba",
    "ssm_state_size": "mamba",
    "linear_attention": "linear",
    "linear_num_key_heads": "linear",
    "sparse_attention_indexer": "indexer",
    "index_topk": "indexer",
    "num_kv_shared_layers": "kv_sharing",
    "hidden_size_per_layer_input": "per_layer_input",
    "compress_ratios": "compression",
}
"""Fields that announce structure not covered yet, with the word for it."""


def layers_from_config(config: Config) -> tuple[Layer, ...]:
    """Describe every decoder layer that a config declares.

    Args:
        config: the fields of a ``config.json`` or of a catalogue row.

    Returns:
        The layers in order; equal layers are one shared object.

    Raises:
        NotYetExact: the architecture has structure the calculator does not cover yet.
        BadValue: a field is missing or absurd.
    """
    config = text_config(config)
    dialect = _dialect(config)
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    kinds = _layer_kinds(config, dialect, count)
    sparse = _sparse_layers(config, dialect, count)
    made: dict[tuple[str, bool], Layer] = {}
    for kind in zip(kinds, sparse, strict=True):
        if kind not in made:
            mlp = _moe(config, dialect) if kind[1] else _dense(config, dialect)
            made[kind] = Layer(_attention(config, dialect, kind[0]), mlp, dialect.norms)
    return tuple(made[kind] for kind in zip(kinds, sparse, strict=True))


def number(config: Config, *names: str, default: int | None = None, maximum: int = MAX_SIZE) -> int:
    """Read a positive whole number under the first of several names.

    Raises:
        BadValue: no name is present and there is no default, or the value is no whole number of 1 to ``maximum``.
    """
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
            raise BadValue("errors_vram.bad_field", field=name, value=repr(value)[:80])
        if value == 0 and default == 0:
            return 0
        if not 1 <= value <= maximum:
            raise BadValue("errors_vram.bad_field", field=name, value=repr(value)[:80])
        return int(value)
    if default is not None:
        return default
    raise BadValue("errors_vram.missing_field", field=names[0])


def text_config(config: Config) -> Config:
    """Return the fields of the text model: a wrapper's ``text_config`` over its own, with the family's name."""
    inner = config.get("text_config")
    merged = {**config, **cast("Config", inner)} if isinstance(inner, Mapping) else config
    family = WRAPPERS.get(str(config.get("model_type")))
    return {**merged, "model_type": family} if family else merged


def has_towers(config: Config) -> bool:
    """Tell whether the config declares parts outside the text model (vision, audio)."""
    wrapped = str(config.get("model_type")) in WRAPPERS or bool(config.get("multimodal"))
    return wrapped or any(config.get(name) for name in ("vision_config", "audio_config", "vision_tower"))


def _dialect(config: Config) -> Dialect:
    """Choose the dialect by ``model_type`` and refuse announced structure that is not covered."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in DIALECTS:
        raise NotYetExact("errors_vram.unknown_architecture", architecture=str(kind)[:80])
    for name, what in _FOREIGN.items():
        if config.get(name):
            raise NotYetExact("errors_vram.not_covered", architecture=kind, part=what)
    return DIALECTS[kind]


def _flag(config: Config, flag: Flag) -> bool:
    if not isinstance(flag, Says):
        return flag
    stated = config.get(flag.field)
    return flag.absent if stated is None else bool(stated)


def _attention(config: Config, dialect: Dialect, kind: str) -> Attention:
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
        qk_norm=_flag(config, dialect.qk_norm),
        qkv_bias=_flag(config, dialect.qkv_bias),
        o_bias=_flag(config, dialect.o_bias),
        sinks=dialect.sinks,
        qk_norm_span=dialect.qk_norm_span,
        gate_width={"none": 0, "head": 1, "element": size}[dialect.gate],
    )


def _dense(config: Config, dialect: Dialect) -> DenseMlp:
    return DenseMlp(number(config, "intermediate_size"), dialect.gated, _flag(config, dialect.mlp_bias))


def _moe(config: Config, dialect: Dialect) -> MoeMlp:
    rules = dialect.moe or Experts()
    fields = _moe_fields(config)
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
        router_bias=_flag(fields, rules.router_bias),
        expert_bias=rules.expert_bias,
        score_bias=_flag(fields, rules.score_bias),
        router_bytes=rules.router_bytes,
        router_quantised=rules.router_quantised,
    )


def _moe_fields(config: Config) -> Config:
    """Spread a catalogue row's ``moe`` object into config field names."""
    moe = config.get("moe")
    if not isinstance(moe, Mapping):
        return config
    row = cast("Mapping[str, Any]", moe)
    names = {"n_experts": "num_experts", "n_active": "num_experts_per_tok"}
    return {**config, **{names.get(key, key): value for key, value in row.items()}}


def _sparse_layers(config: Config, dialect: Dialect, count: int) -> list[bool]:
    """Say for each layer whether its MLP is a mixture of experts."""
    rules = dialect.moe
    if rules is None:
        return [False] * count
    fields = _moe_fields(config)
    first = fields.get(rules.dense_first, 0) if rules.dense_first else 0
    step = number(fields, rules.every, default=1, maximum=MAX_LAYERS) if rules.every else 1
    dense_only = fields.get("mlp_only_layers")
    skipped = set(cast("list[Any]", dense_only)) if isinstance(dense_only, list) else set[Any]()
    first = first if isinstance(first, int) else 0
    return [i >= first and i not in skipped and (i + 1) % step == 0 for i in range(count)]


def _layer_kinds(config: Config, dialect: Dialect, count: int) -> list[str]:
    """Name each layer's attention: ``full_attention`` or ``sliding_attention``."""
    declared = _declared_kinds(config, count)
    if declared is None:
        declared = _family_kinds(config, dialect, count)
    for kind in declared:
        if kind not in {"full_attention", "sliding_attention"}:
            raise NotYetExact("errors_vram.not_covered", architecture=str(config.get("model_type")), part=kind)
    return declared


def _declared_kinds(config: Config, count: int) -> list[str] | None:
    """Read ``layer_types``, or a catalogue row's ``layer_pattern`` or single ``layer_counts``."""
    types = config.get("layer_types")
    if isinstance(types, list) and len(cast("list[Any]", types)) >= count:
        return [str(kind) for kind in cast("list[Any]", types)[:count]]
    pattern = config.get("layer_pattern")
    if isinstance(pattern, Mapping):
        row = cast("Mapping[str, Any]", pattern)
        if isinstance(row.get("period"), list) and row["period"]:
            period = [str(kind) for kind in row["period"]]
            return [period[i % len(period)] for i in range(count)]
        if isinstance(row.get("rle"), list):
            runs = [str(kind) for kind, times in row["rle"] for _ in range(min(int(times), MAX_LAYERS))]
            return runs if len(runs) == count else None
    counts = config.get("layer_counts")
    if isinstance(counts, Mapping) and len(cast("Mapping[str, Any]", counts)) == 1:
        return [str(next(iter(cast("Mapping[str, Any]", counts))))] * count
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


def spec_from_config(
    config: Config, *, name: str, quant_config: Mapping[str, Any] | None = None, **known: Any
) -> ModelSpec:
    """Build a model's description from a ``config.json`` (or a catalogue row).

    An architecture that is not covered gives a spec without layers and with ``not_exact`` set.

    Args:
        config: the fields.
        name: what to call the model.
        quant_config: the checkpoint's quantisation, where it lies in a file of its own.
        known: further ``ModelSpec`` fields that the caller knows better (``params_total``, ``checkpoints``, ...).

    Raises:
        BadValue: a field is missing or absurd.
    """
    text = text_config(config)
    layers: tuple[Layer, ...] = ()
    not_exact: Note | None = None
    try:
        layers = layers_from_config(text)
    except NotYetExact as reason:
        not_exact = note(reason.code, **reason.params)
    draft = _draft(text, config, name, layers, not_exact)
    if "checkpoints" not in known:
        known["checkpoints"] = (native_checkpoint(config, name, quant_config),)
    spec = replace(draft, **known)
    return _settled(_with_towers(spec, config), text) if layers else spec


def _draft(text: Config, config: Config, name: str, layers: tuple[Layer, ...], not_exact: Note | None) -> ModelSpec:
    """Fill in what the config itself says."""
    kind = str(text.get("model_type"))
    dialect = DIALECTS.get(kind, Dialect())
    architectures = config.get("architectures")
    names = cast("list[Any]", architectures) if isinstance(architectures, list) and architectures else [kind]
    tied = text.get("tie_word_embeddings")
    active = config.get("params_active")
    return ModelSpec(
        name=name,
        model_type=str(config.get("model_type")),
        architecture=str(names[0]),
        params_total=0,
        params_active=active if isinstance(active, int) else None,
        hidden_size=number(text, "hidden_size"),
        vocab_size=number(text, "vocab_size"),
        tied_embeddings=dialect.tied if tied is None else bool(tied),
        max_context=number(text, "max_position_embeddings", "max_sequence_length", default=8192),
        layers=layers,
        checkpoints=(),
        dtype=str(text.get("torch_dtype") or text.get("dtype") or "bfloat16"),
        final_norm=dialect.final_norm,
        not_exact=not_exact,
        final_norm_bias=dialect.norm_bias,
        head_bias=_flag(text, dialect.head_bias),
        shared_rotary=dialect.shared_rotary,
    )


def _settled(spec: ModelSpec, text: Config) -> ModelSpec:
    """Settle what a catalogue row leaves unsaid by its published count of parameters.

    A row may lack switches that a ``config.json`` states (``attention_bias``, ``use_qk_norm``). Where the family's
    habit does not give the published count and exactly turning some of them does, they are turned.
    """
    from tools.vram.weights import parameter_count

    dialect = DIALECTS[str(text.get("model_type"))]
    absent = [name for name in _switches(dialect) if text.get(name) is None]
    if spec.tower_params or not spec.params_total or parameter_count(spec) == spec.params_total:
        return spec
    for chosen in range(1, 1 << len(absent)):
        turned = {name: bool(chosen >> bit & 1) for bit, name in enumerate(absent)}
        fields = {**text, **turned}
        other = replace(spec, layers=layers_from_config(fields), head_bias=_flag(fields, dialect.head_bias))
        if parameter_count(other) == spec.params_total:
            return other
    return spec


def _switches(dialect: Dialect) -> list[str]:
    """Name the config fields that turn parts of a family on and off."""
    flags = [dialect.qk_norm, dialect.qkv_bias, dialect.o_bias, dialect.mlp_bias, dialect.head_bias]
    if dialect.moe:
        flags += [dialect.moe.router_bias, dialect.moe.score_bias]
    return sorted({flag.field for flag in flags if isinstance(flag, Says)})


def _with_towers(spec: ModelSpec, config: Config) -> ModelSpec:
    """Settle the count of parameters: what a published total has beyond the text model is its towers'."""
    from tools.vram.weights import parameter_count

    counted = parameter_count(spec)
    if not has_towers(config):
        return spec if spec.params_total else replace(spec, params_total=counted)
    towers = spec.params_total - counted
    if not 0 < towers <= MAX_TOWER_SHARE * spec.params_total:
        reason = note("errors_vram.not_covered", architecture=spec.model_type, part="towers")
        return replace(spec, layers=(), not_exact=reason)
    return replace(spec, tower_params=towers)
