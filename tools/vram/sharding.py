"""A rank's share: of a dimension, of a projection, and of what is no matrix."""

from __future__ import annotations

from typing import NamedTuple

from tools.domain import Linear
from tools.errors import BadValue
from tools.vram.storage import Matrix


class Vectors(NamedTuple):
    """What no format quantises: elements of the model's type, and of float32 (decay rates, score corrections)."""

    elements: int
    float32: int = 0

    def bytes(self, width: int) -> int:
        """Bytes, for ``width`` bytes an element of the model's type."""
        return width * self.elements + 4 * self.float32


def divide(size: int, ranks: int, what: str) -> int:
    """Share a dimension among tensor-parallel ranks.

    Raises:
        BadValue: it does not divide; vLLM refuses such a start.
    """
    if size % ranks:
        raise BadValue("errors_vram.does_not_divide", what=what, size=size, ranks=ranks)
    return size // ranks


def on_rank(linear: Linear, tp: int) -> Matrix:
    """One rank's share of a projection.

    Raises:
        BadValue: it does not divide.
    """
    split = "" if linear.unit and linear.unit % tp else linear.split
    outputs = tuple(divide(size, tp, linear.name) for size in linear.outputs) if split == "out" else linear.outputs
    inputs = divide(linear.inputs, tp, linear.name) if split == "in" else linear.inputs
    return Matrix(
        linear.name,
        outputs,
        inputs,
        bias=sum(outputs) if linear.bias else 0,
        split=split,
        ranks=tp if split else 1,
        plain=linear.plain,
        element_bytes=linear.element_bytes,
    )
