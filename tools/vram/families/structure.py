"""What a family's builder makes of a config."""

from __future__ import annotations

from dataclasses import dataclass

from tools.domain import Layer, Linear

Choices = tuple[tuple[str, tuple[int | str | None, ...]], ...]
"""Fields with the values they may have."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A model's layers and what lies outside them; fields as in ``tools.domain.ModelSpec``.

    Attributes:
        layers: in order; equal layers are one shared object.
        tied: embeddings are tied where the config is silent.
        switches: fields the config is silent about that turn parts of the family on and off; a published count of
            parameters may settle them.
        choices: fields the config is silent about that are no switches, with the values they may have.
        knows_towers: ``outer`` has the towers' parameters too (else their count is what a published total leaves).
    """

    layers: tuple[Layer, ...]
    outer: tuple[Linear, ...] = ()
    outer_elements: int = 0
    tied: bool = False
    final_norm: bool = True
    final_norm_bias: bool = False
    head_bias: bool = False
    shared_rotary: bool = True
    prefix: str = "model.layers"
    switches: tuple[str, ...] = ()
    choices: Choices = ()
    knows_towers: bool = False
