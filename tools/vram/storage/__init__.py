"""Storage formats: which module is stored how (``names``, ``formats``) and in how many bytes (``rules``)."""

from __future__ import annotations

from tools.domain import Quantization
from tools.vram.storage.formats import Formats, assumes_groups, formats_of, settled
from tools.vram.storage.matrix import Matrix
from tools.vram.storage.names import names_of
from tools.vram.storage.rules import groups_of, matrix_bytes, mxfp4_shape, runs_on_marlin, tensor_sizes

__all__ = [
    "Formats",
    "Matrix",
    "assumes_groups",
    "formats_of",
    "groups_of",
    "is_excluded",
    "matrix_bytes",
    "mxfp4_shape",
    "names_of",
    "runs_on_marlin",
    "settled",
    "tensor_sizes",
]


def is_excluded(quantization: Quantization, layer: int, name: str) -> bool:
    """Tell whether the checkpoint keeps a module of a layer in 16 bits.

    Args:
        quantization: the checkpoint's.
        layer: the layer's number.
        name: a matrix of it, as ``tools.vram.storage.Matrix`` names it.
    """
    experts = 1 if ".experts." in name else 0
    return formats_of(quantization).of(Matrix(name, (1,), 1, experts=experts), layer) is None
