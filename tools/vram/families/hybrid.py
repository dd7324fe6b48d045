"""What families of state layers share: which layers are what, equal layers as one object."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from tools.domain import Layer
from tools.errors import BadValue, NotYetExact
from tools.vram.families.regular import declared_kinds
from tools.vram.fields import MAX_LAYERS, Config, number

Kind = TypeVar("Kind", bound=Hashable)

_STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 0}


def layer_count(config: Config) -> int:
    """Number of decoder layers."""
    return number(config, "num_hidden_layers", maximum=MAX_LAYERS)


def kinds_of(config: Config, words: Mapping[str, str], habit: Callable[[int], Sequence[str]]) -> Sequence[str]:
    """Name each layer's kind: as declared, else by the family's habit.

    Args:
        config: the fields.
        words: kinds as configs call them to the family's own.
        habit: number of layers to their kinds where the config is silent.

    Raises:
        NotYetExact: a kind is declared that the family has not.
    """
    count = layer_count(config)
    kinds = declared_kinds(config, count) or habit(count)
    for kind in kinds:
        if kind not in words:
            raise NotYetExact("errors_vram.not_covered", architecture=str(config.get("model_type")), part=kind[:80])
    return [words[kind] for kind in kinds]


def layers(kinds: Sequence[Kind], make: Callable[[Kind], Layer]) -> tuple[Layer, ...]:
    """Make a layer of each kind; equal kinds are one shared object."""
    made: dict[Kind, Layer] = {}
    for kind in kinds:
        if kind not in made:
            made[kind] = make(kind)
    return tuple(made[kind] for kind in kinds)


def state_bytes(config: Config, field: str, absent: str = "auto") -> int:
    """Bytes of an element of the recurrent state as the config states its type; 0 = the model's type.

    Raises:
        BadValue: the type is not one of a state.
    """
    said = config.get(field)
    word = absent if said is None else str(said).removeprefix("torch.")
    if word not in _STATE_BYTES:
        raise BadValue("errors_vram.bad_field", field=field, value=repr(said)[:80])
    return _STATE_BYTES[word]
