"""What the engine holds after loading: what it registered, changed by what its kernels make of it, as it is counted.

"Model loading took" sums what PyTorch's allocator counts for every tensor, which is a little more than the tensor
(``tools.vram.allocator``), and rotary tables (Llama-3.1-8B: 14.9575 GiB registered + 0.0313 = 14.9889 GiB as
logged by vLLM 0.8 to 0.11).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal

from tools.domain import Attention, Deployment, Gpu, Mixer, MlaAttention, ModelSpec, Quantization
from tools.vram import gguf
from tools.vram.allocator import Run, allocated, between, taken
from tools.vram.engines.rules import version_of
from tools.vram.remembered import remembered
from tools.vram.repack import held_sizes, is_before, is_hopper
from tools.vram.stages import Stage, stages_of
from tools.vram.storage import matrix_bytes
from tools.vram.weights import (
    KEPT,
    Stored,
    draft_bytes,
    draft_matrices,
    element_bytes,
    matrices_of,
    plain_share,
    quantised,
    stage_bytes,
)


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
    *others, last = stage_bytes(deployment.model, deployment.checkpoint, deployment.ranks, split)
    return (*others, last + _draft_bytes(deployment))


def _draft_bytes(deployment: Deployment) -> int:
    """Bytes of the model's own draft head; one from another repository is not known here."""
    if deployment.draft != "mtp":
        return 0
    return draft_bytes(deployment.model, deployment.checkpoint, deployment.ranks)


def is_by_size(quantization: Quantization) -> bool:
    """Tell whether a format is known by its files' size or mean bits a weight, not tensor by tensor."""
    return quantization.method in _BY_SIZE


_BY_SIZE = {"gguf": "GGUF", "exl2": "EXL2", "exl3": "EXL3", "mlx": "MLX"}


def _by_size(deployment: Deployment) -> int:
    """Share of the files' bytes where they are known, else of what the format's tensors or mean bits a weight say."""
    model, checkpoint = deployment.model, deployment.checkpoint
    total = checkpoint.file_bytes or _by_tensors(model, checkpoint.quantization)
    return -(-total // (deployment.tp * deployment.pp))


def _by_tensors(model: ModelSpec, q: Quantization) -> int:
    """Bytes of a GGUF file tensor by tensor where its mixture is llama.cpp's; else parameters x mean bits a weight.

    EXL2, EXL3 and MLX quantise the layers' weights and the head; embeddings, which MLX quantises too, stay in 16 bits.
    """
    kind = str(q.extra.get("type", ""))
    if q.method == "gguf" and model.layers and gguf.is_known(kind):
        return gguf.file_bytes(model, kind)
    kept = model.vocab_size * model.hidden_size if q.method.startswith("exl") and not model.tied_embeddings else 0
    return math.ceil(max(0, model.params_total - kept) * q.bits / 8) + 2 * kept


def loaded(deployment: Deployment, gpu: Gpu | None, registered: tuple[int, ...], tokens: int = 0) -> tuple[Loaded, ...]:
    """Bytes of weights that a rank of each pipeline stage holds after loading.

    Args:
        deployment: what is loaded.
        gpu: its compute capability decides among kernels; None = the commonest.
        registered: ``registered_bytes`` of the same deployment.
        tokens: of a batch, for what is held for each of them.
    """
    split, width = stages_of(deployment), element_bytes(deployment.checkpoint.dtype)
    buffers = allocated(width * tokens * deployment.model.token_buffers)
    sizes = (size + buffers * stage.is_first for size, stage in zip(registered, split, strict=True))
    return tuple(_loaded(deployment, gpu, size, stage) for size, stage in zip(sizes, split, strict=True))


LATENT = (0, 7, 1)
"""First version that caches latents and splits their projection up; before, heads' keys and values were cached."""


def _loaded(deployment: Deployment, gpu: Gpu | None, registered: int, stage: Stage) -> Loaded:
    method = deployment.checkpoint.quantization.method
    if method in _BY_SIZE:
        return Loaded(registered, _BY_SIZE[method], repacked=True)
    width, more = element_bytes(deployment.checkpoint.dtype), 0
    is_latent = version_of(deployment.engine_version) >= LATENT
    for matrices in _matrices(deployment, stage):
        more += _changed(matrices, width, gpu, is_latent, _counts(deployment, gpu))
    total = registered + more + rotary_bytes(deployment) + _absorbed_bytes(deployment, stage)
    total -= _still_double(deployment, stage)
    return Loaded(max(0, total), _backend(method, gpu), repacked=method in _REPACKED)


SPLIT = (0, 8, 0)
"""First version that keeps latent attention's projections apart; from ``LATENT`` on it kept their products, too."""


def _absorbed_bytes(deployment: Deployment, stage: Stage) -> int:
    """Bytes of the products of latent attention's projections that 0.7.1 to 0.7.3 kept beside them.

    The queries' with the keys' (inputs x heads x latent) and the values' with the output (heads x latent x hidden), in
    16 bits, or in FP8 where the checkpoint is; and the queries' rotary part in 16 bits. Source: 0.7.3
    ``attention/backends/mla/utils.py:process_weights_after_loading`` (``W_Q_UK``, ``W_UV_O``, ``W_QR``).

    Worked example: DeepSeek-V2-Lite, AWQ: 27 x 16 x (512 x (2,048 + 2,048) + 64 x 2,048) x 2 B = 1.79 GiB; 0.7.3 logged
    10.45 GiB of weights, 1.84 more than the file's and their 16-bit copies.
    """
    if not LATENT <= version_of(deployment.engine_version) < SPLIT:
        return 0
    model, width = deployment.model, element_bytes(deployment.checkpoint.dtype)
    product_width = 1 if deployment.checkpoint.quantization.method.startswith("fp8") else width
    mixers = (mixer for layer in model.layers[stage.start : stage.end] for mixer in layer.mixers)
    total = 0
    for mixer in mixers:
        if isinstance(mixer, MlaAttention) and not mixer.expanded:
            inputs, heads = mixer.q_lora_rank or model.hidden_size, mixer.heads // deployment.tp
            products = (heads * mixer.kv_lora_rank * rows for rows in (inputs, model.hidden_size))
            total += sum(allocated(product_width * elements) for elements in products)
            total += allocated(width * inputs * heads * mixer.rope_head_dim)
    return total


DOUBLE_UNDONE = (0, 9, 0)
"""First version that undoes double quantisation of bitsandbytes checkpoints while loading
(``model_loader/bitsandbytes_loader.py:dequantize_dq``; not in 0.8.5)."""


def _still_double(deployment: Deployment, stage: Stage) -> int:
    """Bytes that maxima of blocks take less while they are quantised themselves: one, and a float32 for each 256."""
    q = deployment.checkpoint.quantization
    if not q.extra.get("double") or version_of(deployment.engine_version) >= DOUBLE_UNDONE:
        return 0
    matrices = matrices_of(deployment.model, deployment.checkpoint, deployment.ranks, stage)
    maxima = quantised(matrices) * (1 - plain_share(deployment.model, deployment.checkpoint)) / 64
    return round(maxima * (4 - 1 - 4 / 256))


def _matrices(deployment: Deployment, stage: Stage) -> Iterator[tuple[Stored, ...]]:
    model, checkpoint, ranks = deployment.model, deployment.checkpoint, deployment.ranks
    yield matrices_of(model, checkpoint, ranks, stage)
    if deployment.draft == "mtp" and stage.is_last:
        yield draft_matrices(model, checkpoint, ranks)


@remembered(KEPT, by_identity=1)
def _changed(matrices: tuple[Stored, ...], width: int, gpu: Gpu | None, is_latent: bool, counted: Counted) -> int:
    """Bytes that are held, as the engine counts them, beyond those registered."""
    before, held = 0, list[tuple[tuple[int, ...], int]]()
    for matrix, stored, times in matrices:
        sizes = held_sizes(matrix, stored, width, gpu)
        if stored and matrix.decoded and is_latent:
            sizes = (*sizes, matrix.elements * width)
        held.append((sizes, times))
        before += times * matrix_bytes(matrix, stored, width)
    return _counted(held, counted) - before


def _counted(held: list[tuple[tuple[int, ...], int]], counted: Counted) -> int:
    if counted == "segments":
        return taken(_in_order(held)).reserved
    if counted == "tensors":
        return sum(times * sum(sizes) for sizes, times in held)
    after = sum(times * sum(map(allocated, sizes)) for sizes, times in held)
    shared = sum(times * size for sizes, times in held for size in sizes if between(size))
    return taken(_in_order(held)).allocated if shared > SHARED * after else after


SHARED = 0.05
"""Share of tensors that share segments from which it matters how they are laid out."""


def _in_order(held: list[tuple[tuple[int, ...], int]]) -> Iterator[Run]:
    """Tensors layer by layer: what there is equally often belongs to the same layers."""
    for times, layer in groupby(held, key=itemgetter(1)):
        yield [size for one, _ in layer for size in one], times


Counted = Literal["blocks", "tensors", "segments"]
"""How held memory is counted: with what is left of a tensor's block, exactly, or all that was taken of the card."""

SPLITS_ALL = (0, 26, 1)
"""First version on PyTorch 2.13 (``requirements/cuda.txt``; before, 2.11), whose allocator leaves nothing over: five
start-up logs of 0.26.1rc1 and 0.27.1 are the tensors' sum to 0.01 GiB (Qwen3.8-27B-FP8 on two ranks 14.28, its rounded
blocks 14.42), those of 0.6 to 0.23 the blocks'."""

ROCM_COUNTS_CARD, ROCM_COUNTS_TENSORS = (0, 8, 0), (0, 21, 0)
"""Between these, what the card misses is counted on ROCm (``platforms/rocm.py``, 0.8.5 to 0.20.2)."""


def _counts(deployment: Deployment, gpu: Gpu | None) -> Counted:
    if deployment.engine != "vllm":
        return "blocks"
    version = version_of(deployment.engine_version)
    if version >= SPLITS_ALL:
        return "tensors"
    is_rocm = gpu is not None and gpu.vendor.lower() == "amd"
    return "segments" if is_rocm and ROCM_COUNTS_CARD <= version < ROCM_COUNTS_TENSORS else "blocks"


def _backend(method: str, gpu: Gpu | None) -> str:
    """Name the kernels that a format is loaded for."""
    if method == "mxfp4":
        return "MXFP4 Triton" if is_hopper(gpu) else "MXFP4 Marlin or FlashInfer"
    if method == "nvfp4" and is_before(gpu, (10, 0)):
        return "NVFP4 Marlin"
    if method.startswith("fp8") and is_before(gpu, (8, 9)):
        return "FP8 Marlin"
    return _BACKENDS.get(method, method)


def rotary_bytes(deployment: Deployment) -> int:
    """Bytes of the rotary cosine and sine table: one for all layers of equal head size and rotation base.

    Source: ``layers/rotary_embedding/base.py``: ``max_position_embeddings`` x the part of a head that rotates, in 16
    bits. Sliding and full layers usually rotate by different bases and then have a table each.
    """
    width, model = element_bytes(deployment.checkpoint.dtype), deployment.model
    layers = {id(layer): layer for layer in model.layers}.values()
    kinds = {_rotary(mixer, model.rotary_share) for layer in layers for mixer in layer.mixers}
    if model.shared_rotary:
        kinds = {(size, False) for size, _ in kinds}
    return sum(allocated(width * model.max_context * model.rotary_reach * size) for size, _ in kinds)


def _rotary(mixer: Mixer, share: float) -> tuple[int, bool]:
    """Elements of a position's cosines and sines (0 where nothing rotates), and whether the layer slides."""
    if isinstance(mixer, Attention):
        size = int(mixer.head_dim * share) if mixer.rotary_dim is None else mixer.rotary_dim
        return size, mixer.window is not None and size > 0
    return (mixer.rope_head_dim if isinstance(mixer, MlaAttention) and mixer.rotates else 0), False


_REPACKED = frozenset({"gptq", "awq", "w4a16", "w8a16", "mxfp4", "fp8_online"})

_BACKENDS = {
    "none": "unquantised",
    "fp8_block": "FP8 blocks",
    "fp8_tensor": "FP8",
    "fp8_channel": "FP8",
    "fp8_online": "FP8 made while loading",
    "int8": "INT8",
    "gptq": "GPTQ Marlin",
    "awq": "AWQ Marlin",
    "w4a16": "compressed-tensors Marlin",
    "w8a16": "compressed-tensors Marlin",
    "nvfp4": "NVFP4",
    "mxfp8": "MXFP8",
    "bnb_nf4": "bitsandbytes NF4",
    "bnb_int8": "bitsandbytes INT8",
}
"""Kernels by storage format."""
