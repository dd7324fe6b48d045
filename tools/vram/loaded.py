"""What the engine holds after loading: what it registered, changed by what its kernels make of it.

Start-up logs agree with ``registered + rotary table`` to 0.0001 GiB where nothing is repacked (Llama-3.1-8B: 14.9575 +
0.0313 = 14.9889 GiB as logged by vLLM 0.8 to 0.11; Qwen3-0.6B, Qwen3-32B, Llama-3.3-70B-FP8 likewise).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tools.domain import Attention, Deployment, Gpu, Mixer, MlaAttention, Quantization
from tools.vram.stages import Stage, stages_of
from tools.vram.storage import Matrix, mxfp4_shape, runs_on_marlin
from tools.vram.weights import element_bytes, matrices_of, stage_bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Bytes on the fullest rank after loading, with the kernels' name; ``repacked`` = estimated, not just counted."""

    bytes: int
    backend: str
    repacked: bool


def registered_bytes(deployment: Deployment) -> tuple[int, ...]:
    """Bytes vLLM's model code registers on the fullest rank of each pipeline stage.

    Raises:
        NotYetExact: the model or its format is not covered.
        BadValue: the sizes do not divide among the ranks.
    """
    split = stages_of(deployment)
    if is_by_size(deployment.checkpoint.quantization):
        return (_by_size(deployment),) * len(split)
    return stage_bytes(deployment.model, deployment.checkpoint, deployment.ranks, split)


def is_by_size(quantization: Quantization) -> bool:
    """Tell whether a format is known by its files' size or mean bits a weight, not tensor by tensor."""
    return quantization.method in _BY_SIZE


_BY_SIZE = {"gguf": "GGUF", "exl2": "EXL2", "exl3": "EXL3", "mlx": "MLX"}


def _by_size(deployment: Deployment) -> int:
    """Share of the files' bytes where they are known, else parameters x mean bits a weight."""
    model, checkpoint = deployment.model, deployment.checkpoint
    total = checkpoint.file_bytes or math.ceil(model.params_total * checkpoint.quantization.bits / 8)
    return -(-total // (deployment.tp * deployment.pp))


def loaded(deployment: Deployment, gpu: Gpu | None, registered: tuple[int, ...]) -> tuple[Loaded, ...]:
    """Bytes of weights that a rank of each pipeline stage holds after loading.

    Args:
        deployment: what is loaded.
        gpu: its compute capability decides among kernels; None = the commonest.
        registered: ``registered_bytes`` of the same deployment.
    """
    split = stages_of(deployment)
    return tuple(_loaded(deployment, gpu, size, stage) for size, stage in zip(registered, split, strict=True))


def _loaded(deployment: Deployment, gpu: Gpu | None, registered: int, stage: Stage) -> Loaded:
    method = deployment.checkpoint.quantization.method
    if method in _BY_SIZE:
        return Loaded(registered, _BY_SIZE[method], repacked=True)
    name, change = _BACKENDS.get(method, ("unquantised", None))
    total = registered + rotary_bytes(deployment)
    if change is None:
        return Loaded(total, name, repacked=False)
    width, extra = element_bytes(deployment.checkpoint.dtype), 0
    if method == "mxfp4":
        name = f"mxfp4 {'Triton' if _is_hopper(gpu) else 'Marlin or FlashInfer'}"
    for matrix, stored, times in matrices_of(deployment.model, deployment.checkpoint, deployment.ranks, stage):
        extra += times * change(matrix, stored, width, gpu) if stored else 0
    if method in _REPACKED:
        extra += _peak(deployment, stage)
    return Loaded(max(0, total + extra), name, repacked=True)


def rotary_bytes(deployment: Deployment) -> int:
    """Bytes of the rotary cosine and sine table: one for all layers of equal head size and rotation base.

    Source: ``layers/rotary_embedding/base.py``: ``max_position_embeddings`` x head size, in 16 bits. Sliding and full
    layers usually rotate by different bases and then have a table each.
    """
    layers = {id(layer): layer for layer in deployment.model.layers}.values()
    kinds = {rotary for layer in layers for mixer in layer.mixers if (rotary := _rotary(mixer)) is not None}
    if deployment.model.shared_rotary:
        kinds = {(size, False) for size, _ in kinds}
    width = element_bytes(deployment.checkpoint.dtype)
    return width * deployment.model.max_context * sum(size for size, _ in kinds)


def _rotary(mixer: Mixer) -> tuple[int, bool] | None:
    """Elements of a position's cosines and sines, and whether the layer slides; None where nothing rotates."""
    if isinstance(mixer, Attention):
        return mixer.head_dim, mixer.window is not None
    return (mixer.rope_head_dim, False) if isinstance(mixer, MlaAttention) else None


def _peak(deployment: Deployment, stage: Stage) -> int:
    """While a matrix is repacked its old copy still counts: half of the largest, the middle of what logs show.

    (Qwen3-32B-AWQ 0.137 GiB of a largest 0.122; Qwen3-8B-AWQ 0.021 of 0.047; CodeLlama-34B-AWQ 0.001 of 0.084.)
    """
    bits = deployment.checkpoint.quantization.bits
    found = matrices_of(deployment.model, deployment.checkpoint, deployment.ranks, stage)
    return max((int(max(1, m.experts) * m.rows * m.inputs * bits) // 16 for m, stored, _ in found if stored), default=0)


def _drop_gptq_extras(matrix: Matrix, q: Quantization, width: int, _gpu: Gpu | None) -> int:
    """Symmetric GPTQ drops its zero points after repacking, and experts' empty biases (``auto_gptq.py``)."""
    if not runs_on_marlin(matrix, q):
        return 0
    size = q.group_size if q.group_size and q.group_size > 0 else matrix.inputs
    zeros = max(1, matrix.inputs // size) * int(matrix.rows * q.bits) // 8 if q.symmetric else 0
    bias = width * matrix.rows if matrix.experts and not matrix.bias else 0
    return -max(1, matrix.experts) * (zeros + bias)


def _unchanged(_matrix: Matrix, _q: Quantization, _width: int, _gpu: Gpu | None) -> int:
    return 0


def _quantise_online(matrix: Matrix, _q: Quantization, width: int, _gpu: Gpu | None) -> int:
    """The 16-bit weights become FP8 with one float32 scale an output (``layers/quantization/online/fp8.py``)."""
    return max(1, matrix.experts) * (4 * len(matrix.outputs) - (width - 1) * matrix.rows * matrix.inputs)


def _pad_mxfp4(matrix: Matrix, _q: Quantization, width: int, gpu: Gpu | None) -> int:
    """Experts are padded for their kernels (``fused_moe/oracle/mxfp4.py``).

    Marlin and FlashInfer: hidden size to a multiple of 256, intermediate to 128, values and scales. Triton on Hopper
    swizzles the values alone, their columns to 256 (gpt-oss-120b: 60.77 registered, 64.38 loaded; Marlin 65.97).
    """
    if not matrix.experts:
        return 0
    rows, columns = mxfp4_shape(matrix)
    if _is_hopper(gpu):
        return matrix.experts * rows * (_up(columns, 256) - columns) // 2
    if matrix.split == "out":
        padded = 2 * _up(matrix.outputs[0], 128), _up(columns, 256)
    else:
        padded = _up(rows, 256), _up(columns, 128)
    bias = width * (padded[0] - rows) if matrix.bias else 0
    return matrix.experts * ((padded[0] * padded[1] - rows * columns) * 17 // 32 + bias)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _is_hopper(gpu: Gpu | None) -> bool:
    return gpu is not None and gpu.compute_capability == "9.0"


_REPACKED = frozenset({"gptq", "awq", "w4a16", "w8a16"})

_BACKENDS: dict[str, tuple[str, Callable[[Matrix, Quantization, int, Gpu | None], int] | None]] = {
    "none": ("unquantised", None),
    "fp8_block": ("FP8 blocks", None),
    "fp8_tensor": ("FP8", None),
    "fp8_channel": ("FP8", None),
    "fp8_online": ("FP8 made while loading", _quantise_online),
    "int8": ("INT8", None),
    "gptq": ("GPTQ Marlin", _drop_gptq_extras),
    "awq": ("AWQ Marlin", _unchanged),
    "w4a16": ("compressed-tensors Marlin", _unchanged),
    "w8a16": ("compressed-tensors Marlin", _unchanged),
    "nvfp4": ("NVFP4", None),
    "mxfp4": ("MXFP4", _pad_mxfp4),
    "mxfp8": ("MXFP8", None),
    "bnb_nf4": ("bitsandbytes NF4", None),
    "bnb_int8": ("bitsandbytes INT8", None),
}
"""Kernels by storage format and what they add to (or take from) each stored matrix."""
