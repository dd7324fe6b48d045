"""The one builder of text-generation-webui's flags, for the loader that a checkpoint's format calls for.

Flag names and meanings: ``modules/shared.py`` and ``modules/loaders.py`` of text-generation-webui 4.7.3, whose parser
``tools/launch/data`` records. What the loaders do with them: its ``modules/llama_cpp_server.py``, ``exllamav3.py`` and
``transformers_loader.py``.
"""

from __future__ import annotations

import math
import re

from tools.domain import Checkpoint, Deployment, InstancePlan
from tools.errors import BadValue
from tools.launch.argv.llamacpp import cache_type, gguf_type, is_made
from tools.launch.argv.words import FlagValue, checked_word
from tools.units import GIB

MICROBATCH = 512
"""llama.cpp's own ``-ub``, which plans count with; the page would say 1,024."""
BATCH = 2048
PAGE = 256
"""ExLlamaV3's cache holds whole pages of so many tokens (``modules/exllamav3.py``)."""

_CACHE = {"f16": "fp16", "bf16": "bf16", "f32": "f32", "q8_0": "q8_0", "q4_0": "q4_0"}


def webui_flags(instance: InstancePlan) -> dict[str, FlagValue]:
    """Return the flags that load an instance's model as planned, by name without dashes, in a fixed order.

    Addresses and ports are the launcher's business and not among them.

    Returns:
        For a GGUF file on one card: ``{"model": "Qwen_Qwen3-8B-GGUF-Q4_K_M", "loader": "llama.cpp", "ctx-size": 32768,
        "gpu-layers": 37, ...}``.

    Raises:
        BadValue: a name that the command line cannot carry, a format or a cache type that no loader takes.
    """
    checkpoint = instance.deployment.checkpoint
    loader = loader_of(checkpoint)
    found: dict[str, FlagValue] = {"model": folder_name(checkpoint), "loader": loader}
    found |= _LOADERS[loader](instance)
    return found


def loader_of(checkpoint: Checkpoint) -> str:
    """Return the loader of a checkpoint's format.

    Raises:
        BadValue: no loader takes it.
    """
    method = checkpoint.quantization.method
    if method == "gguf":
        return "llama.cpp"
    if method == "exl3":
        return "ExLlamav3"
    if method in {"none", "bnb_nf4", "bnb_int8"}:
        return "Transformers"
    raise BadValue("launch_webui.no_loader", precision=checkpoint.precision)


def folder_name(checkpoint: Checkpoint) -> str:
    """Return the folder of a checkpoint under ``user_data/models``: ``Qwen_Qwen3-8B-GGUF-Q4_K_M``."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", checked_word(checkpoint.repo))[:150].strip("_.") or "model"
    if checkpoint.quantization.method == "gguf":
        return f"{stem}-{gguf_type(checkpoint)}"
    return f"{stem}-{checkpoint.precision}" if checkpoint.quantization.method == "exl3" else stem


def _llama(instance: InstancePlan) -> dict[str, FlagValue]:
    """``llama-server`` behind the page: a number of layers turns its own fitting to the card off."""
    deployment, options = instance.deployment, instance.deployment.options
    every = len(deployment.model.layers) + 1
    microbatch = deployment.max_num_batched_tokens or MICROBATCH
    flags: dict[str, FlagValue] = {
        "ctx-size": _tokens(deployment),
        "parallel": deployment.max_num_seqs or 1,
        "gpu-layers": every if options.gpu_layers is None else options.gpu_layers,
        "batch-size": max(BATCH, microbatch),
        "ubatch-size": microbatch,
    }
    kind = cache_type(deployment.kv_dtype)
    if kind:
        flags["cache-type"] = _cache(kind)
    if options.experts_in_ram:
        whole = options.experts_in_ram >= len(deployment.model.layers)
        flags |= {"cpu-moe": True} if whole else {"extra-flags": f"n-cpu-moe={options.experts_in_ram}"}
    if options.cache_in_ram:
        flags["no-kv-offload"] = True
    count = len(instance.gpu_indices)
    if count > 1:
        shares = (options.split + (0.0,) * count)[:count] if options.split else (1.0,) * count
        flags |= {
            "split-mode": "row" if options.by_rows else "layer",
            "tensor-split": ",".join(f"{s:.6g}" for s in shares),
        }
    return flags


def _cache(kind: str) -> str:
    if kind not in _CACHE:
        raise BadValue("errors_vram.bad_kv_dtype", value=kind, allowed=", ".join(_CACHE))
    return _CACHE[kind]


def _exllama(instance: InstancePlan) -> dict[str, FlagValue]:
    deployment = instance.deployment
    flags: dict[str, FlagValue] = {"ctx-size": -(-_tokens(deployment) // PAGE) * PAGE}
    kind = deployment.kv_dtype.lower()
    if kind not in {"auto", "fp16"}:
        flags["cache-type"] = "q8" if kind in {"fp8", "q8_0"} else kind
    if len(instance.gpu_indices) > 1:
        share = math.ceil(instance.footprint.total_bytes / GIB * 10) / 10
        flags["gpu-split"] = ",".join([f"{share:g}"] * len(instance.gpu_indices))
    return flags


def _transformers(instance: InstancePlan) -> dict[str, FlagValue]:
    """16-bit weights, as they are or quantised by bitsandbytes while they load; never a pickled file."""
    checkpoint, bits = instance.deployment.checkpoint, instance.deployment.options.load_bits
    method = checkpoint.quantization.method
    dtype = "float16" if checkpoint.dtype == "float16" else "bfloat16"
    if bits == 4 or (method == "bnb_nf4" and checkpoint.in_flight):
        flags: dict[str, FlagValue] = {"load-in-4bit": True, "use_double_quant": True, "compute_dtype": dtype}
    elif bits == 8 or (method == "bnb_int8" and checkpoint.in_flight):
        flags = {"load-in-8bit": True}
    else:
        flags = {"bf16": True} if dtype == "bfloat16" else {}
    return flags | {"force-safetensors": True}


_LOADERS = {"llama.cpp": _llama, "ExLlamav3": _exllama, "Transformers": _transformers}


def _tokens(deployment: Deployment) -> int:
    """Tokens of all sequences together."""
    total = deployment.options.context_total
    return total or (deployment.max_model_len or deployment.model.max_context) * (deployment.max_num_seqs or 1)


def must_be_made(checkpoint: Checkpoint) -> bool:
    """Whether the GGUF file has to be converted, because none is known."""
    return checkpoint.quantization.method == "gguf" and is_made(checkpoint)
