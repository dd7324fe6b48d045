"""What runs on which card: whether an engine has kernels for a format there, and what has to be said about it.

Whether bytes fit is one question; whether the engine has kernels for a format on that card is another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tools.domain import Checkpoint, Gpu, Note, note
from tools.plan.engines import display_name, engine
from tools.plan.kernel_data import (
    BACK_ENDS,
    BF16_MINIMUM,
    CUDA_13_MINIMUM,
    FORMATS,
    FP8_KV_MINIMUM,
    LOADERS,
    ROCM_TARGETS,
    SGLANG_AMD,
    SGLANG_FORMATS,
    Capability,
    Format,
)


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
        if checkpoint.quantization.method == "gguf":
            return _by_back_end(gpu, engine_name)
        return _by_loader(checkpoint, gpu)
    found = support(gpu, checkpoint, engine_name)
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


def _by_loader(checkpoint: Checkpoint, gpu: Gpu) -> Support:
    """ExLlamaV3 and Transformers: by format and maker."""
    makers = LOADERS.get(checkpoint.quantization.method, {})
    if gpu.vendor in {"unknown", ""}:
        return Support(bool(makers))
    least, seen = makers.get(gpu.vendor), capability(gpu)
    gaudi = gpu.compute_capability == "gaudi"
    return Support(least is not None and not gaudi and (seen is None or seen >= least))


def formats_of(engine_name: str) -> dict[str, Format]:
    """Return the storage formats that an engine of vLLM's kind loads."""
    return SGLANG_FORMATS if engine_name == "sglang" else FORMATS


def support(gpu: Gpu, checkpoint: Checkpoint, engine_name: str = "vllm") -> Support:
    """Tell whether vLLM, or SGLang, can run a checkpoint on a card.

    A card of unknown capability (an unnamed one of a given size) is taken to be able, and is said to be unknown.
    """
    method = checkpoint.quantization.method
    form = formats_of(engine_name).get(method)
    if form is None or form.minimum is None:
        return Support(False, False, needs=(_no_kernel(gpu, checkpoint, engine_name),))
    if gpu.vendor not in {"nvidia", "unknown", ""}:
        return _other_vendor(gpu, checkpoint, form, engine_name)
    seen = capability(gpu)
    if seen is None:
        return Support(True, needs=_plugin(checkpoint, form, engine_name))
    if seen < form.minimum:
        return Support(False, False, needs=(_too_old(gpu, checkpoint, form.minimum),))
    needs = list(_plugin(checkpoint, form, engine_name))
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
    rules = engine(engine_name)
    if rules.loads == "exl3":
        return gpu.vendor in {*LOADERS["exl3"], "unknown", ""}
    if rules.family == "layers":
        return _by_back_end(gpu, engine_name).runs
    if gpu.vendor == "amd":
        return engine_name != "sglang" or gpu.compute_capability in SGLANG_AMD
    if gpu.vendor not in {"nvidia", "unknown", ""}:
        return False
    seen = capability(gpu)
    return seen is None or seen >= (7, 5)


def _other_vendor(gpu: Gpu, checkpoint: Checkpoint, form: Format, engine_name: str) -> Support:
    """AMD by format; on other makers' cards the engine does not run at all, which is said once for the card."""
    if gpu.vendor != "amd":
        return Support(True)
    runs = form.amd == "yes" or (form.amd == "fp8" and bool(gpu.fp8))
    if runs and engine_runs(gpu, engine_name):
        return Support(True, needs=_plugin(checkpoint, form, engine_name))
    return Support(False, False, needs=(_no_kernel(gpu, checkpoint, engine_name),))


def _no_kernel(gpu: Gpu, checkpoint: Checkpoint, engine_name: str) -> Note:
    return note("plan.no_kernel", precision=checkpoint.precision, gpu=gpu.name, engine=display_name(engine_name))


def _plugin(checkpoint: Checkpoint, form: Format, engine_name: str) -> tuple[Note, ...]:
    if not form.plugin:
        return ()
    name = display_name(engine_name)
    return (note("plan.needs_plugin", precision=checkpoint.precision, plugin=form.plugin, engine=name),)


def _too_old(gpu: Gpu, checkpoint: Checkpoint, minimum: Capability) -> Note:
    return note(
        "plan.card_too_old",
        precision=checkpoint.precision,
        gpu=gpu.name,
        minimum=f"{minimum[0]}.{minimum[1]}",
        has=gpu.compute_capability or "?",
    )
