"""Which card runs what, as data: storage formats in vLLM 0.32 and SGLang 0.5.23, back ends of llama.cpp, loaders."""

from __future__ import annotations

from dataclasses import dataclass

Capability = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Format:
    """Where one storage format runs.

    Attributes:
        minimum: least compute capability with a kernel, or None where the stock engine has none at all.
        native: from here the card computes in that format; below, weights are unpacked to 16 bit while computing
            (Marlin), which saves memory and bandwidth but no arithmetic.
        amd: whether the ROCm build has a kernel: ``yes``, ``fp8`` (only on cards with FP8), ``no``.
        plugin: package that adds the format to the engine.
        source: file of the engine that decides it.
    """

    minimum: Capability | None
    native: Capability | None = None
    amd: str = "no"
    plugin: str | None = None
    source: str = ""


_LAYERS = "vllm/model_executor/layers/quantization/"
FORMATS: dict[str, Format] = {
    "none": Format((7, 5), None, "yes", source="vllm/platforms/cuda.py:check_if_supports_dtype"),
    "fp8_block": Format((7, 5), (8, 9), "fp8", source=_LAYERS + "fp8.py, utils/marlin_utils_fp8.py"),
    "fp8_tensor": Format((7, 5), (8, 9), "fp8", source=_LAYERS + "fp8.py, utils/marlin_utils_fp8.py"),
    "fp8_channel": Format((7, 5), (8, 9), "fp8", source=_LAYERS + "compressed_tensors/schemes/*_fp8.py"),
    "fp8_online": Format((7, 5), (8, 9), "fp8", source=_LAYERS + "online/base.py"),
    "int8": Format((7, 5), (7, 5), "yes", source=_LAYERS + "compressed_tensors/schemes/*_w8a8_int8.py"),
    "gptq": Format((7, 5), None, "yes", source="vllm/model_executor/kernels/linear/mixed_precision/marlin.py"),
    "awq": Format((7, 5), None, "yes", source=_LAYERS + "auto_awq.py"),
    "w4a16": Format((7, 5), None, "yes", source=_LAYERS + "compressed_tensors/schemes/*_wNa16.py"),
    "w8a16": Format((7, 5), None, "yes", source=_LAYERS + "compressed_tensors/schemes/*_wNa16.py"),
    "nvfp4": Format((7, 5), (10, 0), source=_LAYERS + "modelopt.py, utils/marlin_utils_fp4.py"),
    "mxfp4": Format((8, 0), (10, 0), "yes", source=_LAYERS + "mxfp4.py"),
    "mxfp8": Format((8, 0), (10, 0), source=_LAYERS + "modelopt.py:ModelOptMxFp8Config"),
    "bnb_nf4": Format((7, 5), None, plugin="vllm-bnb-plugin", source="vllm#43529: out of the engine since 0.28"),
    "bnb_int8": Format((7, 5), None, plugin="vllm-bnb-plugin", source="vllm#43529: out of the engine since 0.28"),
    "gguf": Format((7, 5), None, plugin="vllm-gguf-plugin", source="vllm#39583: out of the engine"),
}
"""By ``Quantization.method``. Formats of other engines (exl2, exl3, mlx) are absent: vLLM can't load them."""

_SGL = "sglang/srt/layers/quantization/"
SGLANG_FORMATS: dict[str, Format] = {
    "none": Format((7, 5), None, "yes", source="srt/model_executor/model_runner_components/load_model_utils.py"),
    **dict.fromkeys(("fp8_block", "fp8_tensor", "fp8_online"), Format((8, 0), (8, 9), "fp8", source=_SGL + "fp8.py")),
    "fp8_channel": Format((8, 0), (8, 9), "fp8", source=_SGL + "compressed_tensors/schemes/*_fp8.py"),
    "int8": Format((8, 0), (8, 0), "yes", source=_SGL + "compressed_tensors/schemes/*_w8a8_int8.py"),
    "gptq": Format((8, 0), None, "yes", source=_SGL + "gptq/gptq.py"),
    "awq": Format((8, 0), None, "yes", source=_SGL + "awq/awq.py"),
    "w4a16": Format((8, 0), None, source=_SGL + "compressed_tensors/schemes/*_wNa16.py"),
    "w8a16": Format((8, 0), None, source=_SGL + "compressed_tensors/schemes/*_wNa16.py"),
    "nvfp4": Format((8, 0), (10, 0), source=_SGL + "modelopt_quant.py"),
    "mxfp4": Format((8, 0), (10, 0), "fp8", source=_SGL + "mxfp4.py"),
    "mxfp8": Format((10, 0), (10, 0), source=_SGL + "fp8.py"),
    "bnb_nf4": Format((7, 5), None, plugin="bitsandbytes", source=_SGL + "bitsandbytes.py"),
}
"""The same for SGLang 0.5.23 (its wheel); AMD by its documentation, "Quantization", platform compatibility."""

SGLANG_AMD = frozenset({"gfx942", "gfx950"})
"""AMD targets that SGLang supports: MI300X, MI325X, MI350X (documentation, "Quantization")."""

BF16_MINIMUM: Capability = (8, 0)
"""Below, the engine refuses bfloat16 and float16 must be set (vLLM 0.32, platforms/cuda.py)."""

FP8_KV_MINIMUM: Capability = (8, 0)
"""FlashInfer's FP8 cache (vLLM 0.32, v1/attention/backends/flashinfer.py: its floor is 8.0 at present)."""


@dataclass(frozen=True, slots=True)
class BackEnd:
    """How llama.cpp computes on one maker's cards; every GGUF type runs on each of them.

    Attributes:
        names: of the builds, the usual one first.
        minimum: least compute capability, None where nothing is asked.
        absent: compute capabilities or targets without any build.
        source: document that says so.
    """

    names: tuple[str, ...]
    minimum: Capability | None = None
    absent: frozenset[str] = frozenset()
    source: str = ""


_BUILD = "github.com/ggml-org/llama.cpp docs/build.md"
BACK_ENDS: dict[str, BackEnd] = {
    "nvidia": BackEnd(("CUDA", "Vulkan"), (5, 0), source=_BUILD + "; docs.ollama.com/gpu: 5.0 and newer"),
    "amd": BackEnd(("ROCm", "Vulkan"), source=_BUILD + "; docs.ollama.com/gpu"),
    "intel": BackEnd(("Vulkan", "SYCL"), absent=frozenset({"gaudi"}), source=_BUILD),
    "apple": BackEnd(("Metal",), source=_BUILD),
}
"""By the maker of the card."""

ROCM_TARGETS = frozenset(
    f"gfx{target}"
    for target in ("908", "90a", "942", "950", "1030", "1100", "1101", "1102", "1150", "1151", "1200", "1201")
)
"""AMD targets for which Ollama brings ROCm; on others it takes Vulkan (docs.ollama.com/gpu, August 2026)."""

CUDA_13_MINIMUM: Capability = (7, 5)
"""Builds with CUDA 13 have no kernels below (NVIDIA: CUDA 13.0 release notes); those with CUDA 12 do."""

LOADERS: dict[str, dict[str, Capability]] = {
    # exllamav3 1.6: TORCH_CUDA_ARCH_LIST of its build; ROCm for gfx1* only
    "exl3": {"nvidia": (7, 5), "amd": (0, 0)},
    "exl2": {"nvidia": (6, 0)},
    # PyTorch's own builds; Pascal and Volta by those with CUDA 12.6
    "none": {"nvidia": (5, 0), "amd": (0, 0), "apple": (0, 0), "intel": (0, 0)},
    # huggingface.co/docs/bitsandbytes 0.50.2, "Installation": NF4 from 6.0, LLM.int8() from 7.5
    "bnb_nf4": {"nvidia": (6, 0), "amd": (0, 0), "apple": (0, 0), "intel": (0, 0)},
    "bnb_int8": {"nvidia": (7, 5), "amd": (0, 0), "intel": (0, 0)},
}
"""Least compute capability by method and maker, for ExLlamaV3, Transformers and bitsandbytes; other makers: not at all,
and (0, 0) asks for nothing."""

NO_HALF = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
"""Types of models that vLLM refuses in float16 (``_FLOAT16_NOT_SUPPORTED_MODELS``, vllm/config/model.py 0.32.0)."""
