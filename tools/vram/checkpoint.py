"""From a checkpoint's quantisation config to ``Quantization`` and ``Checkpoint``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Checkpoint, Quantization
from tools.errors import NotYetExact
from tools.vram.dialects import MXFP4_EXPERTS
from tools.vram.readers import READERS

Config = Mapping[str, Any]

_HOLDERS = ("quantization_config", "compression_config", "native_quantization")


def quantization_from_config(config: Config | None) -> Quantization:
    """Read a ``quantization_config`` (or an ``hf_quant_config.json``).

    Args:
        config: the object itself, or a whole ``config.json`` that holds one, or None for an unquantised checkpoint.

    Raises:
        NotYetExact: the method is not known.
        BadValue: a field is absurd.
    """
    found = _quantization_in(config) if config else None
    if found is None:
        return Quantization()
    method = str(found.get("quant_method") or ("modelopt" if _is_modelopt(found) else "")).lower()
    if not method:
        return Quantization()
    reader = READERS.get(method.replace("_tensors", "-tensors"))
    if reader is None:
        raise NotYetExact("errors_vram.unknown_format", format=method[:80])
    return _as_family(reader(found), config or {})


def _quantization_in(config: Config) -> Config | None:
    """Return the quantisation a config holds or is, or None.

    Source: vLLM 0.32 ``model_executor/model_loader/weight_utils.py:get_quant_config``.
    """
    if "quant_method" in config or "quantization" in config or "quant_algo" in config:
        return config
    text = config.get("text_config")
    places = (config, cast("Config", text)) if isinstance(text, Mapping) else (config,)
    for place in places:
        for key in _HOLDERS:
            if isinstance(place.get(key), Mapping):
                return cast("Config", place[key])
    return None


def _is_modelopt(config: Config) -> bool:
    """Tell whether a file that names no method is ModelOpt's.

    Source: vLLM 0.32 ``transformers_utils/model_arch_config_convertor.py:_normalize_quantization_config``.
    """
    inner, producer = config.get("quantization"), config.get("producer")
    if not isinstance(inner, Mapping):
        return False
    named = isinstance(producer, Mapping) and cast("Config", producer).get("name") == "modelopt"
    return named or "modelopt_quant_config" in inner


def native_checkpoint(config: Config, name: str, quant_config: Config | None) -> Checkpoint:
    """Describe the checkpoint that a config belongs to; a file beside it counts where it says nothing itself."""
    quantization = quantization_from_config(config if _quantization_in(config) else quant_config)
    if quantization.method == "mxfp4" and config.get("model_type") in MXFP4_EXPERTS:
        quantization = replace(quantization, extra={})
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16")
    dtype = "float16" if dtype.endswith("float16") and not dtype.endswith("bfloat16") else "bfloat16"
    return Checkpoint(name, precision_of(quantization, dtype), quantization, dtype)


def completed(checkpoint: Checkpoint, config: Config) -> Checkpoint:
    """Fill in what a model's own config says of its native checkpoint beyond that one's ``quantization_config``."""
    quantization = _as_family(checkpoint.quantization, config)
    return checkpoint if quantization is checkpoint.quantization else replace(checkpoint, quantization=quantization)


def _as_family(quantization: Quantization, config: Config) -> Quantization:
    """Read what a family's own config says of formats elsewhere than in its ``quantization_config``."""
    if config.get("model_type") != "deepseek_v4":
        return quantization
    from tools.vram.families.deepseek_v4 import stored

    return stored(quantization, config)


def precision_of(quantization: Quantization, dtype: str = "bfloat16") -> str:
    """Return the command line's word for a format."""
    words = {
        "none": "fp16" if dtype == "float16" else "bf16",
        "gptq": f"gptq-int{quantization.bits:g}",
        "fp8_online": "fp8-online",
        "bnb_nf4": "bnb-4bit",
        "bnb_int8": "bnb-8bit",
    }
    return words.get(quantization.method, quantization.method.split("_")[0])
