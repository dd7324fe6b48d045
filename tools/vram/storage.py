"""Bytes of a weight matrix in a checkpoint's storage format, as vLLM 0.32 registers it on a rank.

Sources: ``vllm/model_executor/layers/quantization`` (``fp8.py``, ``auto_gptq.py``, ``auto_awq.py``,
``compressed_tensors/``, ``modelopt.py``, ``mxfp4.py``) and ``layers/fused_moe``.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tools.domain import Quantization
from tools.errors import BadValue, NotYetExact


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


def matrix_bytes(matrix: Matrix, quantization: Quantization | None, width: int = 2) -> int:
    """Bytes of a matrix with its scales, zero points, indices and bias.

    Args:
        matrix: the projection on one rank.
        quantization: the format, or None where the checkpoint leaves this matrix alone.
        width: bytes of an unquantised element.

    Raises:
        NotYetExact: the format is not one that vLLM stores by a known layout.
        BadValue: a rank's share is no whole number of the format's blocks or groups; vLLM refuses such a start.
    """
    only_experts = quantization is not None and quantization.extra.get("only") == "experts"
    if quantization is None or quantization.method == "none" or (only_experts and not matrix.experts):
        return matrix.elements * (matrix.element_bytes or width)
    rule = _RULES.get(quantization.method)
    if rule is None:
        raise NotYetExact("errors_vram.unknown_format", format=quantization.method)
    return max(1, matrix.experts) * (rule(matrix, quantization, width) + matrix.bias * width)


def scale_bytes(quantization: Quantization) -> int:
    """Bytes of query, key and value scales an attention layer registers, by who wrote the checkpoint.

    FP8 and ModelOpt checkpoints: four 16-bit scalars (``layers/quantization/kv_cache.py``); compressed-tensors: three
    float32 scales and three 16-bit zero points (``compressed_tensors.py`` ``CompressedTensorsKVCacheMethod``).
    """
    writer = quantization.extra.get("writer") or _WRITERS.get(quantization.method, "")
    return {"fp8": 8, "modelopt": 8, "compressed-tensors": 18}.get(str(writer), 0)


_WRITERS = {
    "fp8_block": "fp8",
    "fp8_tensor": "fp8",
    "nvfp4": "modelopt",
    "mxfp8": "modelopt",
    **dict.fromkeys(("fp8_channel", "int8", "w4a16", "w8a16"), "compressed-tensors"),
}
"""Who usually writes a format, where the checkpoint's config was not read."""

_USUAL = ("lm_head",)
"""``Quantization.excluded`` when nothing was read: then the router stays in 16 bits too, except with GPTQ."""


def is_excluded(quantization: Quantization, layer: int, name: str) -> bool:
    """Tell whether the checkpoint keeps a module of a layer in 16 bits.

    Names may be exact paths, their prefixes or parts, shell patterns, or regular expressions after ``re:``; AWQ
    matches any part of a name. A fused module is kept if its parts are (``qkv_proj`` by ``q_proj``).
    """
    if quantization.excluded == _USUAL:
        return name == "mlp.gate" and quantization.method != "gptq"
    full = f"model.layers.{layer}.{name}"
    paths = [full] + [full.replace(fused, part) for fused, part in _FUSED.items() if fused in full]
    if quantization.method == "awq":
        return any(pattern in path for pattern in quantization.excluded for path in paths[-1:])
    return any(_matches(pattern, path) for pattern in quantization.excluded for path in paths)


_FUSED = {"qkv_proj": "q_proj", "gate_up_proj": "gate_proj", ".w13": "", ".w2": ""}


def _matches(pattern: str, path: str) -> bool:
    if pattern.startswith("re:"):
        found = _regex(pattern[3:])
        return found is not None and found.match(path) is not None
    if "*" in pattern:
        return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern + ".*")
    return path == pattern or path.startswith(pattern + ".") or path.endswith("." + pattern) or f".{pattern}." in path


@lru_cache(maxsize=512)
def _regex(pattern: str) -> re.Pattern[str] | None:
    if len(pattern) > MAX_PATTERN or _NESTED.search(pattern):
        return None
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None


MAX_PATTERN = 300
"""A longer exclusion pattern is not a module name."""

_NESTED = re.compile(r"[*+}]\)[*+{]")
"""Repeated repetition: such a pattern could take for ever, and none is needed to name a module."""


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _refuse(matrix: Matrix, size: int, block: int) -> BadValue:
    return BadValue("errors_vram.share_not_whole", what=matrix.name, size=size, block=block, ranks=matrix.ranks)


def _fp8_block(matrix: Matrix, q: Quantization, _width: int) -> int:
    rows, columns = q.block or (128, 128)
    if matrix.experts:
        rows, columns = _expert_block(matrix, q, rows, columns)
        parts: tuple[int, ...] = matrix.outputs
    else:
        _check_blocks(matrix, rows, columns)
        parts = (matrix.rows,)
    return matrix.rows * matrix.inputs + 4 * sum(_ceil(part, rows) for part in parts) * _ceil(matrix.inputs, columns)


def _expert_block(matrix: Matrix, q: Quantization, rows: int, columns: int) -> tuple[int, int]:
    """Blocks of experts; where a rank's share is no whole number of them, vLLM refines the scales (``fp8.py``)."""
    if matrix.inner % rows == 0 and (matrix.ranks == 1 or matrix.inner % columns == 0):
        return rows, columns
    size = math.gcd(rows, columns, matrix.inner)
    if size < SMALLEST_BLOCK or q.extra.get("writer") == "compressed-tensors":
        raise _refuse(matrix, matrix.inner, rows)
    return size, size


def _check_blocks(matrix: Matrix, rows: int, columns: int) -> None:
    """Refuse what vLLM refuses (``utils/fp8_utils.py:validate_fp8_block_shape``): shares that cut a block."""
    if matrix.ranks > 1 and matrix.split == "in" and matrix.inputs % columns:
        raise _refuse(matrix, matrix.inputs, columns)
    is_shared = matrix.ranks > 1 and matrix.split == "out"
    for part in matrix.outputs if is_shared else matrix.outputs[:-1]:
        if part % rows:
            raise _refuse(matrix, part, rows)


SMALLEST_BLOCK = 32
"""Narrowest group or block of experts that vLLM's kernels take."""


def _fp8_tensor(matrix: Matrix, q: Quantization, _width: int) -> int:
    inputs = 0 if q.extra.get("activation") == "dynamic" else 1 if matrix.experts else len(matrix.outputs)
    return matrix.rows * matrix.inputs + 4 * (len(matrix.outputs) + inputs)


def _per_row(matrix: Matrix, _q: Quantization, _width: int) -> int:
    """One float32 scale an output row (FP8 per channel, INT8 W8A8)."""
    return matrix.rows * matrix.inputs + 4 * matrix.rows


def _in_flight(matrix: Matrix, _q: Quantization, width: int) -> int:
    """Registered unquantised; the engine converts while it loads (see ``tools.vram.loaded``)."""
    return matrix.rows * matrix.inputs * width


def _groups(matrix: Matrix, q: Quantization) -> int:
    size = q.group_size if q.group_size and q.group_size > 0 else matrix.inputs
    return max(1, matrix.inputs // size)


def _packed(matrix: Matrix, q: Quantization) -> int:
    """Bytes of weights packed into 32-bit words."""
    return int(matrix.rows * matrix.inputs * q.bits) // 8


def _zeros_and_scales(matrix: Matrix, q: Quantization, width: int) -> int:
    return _groups(matrix, q) * (int(matrix.rows * q.bits) // 8 + width * matrix.rows)


def runs_on_marlin(matrix: Matrix, q: Quantization) -> bool:
    """Tell whether integer experts keep their groups; else vLLM halves them (``marlin_utils.py``, ``moe_wna16.py``)."""
    size = q.group_size or -1
    return not matrix.experts or (matrix.outer % 128 == 0 and (size <= 0 or matrix.inner % size == 0))


def _halved_groups(matrix: Matrix, q: Quantization, width: int) -> int:
    """Integer experts whose share of a rank cuts a group: groups are halved until they fit both sides."""
    size = q.group_size or 128
    while matrix.inner % size or matrix.outer % size:
        size //= 2
        if size < SMALLEST_BLOCK:
            raise _refuse(matrix, matrix.inner, q.group_size or 128)
    zeros = 0 if q.symmetric else int(matrix.rows * q.bits) // 8
    return _packed(matrix, q) + matrix.inputs // size * (width * matrix.rows + zeros)


def _gptq(matrix: Matrix, q: Quantization, width: int) -> int:
    """GPTQ experts register a bias whether the architecture has one or not (``auto_gptq.py``)."""
    if not runs_on_marlin(matrix, q):
        return _halved_groups(matrix, q, width)
    bias = width * matrix.rows if matrix.experts and not matrix.bias else 0
    return _packed(matrix, q) + _zeros_and_scales(matrix, q, width) + bias


def _awq(matrix: Matrix, q: Quantization, width: int) -> int:
    if not runs_on_marlin(matrix, q):
        return _halved_groups(matrix, q, width)
    return _packed(matrix, q) + _zeros_and_scales(matrix, q, width)


def _pack_quantized(matrix: Matrix, q: Quantization, width: int) -> int:
    """Compressed-tensors integers: packed weights, 16-bit scales, the weight's shape, zero points if asymmetric."""
    size = q.group_size or -1
    share = matrix.inner if matrix.experts else matrix.inputs
    if size > 0 and share % size:
        raise _refuse(matrix, share, size)
    shape = 2 * width if matrix.experts else 16
    if q.symmetric:
        return _packed(matrix, q) + width * _groups(matrix, q) * matrix.rows + shape
    return _packed(matrix, q) + _zeros_and_scales(matrix, q, width) + shape


def _nvfp4(matrix: Matrix, _q: Quantization, _width: int) -> int:
    """Half a byte a weight, a float8 scale a block of 16, two float32 scales an output (weight and input)."""
    return matrix.rows * (matrix.inputs // 2 + matrix.inputs // 16) + 8 * len(matrix.outputs)


def mxfp4_shape(matrix: Matrix) -> tuple[int, int]:
    """Rows and columns of an MXFP4 expert as registered: a rank's share is rounded up to whole blocks of 32."""
    if matrix.split == "out":
        return sum(_ceil(part, 32) * 32 for part in matrix.outputs), matrix.inputs
    return matrix.rows, _ceil(matrix.inputs, 32) * 32


def _mxfp4(matrix: Matrix, _q: Quantization, width: int) -> int:
    """Half a byte a weight and a shared exponent a block of 32; only experts are stored so (``mxfp4.py``)."""
    if not matrix.experts:
        return matrix.rows * matrix.inputs * width
    rows, columns = mxfp4_shape(matrix)
    bias = width * (rows - matrix.rows) if matrix.bias else 0
    return rows * (columns // 2 + _ceil(columns, 32)) + bias


def _mxfp8(matrix: Matrix, _q: Quantization, _width: int) -> int:
    return matrix.rows * (matrix.inputs + _ceil(matrix.inputs, 32))


def _nf4(matrix: Matrix, _q: Quantization, _width: int) -> int:
    """Half a byte a weight and a float32 maximum a block of 64; double quantisation is undone while loading."""
    weights = matrix.rows * matrix.inputs
    return weights // 2 + 4 * _ceil(weights, 64)


_RULES: dict[str, Callable[[Matrix, Quantization, int], int]] = {
    "fp8_block": _fp8_block,
    "fp8_tensor": _fp8_tensor,
    "fp8_channel": _per_row,
    "fp8_online": _in_flight,
    "int8": _per_row,
    "gptq": _gptq,
    "awq": _awq,
    "w4a16": _pack_quantized,
    "w8a16": _pack_quantized,
    "nvfp4": _nvfp4,
    "mxfp4": _mxfp4,
    "mxfp8": _mxfp8,
    "bnb_nf4": _nf4,
    "bnb_int8": _per_row,
}
