"""From a checkpoint's quantisation config to ``Quantization`` and ``Checkpoint``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.domain import Checkpoint, Quantization
from tools.errors import NotYetExact
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
    if config is None:
        return Quantization()
    for key in _HOLDERS:
        inner = config.get(key)
        if isinstance(inner, Mapping):
            return quantization_from_config(cast("Config", inner))
    text = config.get("text_config")
    if isinstance(text, Mapping) and isinstance(cast("Config", text).get("quantization_config"), Mapping):
        return quantization_from_config(cast("Config", text))
    method = config.get("quant_method") or ("modelopt" if _is_modelopt(config) else None)
    if method is None:
        return Quantization()
    reader = READERS.get(str(method).lower())
    if reader is None:
        raise NotYetExact("errors_vram.unknown_format", format=str(method)[:80])
    return reader(config)


def _is_modelopt(config: Config) -> bool:
    inner = config.get("quantization")
    return bool(config.get("quant_algo")) or (isinstance(inner, Mapping) and "quant_algo" in inner)


def native_checkpoint(config: Config, name: str, quant_config: Config | None) -> Checkpoint:
    """Describe the checkpoint that a config belongs to."""
    quantization = quantization_from_config(quant_config or config)
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16")
    dtype = "float16" if dtype.endswith("float16") and not dtype.endswith("bfloat16") else "bfloat16"
    return Checkpoint(name, precision_of(quantization, dtype), quantization, dtype)


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
