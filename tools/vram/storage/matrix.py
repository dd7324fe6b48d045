"""A projection on one rank, before any storage format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Matrix:
    """A projection on one rank.

    Attributes:
        name: module path inside its layer.
        outputs: rows of each fused output (q, k, v; gate, up; or one).
        inputs: columns.
        bias: elements of its bias.
        experts: how many there are of it, stacked; 0 for a plain linear layer.
        split: which way ranks share it: ``out`` by rows, ``in`` by columns, or not at all; among ``ranks`` of them.
        plain: the engine never quantises it; ``element_bytes`` (if not 0) is then the size of its elements.
        whole_in: writers of checkpoints, or methods where none is named, with which every rank holds all rows of it.
        decoded: where it is quantised, the engine also holds its values in the model's type (latent attention's
            projection up, ``layers/attention/mla_attention.py:split_kv_b_proj``).
    """

    name: str
    outputs: tuple[int, ...]
    inputs: int
    bias: int = 0
    experts: int = 0
    split: Literal["out", "in", ""] = ""
    ranks: int = 1
    plain: bool = False
    element_bytes: int = 0
    whole_in: tuple[str, ...] = ()
    decoded: bool = False

    @property
    def rows(self) -> int:
        """Rows of all fused outputs."""
        return sum(self.outputs)

    @property
    def inner(self) -> int:
        """The side that is a share of the feed-forward width: rows of one output going up, columns going down."""
        return self.outputs[0] if self.split == "out" else self.inputs

    @property
    def outer(self) -> int:
        """The other side: the hidden size."""
        return self.inputs if self.split == "out" else self.rows

    @property
    def elements(self) -> int:
        """Weights and biases in all, unquantised."""
        return max(1, self.experts) * (self.rows * self.inputs + self.bias)
