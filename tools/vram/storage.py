"""Bytes of a weight matrix in a checkpoint's storage format, as vLLM 0.32 registers it on a rank.

Sources: ``vllm/model_executor/layers/quantization`` (``fp8.py``, ``auto_gptq.py``, ``auto_awq.py``,
``compressed_tensors/``, ``modelopt.py``, ``mxfp4.py``) and ``layers/fused_moe``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass

from tools.domain import Quantization
from tools.errors import NotYetExact


@dataclass(frozen=True, slots=True)
class Matrix:
    """A projection on one rank.

    Attributes:
        name: module path inside its layer.
        outputs: rows of each fused output (q, k, v; gate, up; or one).
        inputs: columns.
        bias: elements of its bias.
        experts: how many there are of it, stacked; 0 for a plain linear layer.
    """

    name: str
    outputs: tuple[int, ...]
    inputs: int
    bias: int = 0
    experts: int = 0

    @property
    def rows(self) -> int:
        """Rows of all fused outputs."""
        return sum(self.outputs)

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
    """
    if quantization is None or quantization.method == "none":
        return matrix.elements * width
    rule = _RULES.get(quantization.method)
    if rule is None:
        raise NotYetExact("errors_vram.unknown_format", format=quantization.method)
    return max(1, matrix.experts) * (rule(matrix, quantization, width) + matrix.bias * width)


def scale_bytes(quantization: Quantization) -> int:
    """Bytes of the k and v cache scales a layer: two float32 where the format's attention method registers them."""
    return 8 if quantization.method in _KV_SCALES else 0


_KV_SCALES = frozenset({"fp8_block", "fp8_tensor", "fp8_channel", "nvfp4", "mxfp4"})


def is_excluded(quantization: Quantization, layer: int, name: str) -> bool:
    """Tell whether the checkpoint keeps a module of a layer in 16 bits.

    Names may be exact paths, their prefixes or parts, shell patterns, or regular expressions after ``re:``.
    A fused module is kept if its parts are (``qkv_proj`` by ``q_proj``).
    """
    if quantization.excluded in ((), ("lm_head",)):
        return False
    full = f"model.layers.{layer}.{name}"
    paths = [full] + [full.replace(fused, part) for fused, part in _FUSED.items() if fused in full]
    return any(_matches(pattern, path) for pattern in quantization.excluded for path in paths)


_FUSED = {"qkv_proj": "q_proj", "gate_up_proj": "gate_proj", ".w13": ".0.gate_proj", ".w2": ".0.down_proj"}


def _matches(pattern: str, path: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], path) is not None
        except re.error:
            return False
    if "*" in pattern:
        return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern + ".*")
    return path == pattern or path.startswith(pattern + ".") or path.endswith("." + pattern) or f".{pattern}." in path


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _fp8_block(matrix: Matrix, q: Quantization, _width: int) -> int:
    rows, columns = q.block or (128, 128)
    scales = _ceil(matrix.rows, rows) * _ceil(matrix.inputs, columns)
    return matrix.rows * matrix.inputs + 4 * scales


def _fp8_tensor(matrix: Matrix, q: Quantization, _width: int) -> int:
    scales = len(matrix.outputs) * (1 if q.extra.get("activation") == "dynamic" else 2)
    return matrix.rows * matrix.inputs + 4 * scales


def _fp8_channel(matrix: Matrix, _q: Quantization, _width: int) -> int:
    return matrix.rows * matrix.inputs + 4 * matrix.rows


def _grouped(matrix: Matrix, q: Quantization) -> tuple[int, int]:
    size = q.group_size if q.group_size and q.group_size > 0 else matrix.inputs
    groups = _ceil(matrix.inputs, size)
    return groups, int(matrix.rows * matrix.inputs * q.bits) // 8


def _gptq(matrix: Matrix, q: Quantization, _width: int) -> int:
    groups, packed = _grouped(matrix, q)
    indices = 4 * matrix.inputs * (2 if matrix.experts else 1)
    return packed + groups * int(matrix.rows * q.bits) // 8 + 2 * groups * matrix.rows + indices


def _awq(matrix: Matrix, q: Quantization, _width: int) -> int:
    groups, packed = _grouped(matrix, q)
    return packed + groups * int(matrix.rows * q.bits) // 8 + 2 * groups * matrix.rows


def _w4a16(matrix: Matrix, q: Quantization, _width: int) -> int:
    groups, packed = _grouped(matrix, q)
    return packed + 2 * groups * matrix.rows


def _nvfp4(matrix: Matrix, _q: Quantization, _width: int) -> int:
    return matrix.rows * matrix.inputs // 2 + matrix.rows * _ceil(matrix.inputs, 16) + 8 * len(matrix.outputs)


def _mxfp4(matrix: Matrix, _q: Quantization, _width: int) -> int:
    return matrix.rows * matrix.inputs // 2 + matrix.rows * _ceil(matrix.inputs, 32)


def _nf4(matrix: Matrix, _q: Quantization, _width: int) -> int:
    return matrix.rows * matrix.inputs // 2 + 4 * _ceil(matrix.rows * matrix.inputs, 64)


def _int8(matrix: Matrix, _q: Quantization, _width: int) -> int:
    return matrix.rows * matrix.inputs + 4 * matrix.rows


_RULES: dict[str, Callable[[Matrix, Quantization, int], int]] = {
    "fp8_block": _fp8_block,
    "fp8_tensor": _fp8_tensor,
    "fp8_channel": _fp8_channel,
    "fp8_online": _fp8_tensor,
    "int8": _int8,
    "gptq": _gptq,
    "awq": _awq,
    "w4a16": _w4a16,
    "w8a16": _w4a16,
    "nvfp4": _nvfp4,
    "mxfp4": _mxfp4,
    "bnb_nf4": _nf4,
    "bnb_int8": _int8,
}
