"""Parts that towers are made of: projections shared out or whole, tables, vectors, and blocks of a transformer."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tools.domain import Linear
from tools.vram.fields import MAX_LAYERS, Config, number

__all__ = ["Block", "Config", "blocks", "column", "numbers", "row", "table", "vector", "whole"]


def numbers(config: Config, *names: str) -> list[int]:
    """Read several positive whole numbers.

    Raises:
        BadValue: one is missing or absurd.
    """
    return [number(config, name, maximum=_MAXIMA.get(name, 1 << 32)) for name in names]


_MAXIMA = {"depth": MAX_LAYERS, "num_hidden_layers": MAX_LAYERS, "layers": MAX_LAYERS, "spatial_merge_size": 64}


def column(
    name: str, outputs: int | tuple[int, ...], inputs: int, *, bias: bool = False, plain: bool = False, times: int = 1
) -> Linear:
    """A projection whose rows ranks share."""
    rows = outputs if isinstance(outputs, tuple) else (outputs,)
    return Linear(name, rows, inputs, bias, "out", plain, times=times)


def row(name: str, outputs: int, inputs: int, *, bias: bool = False, plain: bool = False, times: int = 1) -> Linear:
    """A projection whose columns ranks share."""
    return Linear(name, (outputs,), inputs, bias, "in", plain, times=times)


def whole(
    name: str, outputs: int | tuple[int, ...], inputs: int, *, bias: bool = False, plain: bool = True, times: int = 1
) -> Linear:
    """A projection that each rank has as a whole, quantised only if not ``plain``."""
    rows = outputs if isinstance(outputs, tuple) else (outputs,)
    return Linear(name, rows, inputs, bias, "", plain, times=times)


def table(name: str, rows: int, width: int) -> Linear:
    """A table of embeddings."""
    return Linear(name, (rows,), width)


def vector(name: str, elements: int, times: int = 1) -> Linear:
    """Elements that are no matrix: norms, single embeddings."""
    return Linear(name, (elements,), 1, times=times)


class Block(NamedTuple):
    """One layer of a tower.

    Attributes:
        qkv, out, up, down: what the engine calls the projections.
        gated: gate and up projections are one.
        biased: all projections have biases, unless ``attention_biased`` or ``qkv_biased`` says otherwise.
        norms: vectors of the tower's width (a LayerNorm counts twice).
        extra: further elements a layer.
        plain: nothing is ever quantised; ``plain_mlp``: not the feed-forward projections.
        whole_attention: ranks do not share attention.
        unit: number of heads, where ranks that do not divide them have the whole layer.
    """

    qkv: str
    out: str
    up: str
    down: str
    gated: bool = False
    biased: bool = True
    attention_biased: bool | None = None
    qkv_biased: bool | None = None
    norms: int = 4
    extra: int = 0
    plain: bool = False
    plain_mlp: bool = False
    whole_attention: bool = False
    unit: int = 0


def blocks(block: Block, path: str, depth: int, width: int, inner: int, heads: int | None = None) -> list[Linear]:
    """List the projections of ``depth`` equal layers.

    Args:
        block: what a layer is like.
        path: module path of the list of layers.
        depth: layers.
        width: hidden size.
        inner: width of the feed-forward block.
        heads: elements of all heads of the queries, where not ``width``.
    """
    size, first = heads or width, f"{path}.0."
    out_bias = block.biased if block.attention_biased is None else block.attention_biased
    qkv_bias = out_bias if block.qkv_biased is None else block.qkv_biased
    up = (inner, inner) if block.gated else (inner,)
    split: Literal["out", ""] = "" if block.whole_attention else "out"
    back: Literal["in", ""] = "" if block.whole_attention else "in"
    plain, plain_mlp = block.plain or block.whole_attention, block.plain or block.plain_mlp
    return [
        Linear(first + block.qkv, (size,) * 3, width, qkv_bias, split, plain, times=depth, unit=block.unit),
        Linear(first + block.out, (width,), size, out_bias, back, plain, times=depth, unit=block.unit),
        Linear(first + block.up, up, width, block.biased, "out", plain_mlp, times=depth, unit=block.unit),
        Linear(first + block.down, (width,), inner, block.biased, "in", plain_mlp, times=depth, unit=block.unit),
        vector(first + "norms", block.norms * width + block.extra, depth),
    ]
