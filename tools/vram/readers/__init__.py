"""One reader a writer of quantised checkpoints: from its config to ``Quantization``."""

from __future__ import annotations

from collections.abc import Callable

from tools.domain import Quantization
from tools.vram.readers import simple
from tools.vram.readers.compressed import compressed_tensors
from tools.vram.readers.fields import Config
from tools.vram.readers.modelopt import modelopt, mxfp8
from tools.vram.readers.quark import quark

Reader = Callable[[Config], Quantization]

READERS: dict[str, Reader] = {
    "fp8": simple.fp8,
    "fbgemm_fp8": simple.fbgemm,
    "gptq": simple.gptq,
    "gptq_marlin": simple.gptq,
    "awq": simple.awq,
    "awq_marlin": simple.awq,
    "mxfp4": simple.mxfp4,
    "bitsandbytes": simple.bitsandbytes,
    "auto-round": simple.auto_round,
    "intel/auto-round": simple.auto_round,
    "inc": simple.auto_round,
    "experts_int8": simple.experts_int8,
    "compressed-tensors": compressed_tensors,
    "modelopt": modelopt,
    "modelopt_fp4": modelopt,
    "modelopt_mixed": modelopt,
    "modelopt_mxfp8": mxfp8,
    "mxfp8": mxfp8,
    "quark": quark,
}
"""By ``quant_method``."""
