"""What runs on which card, as data: each storage format in vLLM 0.32, and the back ends of llama.cpp and its kin.

Whether bytes fit is one question; whether the engine has kernels for a format on that card is another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tools.domain import Checkpoint, Gpu, Note, note
from tools.plan.engines import display_name, engine

Capability = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Format:
    """Where one storage format runs.

    Attributes:
        minimum: least compute capability with a kernel, or None where stock vLLM has none at all.
        native: from here the card computes in that format; below, weights are unpacked to 16 bit while computing
            (Marlin), which saves memory and bandwidth but no arithmetic.
        amd: whether the ROCm build has a kernel: ``yes``, ``fp8`` (only on cards with FP8), ``no``.
        plugin: package that adds the format to the engine.
        source: file in vLLM 0.32 that decides it.
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


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a checkpoint runs on a card, and what has to be said about it.

    Attributes:
        runs: the engine has a kernel.
        native: the card computes in the format itself.
        half: the 16-bit parts must be float16, not bfloat16.
        needs: notes for a person (a plugin, float16, unpacking).
    """

    runs: bool
    native: bool = True
    half: bool = False
    needs: tuple[Note, ...] = ()


def capability(gpu: Gpu) -> Capability | None:
    """Return (major, minor) of an NVIDIA card, or None where it is not known or not NVIDIA's."""
    major, _, minor = (gpu.compute_capability or "").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def runs_on(checkpoint: Checkpoint, gpu: Gpu, engine_name: str = "vllm") -> Support:
    """Tell whether an engine runs a checkpoint on a card, and what has to be said about it.

    Args:
        checkpoint: what is loaded.
        gpu: the card.
        engine_name: the command line's word for the engine.
    """
    if engine(engine_name).family == "layers":
        return _by_back_end(gpu, engine_name)
    found = support(gpu, checkpoint)
    if checkpoint.in_flight and checkpoint.quantization.method == "bnb_int8":  # it quantises to 8 bits only beforehand
        return replace(found, runs=False)
    return found


def _by_back_end(gpu: Gpu, engine_name: str) -> Support:
    """llama.cpp and its kin: by the maker of the card."""
    back_end = BACK_ENDS.get(gpu.vendor)
    if back_end is None:
        return Support(gpu.vendor in {"unknown", ""})
    seen = capability(gpu)
    if (gpu.compute_capability or "") in back_end.absent or (seen and back_end.minimum and seen < back_end.minimum):
        return Support(False, False)
    if seen is not None and seen < CUDA_13_MINIMUM:
        return Support(True, needs=(note("plan.needs_cuda_12", gpu=gpu.name, engine=display_name(engine_name)),))
    names = back_end.names
    if gpu.vendor == "amd" and gpu.compute_capability not in ROCM_TARGETS:
        names = names[1:]
    if gpu.vendor == "nvidia":
        return Support(True)
    return Support(True, needs=(note("plan.back_end", engine=display_name(engine_name), gpu=gpu.name, name=names[0]),))


def support(gpu: Gpu, checkpoint: Checkpoint) -> Support:
    """Tell whether vLLM can run a checkpoint on a card.

    A card of unknown capability (an unnamed one of a given size) is taken to be able, and is said to be unknown.
    """
    method = checkpoint.quantization.method
    form = FORMATS.get(method)
    if form is None or form.minimum is None:
        return Support(False, False, needs=(note("plan.no_kernel", precision=checkpoint.precision, gpu=gpu.name),))
    if gpu.vendor not in {"nvidia", "unknown", ""}:
        return _other_vendor(gpu, checkpoint, form)
    seen = capability(gpu)
    if seen is None:
        return Support(True, needs=_plugin(checkpoint, form))
    if seen < form.minimum:
        return Support(False, False, needs=(_too_old(gpu, checkpoint, form.minimum),))
    needs = list(_plugin(checkpoint, form))
    half = seen < BF16_MINIMUM
    if half:
        needs.append(note("plan.needs_half", gpu=gpu.name))
    native = form.native is None or seen >= form.native
    if not native:
        needs.append(note("plan.weight_only", precision=checkpoint.precision, gpu=gpu.name))
    return Support(True, native, half, tuple(needs))


def fp8_cache_runs(gpu: Gpu) -> bool:
    """Tell whether vLLM can keep the KV cache in FP8 on a card."""
    if gpu.vendor == "amd":
        return bool(gpu.fp8)
    seen = capability(gpu)
    return seen is None or seen >= FP8_KV_MINIMUM


def cache_runs(gpu: Gpu, engine_name: str = "vllm") -> bool:
    """Tell whether an engine keeps a smaller cache on a card; llama.cpp and its kin do on all."""
    return engine(engine_name).family == "layers" or fp8_cache_runs(gpu)


def engine_runs(gpu: Gpu, engine_name: str = "vllm") -> bool:
    """Tell whether an engine runs on a card at all (vLLM: NVIDIA from Turing on, AMD with a ROCm target)."""
    if engine(engine_name).family == "layers":
        return _by_back_end(gpu, engine_name).runs
    if gpu.vendor == "amd":
        return True
    if gpu.vendor not in {"nvidia", "unknown", ""}:
        return False
    seen = capability(gpu)
    return seen is None or seen >= (7, 5)


def _other_vendor(gpu: Gpu, checkpoint: Checkpoint, form: Format) -> Support:
    """AMD by format; on other makers' cards vLLM does not run at all, which is said once for the card."""
    if gpu.vendor != "amd":
        return Support(True)
    runs = form.amd == "yes" or (form.amd == "fp8" and bool(gpu.fp8))
    if runs:
        return Support(True, needs=_plugin(checkpoint, form))
    return Support(False, False, needs=(note("plan.no_kernel", precision=checkpoint.precision, gpu=gpu.name),))


def _plugin(checkpoint: Checkpoint, form: Format) -> tuple[Note, ...]:
    if not form.plugin:
        return ()
    return (note("plan.needs_plugin", precision=checkpoint.precision, plugin=form.plugin),)


def _too_old(gpu: Gpu, checkpoint: Checkpoint, minimum: Capability) -> Note:
    return note(
        "plan.card_too_old",
        precision=checkpoint.precision,
        gpu=gpu.name,
        minimum=f"{minimum[0]}.{minimum[1]}",
        has=gpu.compute_capability or "?",
    )
