"""What runs on which card: the least compute capability of each storage format in vLLM 0.32, as data.

Whether bytes fit is one question; whether the engine has kernels for a format on that card is another.
"""

from __future__ import annotations

from dataclasses import dataclass

from tools.domain import Checkpoint, Gpu, Note, note

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


def engine_runs(gpu: Gpu) -> bool:
    """Tell whether vLLM runs on a card at all (NVIDIA from Turing on, AMD with a ROCm target)."""
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
