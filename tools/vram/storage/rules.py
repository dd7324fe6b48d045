"""Bytes of a weight matrix in a storage format, as vLLM 0.32 registers it on a rank, and where vLLM refuses.

Sources: ``vllm/model_executor/layers/quantization`` (``fp8.py``, ``auto_gptq.py``, ``auto_awq.py``, ``moe_wna16.py``,
``compressed_tensors/``, ``modelopt.py``, ``mxfp4.py``, ``quark/``, ``inc/``) and ``model_executor/kernels/linear``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tools.domain import Quantization
from tools.errors import BadValue, NotYetExact
from tools.vram.storage.matrix import Matrix

Rule = Callable[[Matrix, Quantization, int], tuple[int, ...]]
"""Bytes of each tensor of one expert (or of the layer): weights, scales, zero points, input scales, indices."""


def matrix_bytes(matrix: Matrix, quantization: Quantization | None, width: int = 2) -> int:
    """Bytes of a matrix with its scales, zero points, indices and bias.

    Args:
        matrix: the projection on one rank.
        quantization: its format, or None where it stays as it is.
        width: bytes of an unquantised element.

    Raises:
        NotYetExact: the format is not one that vLLM stores by a known layout.
        BadValue: a rank's share is no whole number of the format's blocks or groups; vLLM refuses such a start.
    """
    return sum(tensor_sizes(matrix, quantization, width))


def tensor_sizes(matrix: Matrix, quantization: Quantization | None, width: int = 2) -> tuple[int, ...]:
    """Bytes of each tensor of a matrix: weights first, bias last.

    Raises:
        NotYetExact, BadValue: as ``matrix_bytes``.
    """
    experts = max(1, matrix.experts)
    if quantization is None or quantization.method == "none":
        width = matrix.element_bytes or width
        return experts * matrix.rows * matrix.inputs * width, experts * matrix.bias * width
    rule = _RULES.get(quantization.method)
    if rule is None:
        raise NotYetExact("errors_vram.unknown_format", format=quantization.method)
    if matrix.experts and quantization.extra.get("experts") is False:
        raise BadValue("errors_vram.no_kernel", what=matrix.name, format=quantization.method)
    bias = _bias(matrix, quantization) * width
    return *(experts * size for size in rule(matrix, quantization, width)), experts * bias


def _bias(matrix: Matrix, q: Quantization) -> int:
    """Elements of the bias; not every format's experts register it."""
    drops = q.method in _WITHOUT_EXPERT_BIAS or (q.method == "mxfp4" and q.extra.get("writer") not in {None, "quark"})
    if matrix.experts and (drops or (q.method == "gptq" and not runs_on_marlin(matrix, q))):
        return 0
    return matrix.bias


_WITHOUT_EXPERT_BIAS = frozenset({"fp8_channel", "nvfp4", "mxfp8", "awq"})


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _refuse(matrix: Matrix, size: int, block: int) -> BadValue:
    return BadValue("errors_vram.share_not_whole", what=matrix.name, size=size, block=block, ranks=matrix.ranks)


def _whole(matrix: Matrix, size: int, block: int) -> None:
    if size % block:
        raise _refuse(matrix, size, block)


def _is_static(q: Quantization) -> bool:
    return q.extra.get("activation") == "static"


def _in_flight(matrix: Matrix, _q: Quantization, width: int) -> tuple[int, ...]:
    """Registered unquantised; the engine converts while it loads (see ``tools.vram.loaded``)."""
    return (matrix.rows * matrix.inputs * width,)


def _fp8_block(matrix: Matrix, q: Quantization, _width: int) -> tuple[int, ...]:
    rows, columns = q.block or (128, 128)
    parts = matrix.outputs if matrix.experts else (matrix.rows,)
    if matrix.experts:
        rows, columns = _expert_block(matrix, q, rows, columns)
    elif q.extra.get("writer") == "modelopt":
        _whole(matrix, matrix.inputs, columns)
    else:
        _check_blocks(matrix, q, rows, columns)
    scales = sum(_ceil(part, rows) for part in parts) * _ceil(matrix.inputs, columns)
    return matrix.rows * matrix.inputs, int(q.extra.get("scale_bytes", 4)) * scales


def _expert_block(matrix: Matrix, q: Quantization, rows: int, columns: int) -> tuple[int, int]:
    """Blocks of experts; where a rank's share is no whole number of them, vLLM refines the scales (``fp8.py``)."""
    if min(rows, columns) < SMALLEST_BLOCK:
        raise _refuse(matrix, matrix.inner, min(rows, columns))
    if matrix.inner % rows == 0 and (matrix.ranks == 1 or matrix.inner % columns == 0):
        return rows, columns
    size = math.gcd(rows, columns, matrix.inner)
    if size < SMALLEST_BLOCK or q.extra.get("writer") == "compressed-tensors":
        raise _refuse(matrix, matrix.inner, rows)
    return size, size


def _check_blocks(matrix: Matrix, q: Quantization, rows: int, columns: int) -> None:
    """Refuse what vLLM refuses (``utils/fp8_utils.py:validate_fp8_block_shape``): shares that cut a block.

    Fused outputs of FP8 checkpoints may (``linear.py:_maybe_allow_fp8_block_shape_mismatch``).
    """
    if matrix.ranks > 1 and matrix.split == "in":
        _whole(matrix, matrix.inputs, columns)
    if len(matrix.outputs) > 1 and q.extra.get("writer") in {None, "fp8"}:
        return
    is_shared = matrix.ranks > 1 and matrix.split == "out"
    for part in matrix.outputs if is_shared else matrix.outputs[:-1]:
        _whole(matrix, part, rows)


SMALLEST_BLOCK = 32
"""Narrowest group or block of experts that vLLM's kernels take."""


def _fp8_tensor(matrix: Matrix, q: Quantization, _width: int) -> tuple[int, ...]:
    inputs = 0 if not _is_static(q) else 1 if matrix.experts else len(matrix.outputs)
    return matrix.rows * matrix.inputs, 4 * len(matrix.outputs), 4 * inputs


def _fp8_channel(matrix: Matrix, q: Quantization, _width: int) -> tuple[int, ...]:
    """One float32 scale an output row; a scale for each fused output's inputs where they are static; FBGEMM's bound."""
    static = _is_static(q) and not matrix.experts
    inputs = 4 * len(matrix.outputs) if static else 4 if q.extra.get("writer") == "fbgemm" else 0
    return matrix.rows * matrix.inputs, 4 * matrix.rows, inputs


def _int8(matrix: Matrix, q: Quantization, _width: int) -> tuple[int, ...]:
    """INT8: a scale a row or a fused output; Quark stores a zero point beside each scale, also of inputs."""
    scales = len(matrix.outputs) if q.extra.get("scale") == "tensor" else matrix.rows
    inputs = (4 if _is_static(q) else 0) + (1 if q.extra.get("input_zero") else 0)
    if q.extra.get("writer") == "quark":
        inputs = (5 + (len(matrix.outputs) - 1 if matrix.experts else 0)) if _is_static(q) else 0
        return matrix.rows * matrix.inputs, 4 * scales, scales, inputs
    return matrix.rows * matrix.inputs, 4 * scales, inputs


def groups_of(matrix: Matrix, q: Quantization) -> int:
    """Groups of inputs that share a scale, at least one."""
    size = q.group_size if q.group_size and q.group_size > 0 else matrix.inputs
    return max(1, matrix.inputs // max(1, size))


def _packed(matrix: Matrix, q: Quantization) -> int:
    """Bytes of weights packed into 32-bit words."""
    return int(matrix.rows * matrix.inputs * q.bits) // 8


def _zeros_and_scales(matrix: Matrix, q: Quantization, width: int) -> tuple[int, int]:
    groups = groups_of(matrix, q)
    return groups * (int(matrix.rows * q.bits) // 8), groups * width * matrix.rows


def runs_on_marlin(matrix: Matrix, q: Quantization) -> bool:
    """Tell whether integer experts keep their groups; else vLLM halves them (``marlin_utils.py``, ``moe_wna16.py``)."""
    size = q.group_size or -1
    if not matrix.experts:
        return True
    padded = q.extra.get("writer") == "auto-round"
    unit = max(64, size) if padded else max(1, size)
    return matrix.outer % 128 == 0 and matrix.inner % unit == 0


def _halved_groups(matrix: Matrix, q: Quantization, width: int) -> tuple[int, ...]:
    """Integer experts whose share of a rank cuts a group: groups are halved until they fit both sides."""
    size = q.group_size or 128
    while size < SMALLEST_BLOCK or matrix.inner % size or matrix.outer % size:
        size //= 2
        if size < SMALLEST_BLOCK:
            raise _refuse(matrix, matrix.inner, q.group_size or 128)
    zeros = 0 if q.symmetric else int(matrix.rows * q.bits) // 8
    groups = matrix.inputs // size
    return _packed(matrix, q), groups * zeros, groups * width * matrix.rows


_MARLIN_GROUPS = (-1, 32, 64, 128)
_MACHETE_GROUPS = (-1, 64, 128)


def _check_kernel(matrix: Matrix, q: Quantization) -> None:
    """Refuse what neither Marlin nor Machete runs (``kernels/linear/mixed_precision``: ``can_implement``).

    Marlin takes no group that two ranks share; Machete (Hopper) does, but wants whole tiles of 64 x 128.
    """
    size = q.group_size or -1
    whole = size == -1 or size >= matrix.inputs * (matrix.ranks if matrix.split == "in" else 1)
    marlin = size in _MARLIN_GROUPS and (whole or matrix.inputs % size == 0)
    machete = size in _MACHETE_GROUPS and matrix.inputs % 64 == 0 and matrix.rows % 128 == 0
    if not marlin and not machete:
        raise _refuse(matrix, matrix.inputs, size)


def _gptq(matrix: Matrix, q: Quantization, width: int) -> tuple[int, ...]:
    """GPTQ experts register a bias whether the architecture has one or not (``auto_gptq.py``)."""
    if not runs_on_marlin(matrix, q):
        return _halved_groups(matrix, q, width)
    if not matrix.experts:
        _check_kernel(matrix, q)
    order = 4 * matrix.inputs if q.desc_act and (q.group_size or -1) > 0 and not matrix.experts else 0
    bias = width * matrix.rows if matrix.experts and not matrix.bias else 0
    return _packed(matrix, q), *_zeros_and_scales(matrix, q, width), bias, order


def _awq(matrix: Matrix, q: Quantization, width: int) -> tuple[int, ...]:
    """AWQ falls back from Marlin to its own kernels, which refuse groups that two ranks share (``auto_awq.py``)."""
    size = q.group_size or -1
    if not runs_on_marlin(matrix, q) or (matrix.experts and size <= 0):
        return _halved_groups(matrix, q, width)
    whole = matrix.inputs * (matrix.ranks if matrix.split == "in" else 1)
    if q.extra.get("writer") == "auto-round" and not q.symmetric and not matrix.experts:
        _check_kernel(matrix, q)
    elif 0 < size < whole:
        _whole(matrix, matrix.inputs, size)
    groups = matrix.inputs // (whole if size <= 0 else size)
    return _packed(matrix, q), groups * (int(matrix.rows * q.bits) // 8), groups * width * matrix.rows


def _pack_quantized(matrix: Matrix, q: Quantization, width: int) -> tuple[int, ...]:
    """Compressed-tensors integers: packed weights, 16-bit scales, the weight's shape, zero points if asymmetric."""
    size = q.group_size or -1
    if q.extra.get("inputs") == "fp8":
        _check_cutlass(matrix)
    if size > 0:
        _whole(matrix, matrix.inner if matrix.experts else matrix.inputs, size)
    elif matrix.experts:
        _whole(matrix, matrix.outer, 128)
    if not matrix.experts:
        _check_kernel(matrix, q)
    shape = 2 * width if matrix.experts else 16
    packed = 4 * matrix.rows * _ceil(int(matrix.inputs * q.bits), 32)
    zeros = 0 if q.symmetric else 4 * _ceil(int(matrix.rows * q.bits), 32)
    groups = groups_of(matrix, q)
    return packed, groups * zeros, groups * width * matrix.rows, shape


def _check_cutlass(matrix: Matrix) -> None:
    """Refuse what the kernel for 4-bit weights and FP8 inputs does not run (``mixed_precision/cutlass.py``)."""
    unit = 256 if matrix.experts else 128
    for size in (matrix.inner, matrix.outer) if matrix.experts else (matrix.rows, matrix.inputs):
        _whole(matrix, size, unit)


def _nvfp4(matrix: Matrix, q: Quantization, width: int) -> tuple[int, ...]:
    """Half a byte a weight, a float8 scale a block of 16, float32 scales of each output's weights and inputs.

    With 16-bit activations the inputs' scales are absent (compressed-tensors) or of the model's type and dropped after
    loading (ModelOpt); experts register them all the same.
    """
    if q.extra.get("writer") == "modelopt" and not matrix.experts:
        _whole(matrix, matrix.inputs, 16)
    inputs = 4
    if q.extra.get("activation") == "none" and not matrix.experts:
        inputs = width if q.extra.get("writer") == "modelopt" else 0
    scales = (4 + inputs) * len(matrix.outputs)
    return matrix.rows * (matrix.inputs // 2), matrix.rows * (matrix.inputs // 16), scales


def mxfp4_shape(matrix: Matrix) -> tuple[int, int]:
    """Rows and columns of an MXFP4 expert as registered: both sides are rounded up to whole blocks of 32."""
    return sum(_ceil(part, 32) * 32 for part in matrix.outputs), _ceil(matrix.inputs, 32) * 32


def _mxfp4(matrix: Matrix, q: Quantization, width: int) -> tuple[int, ...]:
    """Half a byte a weight and a shared exponent a block of 32.

    gpt-oss' own format (no writer) stores experts alone so; they are rounded up to whole blocks, Quark's too. With
    compressed-tensors, AutoRound and Quark linear layers are stored so as well; Quark refuses shares that cut a block.
    """
    writer = q.extra.get("writer")
    if not matrix.experts:
        if writer is None:
            return (matrix.rows * matrix.inputs * width,)
        if writer == "quark":
            _whole(matrix, matrix.inputs, 32)
    elif writer in {None, "quark"}:
        rows, columns = mxfp4_shape(matrix)
        bias = width * (rows - matrix.rows) if matrix.bias else 0
        return rows * (columns // 2), rows * _ceil(columns, 32), bias
    return matrix.rows * (matrix.inputs // 2), matrix.rows * (matrix.inputs // 32)


def _mxfp8(matrix: Matrix, q: Quantization, _width: int) -> tuple[int, ...]:
    if q.extra.get("writer") != "compressed-tensors":
        _whole(matrix, matrix.inner if matrix.experts else matrix.inputs, 32)
    return matrix.rows * matrix.inputs, matrix.rows * (matrix.inputs // 32)


def _nf4(matrix: Matrix, _q: Quantization, _width: int) -> tuple[int, ...]:
    """Half a byte a weight and a float32 maximum a block of 64; double quantisation is undone while loading."""
    weights = matrix.rows * matrix.inputs
    return weights // 2, 4 * _ceil(weights, 64)


def _bnb_int8(matrix: Matrix, _q: Quantization, _width: int) -> tuple[int, ...]:
    """One byte a weight and a float32 maximum a row."""
    return matrix.rows * matrix.inputs, 4 * matrix.rows


_RULES: dict[str, Rule] = {
    "fp8_block": _fp8_block,
    "fp8_tensor": _fp8_tensor,
    "fp8_channel": _fp8_channel,
    "fp8_online": _in_flight,
    "int8": _int8,
    "gptq": _gptq,
    "awq": _awq,
    **{f"w{bits}a16": _pack_quantized for bits in range(2, 9)},
    "nvfp4": _nvfp4,
    "mxfp4": _mxfp4,
    "mxfp8": _mxfp8,
    "bnb_nf4": _nf4,
    "bnb_int8": _bnb_int8,
}
