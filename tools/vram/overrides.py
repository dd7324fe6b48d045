"""A checkpoint whose config differs from its model's: the structure with the checkpoint's sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tools.domain import Attention, Checkpoint, DenseMlp, Layer, ModelSpec, MoeMlp
from tools.errors import NotYetExact

Change = Callable[[Layer, int], Layer]


def as_stored(model: ModelSpec, checkpoint: Checkpoint) -> ModelSpec:
    """Return a model with the sizes that a checkpoint's own config states.

    Worked example: Qwen2.5-72B's feed-forward blocks are 29,568 wide; its AWQ and GPTQ repositories pad them to 29,696,
    so that eight ranks hold whole groups of 128.

    Raises:
        NotYetExact: the checkpoint differs in something else than a size.
    """
    changes: Mapping[str, object] = checkpoint.config_overrides
    if not changes or not model.layers:
        return model
    for field, value in changes.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 40:
            raise NotYetExact("errors_vram.not_covered", architecture=model.model_type, part=str(field)[:40])
        model = _changed(model, field, value)
    return model


def _changed(model: ModelSpec, field: str, value: int) -> ModelSpec:
    if field == "vocab_size":
        return replace(model, vocab_size=value)
    change = _CHANGES.get(field)
    if change is None:
        raise NotYetExact("errors_vram.not_covered", architecture=model.model_type, part=field[:40])
    made: dict[int, Layer] = {}
    for layer in model.layers:
        if id(layer) not in made:
            made[id(layer)] = change(layer, value)
    return replace(model, layers=tuple(made[id(layer)] for layer in model.layers))


def _width(layer: Layer, value: int) -> Layer:
    return replace(layer, mlp=replace(layer.mlp, intermediate=value)) if isinstance(layer.mlp, DenseMlp) else layer


def _expert_width(layer: Layer, value: int) -> Layer:
    return replace(layer, mlp=replace(layer.mlp, intermediate=value)) if isinstance(layer.mlp, MoeMlp) else layer


def _kv_heads(layer: Layer, value: int) -> Layer:
    mixers = tuple(replace(one, kv_heads=value) if isinstance(one, Attention) else one for one in layer.mixers)
    return replace(layer, mixers=mixers)


_CHANGES: dict[str, Change] = {
    "intermediate_size": _width,
    "moe_intermediate_size": _expert_width,
    "num_key_value_heads": _kv_heads,
}
"""What a field of a checkpoint's config changes in every layer."""
