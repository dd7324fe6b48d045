"""AMD Quark: one scheme for all, by name and by pattern (vLLM 0.32 ``quark/quark.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import FormatPart, Quantization
from tools.errors import NotYetExact
from tools.vram.readers.fields import Config, mapping, names_under, whole

WRITER = "quark"


def quark(config: Config) -> Quantization:
    """Read ``global_quant_config`` and what ``layer_quant_config`` says of single modules."""
    excluded = names_under(config, "exclude")
    cached = {"kv_cache": "fp8"} if names_under(mapping(config, "export"), "kv_cache_group") else {}
    parts: list[FormatPart] = []
    for name, how in list(mapping(config, "layer_quant_config").items())[:100_000]:
        if isinstance(how, Mapping) and cast("Config", how).get("weight"):
            parts.append(FormatPart((str(name)[:400],), _scheme(cast("Config", how)), "wildcard"))
    stored = _scheme(mapping(config, "global_quant_config"))
    extra = {**stored.extra, **cached}
    return replace(stored, excluded=excluded, extra=extra, parts=tuple(parts), naming="regex")


def _scheme(config: Config) -> Quantization:
    weight, inputs = _one(config.get("weight")), _one(config.get("input_tensors"))
    kind, scheme = str(weight.get("dtype")), str(weight.get("qscheme"))
    extra: dict[str, Any] = {"writer": WRITER}
    if inputs and inputs.get("is_dynamic") is False:
        extra["activation"] = "static"
    if kind.startswith("fp8") and scheme in {"per_tensor", "per_channel"}:
        method = "fp8_tensor" if scheme == "per_tensor" else "fp8_channel"
        return Quantization(method, 8, excluded=(), extra=extra)
    if kind == "int8":
        extra |= {"scale": "tensor"} if scheme == "per_tensor" else {}
        return Quantization("int8", 8, -1, excluded=(), extra=extra)
    if kind in {"int4", "uint4"}:
        size = whole(weight, "group_size", 128)
        return Quantization("awq", 4, size, symmetric=kind == "int4", excluded=(), extra=extra)
    if kind == "fp4" and whole(weight, "group_size", 32) == 32:
        return Quantization("mxfp4", 4, 32, excluded=(), extra=extra)
    if kind.startswith("fp8") and scheme == "per_group":
        return Quantization("mxfp8", 8, 32, excluded=(), extra=extra)
    raise NotYetExact("errors_vram.unknown_format", format=f"Quark {kind} {scheme}"[:80])


def _one(value: object) -> Config:
    """A tensor's settings; Quark may put a single one into a list."""
    if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
        value = cast("list[Any]", value)[0]
    return cast("Config", value) if isinstance(value, Mapping) else {}
