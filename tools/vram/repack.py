"""What kernels make of a stored matrix after loading.

Source: vLLM 0.32 ``process_weights_after_loading`` of each format (``model_executor/layers/quantization``,
``model_executor/kernels/linear``, ``fused_moe/oracle``).
"""

from __future__ import annotations

from collections.abc import Callable

from tools.domain import Gpu, Quantization
from tools.vram.storage import Matrix, mxfp4_shape, runs_on_marlin, tensor_sizes


def held_sizes(matrix: Matrix, q: Quantization | None, width: int, gpu: Gpu | None) -> tuple[int, ...]:
    """Bytes of each tensor of a matrix after loading.

    Args:
        matrix: the projection on one rank.
        q: its format, or None where it stays in the model's type.
        width: bytes of an element of the model's type.
        gpu: its compute capability decides among kernels; None = the commonest.

    Raises:
        NotYetExact, BadValue: as ``tools.vram.storage.matrix_bytes``.
    """
    stored = tensor_sizes(matrix, q, width)
    change = _CHANGES.get(q.method) if q is not None else None
    return change(matrix, q, width, gpu, stored) if change is not None and q is not None else stored


Change = Callable[[Matrix, Quantization, int, Gpu | None, tuple[int, ...]], tuple[int, ...]]


def _gptq(matrix: Matrix, q: Quantization, _width: int, _gpu: Gpu | None, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Symmetric GPTQ drops its zero points after repacking, its order, and experts' empty biases (``auto_gptq.py``)."""
    if not runs_on_marlin(matrix, q):
        return stored
    weights, zeros, scales, *_, bias = stored
    return weights, 0 if q.symmetric else zeros, scales, bias


def _fp8(matrix: Matrix, q: Quantization, width: int, gpu: Gpu | None, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Below compute capability 8.9 Marlin unpacks FP8 while computing, with scales in 16 bits a group and row."""
    if not is_before(gpu, (8, 9)):
        return stored
    groups = -(-matrix.inputs // q.block[1]) if q.block else 1
    return stored[0], max(1, matrix.experts) * groups * matrix.rows * width, stored[-1]


def _online(
    matrix: Matrix, _q: Quantization, _width: int, _gpu: Gpu | None, stored: tuple[int, ...]
) -> tuple[int, ...]:
    """The 16-bit weights become FP8 with one float32 scale an output (``online/fp8.py``)."""
    experts = max(1, matrix.experts)
    return experts * matrix.rows * matrix.inputs, experts * 4 * len(matrix.outputs), stored[-1]


def _nvfp4(matrix: Matrix, _q: Quantization, _width: int, gpu: Gpu | None, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Blackwell's kernels swizzle scales: rows to a multiple of 128, blocks of 16 to one of 4 (``nvfp4_utils.py``)."""
    if is_before(gpu, (10, 0)):
        return stored
    scales = max(1, matrix.experts) * _up(matrix.rows, 128) * _up(matrix.inputs // 16, 4)
    return stored[0], scales, *stored[2:]


def _mxfp4(matrix: Matrix, _q: Quantization, width: int, gpu: Gpu | None, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Experts are padded for their kernels (``fused_moe/oracle/mxfp4.py``).

    Marlin and FlashInfer: hidden size to a multiple of 256, intermediate to 128, values and scales. Triton on Hopper
    swizzles the values alone, their columns to 256 (gpt-oss-120b: 60.77 registered, 64.38 loaded; Marlin 65.97).
    """
    if not matrix.experts or (gpu is not None and gpu.vendor == "intel"):
        return stored
    rows, columns = mxfp4_shape(matrix)
    if is_hopper(gpu):
        values = matrix.experts * rows * _up(columns, 256) // 2
        return values, *stored[1:]
    if matrix.split == "out":
        padded = 2 * _up(matrix.outputs[0], 128), _up(columns, 256)
    else:
        padded = _up(rows, 256), _up(columns, 128)
    values, bias = matrix.experts * padded[0] * padded[1], matrix.experts * padded[0] * width if matrix.bias else 0
    return values // 2, values // 32, bias


def _nf4(matrix: Matrix, _q: Quantization, _width: int, _gpu: Gpu | None, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Maxima stay in float32; the packed weights are padded to whole blocks."""
    return max(1, matrix.experts) * _up(matrix.rows * matrix.inputs, 64) // 2, *stored[1:]


def is_before(gpu: Gpu | None, capability: tuple[int, int]) -> bool:
    """Tell whether an NVIDIA card's compute capability is below one; an unknown card's is not."""
    major, _, minor = ((gpu.compute_capability if gpu else None) or "").partition(".")
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) < capability


def is_hopper(gpu: Gpu | None) -> bool:
    """Tell whether a card is of compute capability 9.0."""
    return gpu is not None and gpu.compute_capability == "9.0"


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


_CHANGES: dict[str, Change] = {
    "gptq": _gptq,
    "fp8_block": _fp8,
    "fp8_tensor": _fp8,
    "fp8_channel": _fp8,
    "fp8_online": _online,
    "nvfp4": _nvfp4,
    "mxfp4": _mxfp4,
    "bnb_nf4": _nf4,
}
"""By ``Quantization.method``; others hold what they register."""
