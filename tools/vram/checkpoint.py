"""From a checkpoint's quantisation config to ``Quantization`` and ``Checkpoint``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.domain import Checkpoint, Quantization
from tools.errors import NotYetExact

Config = Mapping[str, Any]


def quantization_from_config(config: Config | None) -> Quantization:
    """Read a ``quantization_config`` (or an ``hf_quant_config.json``).

    Args:
        config: the object itself, or a whole ``config.json`` that holds one, or None for an unquantised checkpoint.

    Raises:
        NotYetExact: the method is not known.
    """
    if config is None:
        return Quantization()
    for key in ("quantization_config", "native_quantization", "quantization"):
        inner = config.get(key)
        if isinstance(inner, Mapping):
            return quantization_from_config({**config.get("producer", {}), **cast("Config", inner)})
    method = config.get("quant_method") or config.get("quant_algo")
    if method is None:
        return Quantization()
    reader = _READERS.get(str(method).lower())
    if reader is None:
        raise NotYetExact("errors_vram.unknown_format", format=str(method)[:80])
    return reader(config)


def _names(config: Config, *keys: str) -> tuple[str, ...]:
    for key in keys:
        value = config.get(key)
        if isinstance(value, list):
            return tuple(str(name) for name in cast("list[Any]", value))
    return ("lm_head",)


def _whole(config: Config, key: str, default: int) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _fp8(config: Config) -> Quantization:
    block = config.get("weight_block_size")
    excluded = _names(config, "modules_to_not_convert", "ignored_layers")
    if isinstance(block, list | tuple) and len(cast("list[Any]", block)) == 2:
        rows, columns = cast("list[Any]", block)
        return Quantization("fp8_block", 8, None, block=(int(rows), int(columns)), excluded=excluded)
    return Quantization("fp8_tensor", 8, excluded=excluded, extra={"activation": config.get("activation_scheme")})


def _gptq(config: Config) -> Quantization:
    return Quantization(
        "gptq",
        _whole(config, "bits", 4),
        _whole(config, "group_size", 128),
        symmetric=bool(config.get("sym", True)),
        desc_act=bool(config.get("desc_act", False)),
        excluded=() if config.get("lm_head") else ("lm_head",),
    )


def _awq(config: Config) -> Quantization:
    return Quantization(
        "awq",
        _whole(config, "bits", _whole(config, "w_bit", 4)),
        _whole(config, "group_size", _whole(config, "q_group_size", 128)),
        symmetric=not config.get("zero_point", True),
        excluded=_names(config, "modules_to_not_convert"),
    )


def _mxfp4(config: Config) -> Quantization:
    return Quantization("mxfp4", 4, 32, excluded=_names(config, "modules_to_not_convert"))


_READERS = {"fp8": _fp8, "gptq": _gptq, "awq": _awq, "mxfp4": _mxfp4}


def native_checkpoint(config: Config, name: str, quant_config: Config | None) -> Checkpoint:
    """Describe the checkpoint that a config belongs to."""
    quantization = quantization_from_config(quant_config or config)
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16")
    words = {"none": {"float16": "fp16", "float32": "fp32"}.get(dtype, "bf16"), "gptq": "gptq-int4"}
    word = words.get(quantization.method, quantization.method.split("_")[0])
    return Checkpoint(name, word, quantization, dtype if dtype in {"float16"} else "bfloat16")
