"""From a config (a Hugging Face ``config.json``, or a catalogue line's) to layers, by declared structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any, cast

from tools.domain import Encoder, Layer, Linear, ModelSpec, MoeMlp, Note, note
from tools.errors import BadValue, NotYetExact
from tools.vram.checkpoint import completed, native_checkpoint, quantization_from_config
from tools.vram.dialects import ALWAYS_TIED
from tools.vram.families import Structure, structure_of
from tools.vram.families.drafts import draft_of
from tools.vram.fields import Config, has_towers, number, opened, text_config
from tools.vram.rotary import rotary_reach, rotary_share, token_buffers
from tools.vram.stages import EVERY_STAGE

__all__ = ["layers_from_config", "quantization_from_config", "spec_from_config"]

GENERATES = frozenset(
    ("ChatGLMModel", "H2OVLChatModel", "InternVLChatModel", "Qwen2_5OmniModel", "SkyworkR1VChatModel", "UltravoxModel")
)
"""Architectures that have an output head although they are called as those without one are."""

MAX_CHOICES = 256
"""Most ways to fill in unsaid fields that are tried against the published count."""

MAX_TOWER_SHARE = 0.55
"""Largest share of a model that towers may be; more means that the text model was not understood."""
IMAGE_MASKED = frozenset({"bagel", "gemma3", "molmo2", "moondream3", "paligemma"})
"""Model types whose images see themselves whole (``model_arch_config_convertor.py:is_mm_prefix_lm``)."""


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
    return structure_of(text_config(config)).layers


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
    config = opened(config)
    text = text_config(config)
    text = {**text, **deduced_fields(text, config, known.get("params_total"))}
    structure: Structure | None = None
    not_exact: Note | None = None
    try:
        structure = structure_of(text)
    except NotYetExact as reason:
        not_exact = note(reason.code, **reason.params)
    draft = _draft(text, config, name, structure, not_exact)
    if "checkpoints" not in known:
        known["checkpoints"] = (native_checkpoint(config, name, quant_config),)
    known["checkpoints"] = tuple(completed(one, config) if one.repo == name else one for one in known["checkpoints"])
    spec = replace(draft, **known)
    return _with_towers(spec, structure, config, text) if structure else spec


def deduced_fields(text: Config, config: Config, total: object) -> Config:
    """Find the feed-forward width that a catalogue row lacks, from the published count of parameters.

    The count is linear in the width, so it gives one; it is taken only if it is a whole multiple of 32 that makes the
    count exact, with the family's habits or with some of its switches, tying and published towers.

    Returns:
        The fields found, or none.
    """
    from tools.vram.weights import parameter_count

    published = _published(config, total)
    if text.get("intermediate_size") is not None or not published or not _is_open(text):
        return {}
    for fields, outer, unbuilt in _guesses(text, config):
        draft = {**text, **fields}
        counts: list[int] = []
        for width in (1024, 2048):
            made = structure_of({**draft, "intermediate_size": width})
            counts.append(parameter_count(_with_outer(_draft(draft, draft, "", made, None), outer)))
        if counts[0] == counts[1] == published - unbuilt:
            return fields
        left, step = published - unbuilt - 2 * counts[0] + counts[1], counts[1] - counts[0]
        width, rest = divmod(1024 * left, max(1, step))
        if not rest and width % 32 == 0 and 0 < width <= 16 * number(text, "hidden_size"):
            return {**fields, "intermediate_size": width}
    return {}


def _is_open(text: Config) -> bool:
    """Tell whether a config is only short of its feed-forward width, or leaves counts open beside that."""
    try:
        return bool(structure_of(text).choices)
    except BadValue as missing:
        return missing.params.get("field") == "intermediate_size" and "missing" in missing.code
    except NotYetExact:
        return False


def _guesses(text: Config, config: Config) -> Iterator[tuple[Config, tuple[Linear, ...], int]]:
    """Yield ways to fill in what a row lacks beside its width: fields, towers, what the engine leaves out of those."""
    made = structure_of({**text, "intermediate_size": 1024})
    stated = next((said for said in map(_says_tied, (config, text)) if said is not None), None)
    tied = ("tie_word_embeddings", (made.tied, not made.tied) if stated is None else (stated,))
    names, values = zip(tied, *_unsaid(made), strict=True)
    found = list(_candidate_towers(config)) if has_towers(config) else [((), 0)]
    for chosen in islice(product(*values), MAX_CHOICES):
        for outer, unbuilt in found:
            yield dict(zip(names, chosen, strict=True)), outer, unbuilt


def _unsaid(structure: Structure) -> list[tuple[str, tuple[Any, ...]]]:
    """List what the config is silent about, with the values it may have; the family's habit is the first."""
    return [*((name, (False, True)) for name in structure.switches), *structure.choices]


def _published(config: Config, total: object) -> int:
    """Read the published count of parameters without draft heads; 0 where none is known."""
    stated = config.get("params_counted_without_mtp")
    return stated if isinstance(stated, int) else total if isinstance(total, int) else 0


def _draft(text: Config, config: Config, name: str, structure: Structure | None, not_exact: Note | None) -> ModelSpec:
    """Fill in what the config itself says."""
    architectures = config.get("architectures")
    made = structure or Structure(())
    kind = str(text.get("model_type"))
    names = cast("list[Any]", architectures) if isinstance(architectures, list) and architectures else [kind]
    tied = next((said for said in map(_says_tied, (config, text)) if said is not None), made.tied)
    tied = tied or kind in ALWAYS_TIED
    pools = str(names[0]).endswith("Model") and str(names[0]) not in GENERATES
    active = config.get("params_active")
    return ModelSpec(
        name=name,
        model_type=str(config.get("model_type")),
        architecture=str(names[0]),
        params_total=0,
        params_active=active if isinstance(active, int) else None,
        hidden_size=number(text, "hidden_size"),
        vocab_size=number(text, "vocab_size"),
        tied_embeddings=tied or pools,
        pools=pools,
        draft=draft_of(text, made.layers),
        max_context=number(text, "max_position_embeddings", "max_sequence_length", default=8192),
        layers=made.layers,
        checkpoints=(),
        dtype=str(text.get("torch_dtype") or text.get("dtype") or "bfloat16"),
        final_norm=made.final_norm,
        not_exact=not_exact,
        final_norm_bias=made.final_norm_bias,
        head_bias=made.head_bias,
        shared_rotary=made.shared_rotary,
        rotary_share=rotary_share(text),
        rotary_reach=rotary_reach(text, config),
        token_buffers=token_buffers(config, text),
        outer=made.outer,
        outer_elements=made.outer_elements,
        encoder=_encoder(config) if has_towers(config) else None,
        prefix=made.prefix,
        masks_images=str(config.get("model_type")) in IMAGE_MASKED
        or text.get("use_bidirectional_attention") == "vision",
        every_stage=EVERY_STAGE.get(kind, ()),
        table_width=number(text, "word_embed_proj_dim", default=0),
    )


def _with_outer(spec: ModelSpec, outer: tuple[Linear, ...]) -> ModelSpec:
    return replace(spec, outer=(*spec.outer, *outer)) if outer else spec


def _encoder(config: Config) -> Encoder | None:
    from tools.vram.families.towers import encoder

    return encoder(config)


def _towers(config: Config) -> tuple[Linear, ...] | None:
    from tools.vram.families.towers import of

    return of(config)


def _candidate_towers(config: Config) -> Iterator[tuple[tuple[Linear, ...], int]]:
    from tools.vram.families.towers import candidates

    return candidates(config)


def _says_tied(config: Config) -> bool | None:
    stated = config.get("tie_word_embeddings")
    return None if stated is None else bool(stated)


def _settled(spec: ModelSpec, structure: Structure, text: Config, published: int) -> ModelSpec:
    """Settle what a catalogue row leaves unsaid by its published count of parameters.

    A row may lack switches that a ``config.json`` states (``attention_bias``, ``use_qk_norm``). Where the family's
    habit does not give the published count and exactly turning some of them does, they are turned.
    """
    own, unsaid = len(structure.outer), _unsaid(structure)
    if not published or _agrees(spec, published):
        return spec
    for chosen in islice(product(*(values for _, values in unsaid)), 1, MAX_CHOICES):
        made = structure_of({**text, **{name: value for (name, _), value in zip(unsaid, chosen, strict=True)}})
        outer = (*made.outer, *spec.outer[own:])
        draft = draft_of(text, made.layers)
        other = replace(spec, layers=made.layers, draft=draft, head_bias=made.head_bias, outer=outer)
        if _agrees(other, published):
            return other
    return spec


def _agrees(spec: ModelSpec, published: int) -> bool:
    """Tell whether a published count is a model's, with or without the corrections experts are chosen by."""
    from tools.vram.weights import parameter_count

    corrections = sum(
        layer.mlp.experts for layer in spec.layers if isinstance(layer.mlp, MoeMlp) and layer.mlp.score_bias
    )
    return parameter_count(spec) - published in {0, corrections}


def _with_towers(spec: ModelSpec, structure: Structure, config: Config, text: Config) -> ModelSpec:
    """Add the towers, and settle by the published count what the config leaves unsaid.

    Towers are what the config describes; or, where a catalogue row does not, those of the family whose parameters make
    up the published count; or just as many parameters as that count leaves.
    """
    from tools.vram.weights import parameter_count

    published = _published(config, spec.params_total)
    found = () if structure.knows_towers or not has_towers(config) else _towers(config)
    found = _towers({**config, "vision_config": {}}) if found is None and not published else found
    if found is not None:
        made = _settled(_with_outer(spec, found), structure, text, published)
        return made if made.params_total else replace(made, params_total=parameter_count(made))
    for candidate, unbuilt in _candidate_towers(config):
        made = _settled(_with_outer(spec, candidate), structure, text, published - unbuilt)
        if _agrees(made, published - unbuilt):
            return made
    left = published - parameter_count(spec)
    if not 0 < left <= MAX_TOWER_SHARE * spec.params_total:
        reason = note("errors_vram.not_covered", architecture=spec.model_type, part="towers")
        return replace(spec, layers=(), not_exact=reason)
    return replace(spec, tower_params=left)
