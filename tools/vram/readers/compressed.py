"""compressed-tensors: groups of modules, each with a scheme (vLLM 0.32 ``quantization/compressed_tensors/``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import FormatPart, Quantization
from tools.errors import BadValue, NotYetExact
from tools.vram.readers.fields import Config, bits_of, mapping, names_under, pair, whole
from tools.vram.readers.simple import REST
from tools.vram.storage import names_of

WRITER = "compressed-tensors"
_CLASS = "Linear"
"""The target that means every projection; other targets are names or patterns."""


def compressed_tensors(config: Config) -> Quantization:
    """Read every group of ``config_groups``: what targets all projections, and what targets some by name."""
    ignored, kv = names_under(config, "ignore"), mapping(config, "kv_cache_scheme")
    found = Quantization(excluded=ignored, naming="regex", extra=_extra(kv))
    parts: list[FormatPart] = []
    for group in _groups(config):
        targets = names_under(group, "targets") or (_CLASS,)
        if len(targets) == 1 and targets[0].endswith("Attention"):
            continue
        stored = _scheme(group, str(group.get("format") or config.get("format")))
        if _CLASS in targets:
            found = replace(stored, excluded=ignored, naming="regex", extra={**stored.extra, **_extra(kv)})
        named = tuple(name for name in targets if name.startswith("re:") or "." in name or name == "lm_head")
        parts += [FormatPart(named, stored)] if named else []
    if found.method == "none" and parts:
        narrowest = min((part.format for part in parts), key=lambda form: form.bits)
        found, parts = replace(narrowest, excluded=ignored, naming="regex", extra=_extra(kv)), [*parts, REST]
    head = any(names_of(part.names, "regex").hold("lm_head") for part in parts if part is not REST)
    return replace(found, parts=tuple(parts), head=head)


def _groups(config: Config) -> list[Config]:
    groups = list(mapping(config, "config_groups").values())
    if not groups or not all(isinstance(group, Mapping) for group in groups):
        raise BadValue("errors_vram.bad_field", field="config_groups", value=repr(config.get("config_groups"))[:80])
    return [cast("Config", group) for group in groups[:1000]]


def _extra(kv: Config) -> dict[str, Any]:
    extra: dict[str, Any] = {"writer": WRITER}
    if kv:
        extra["kv_cache"] = "fp8"
    if kv.get("strategy") == "attn_head":
        extra["kv_scale"] = "head"
    return extra


def _scheme(group: Config, layout: str) -> Quantization:
    weights, inputs = mapping(group, "weights"), mapping(group, "input_activations")
    if not weights:
        raise BadValue("errors_vram.bad_field", field="config_groups.weights", value=repr(group.get("weights"))[:80])
    if weights.get("type") == "float":
        return _floats(weights, inputs)
    return _integers(weights, inputs, layout)


def _integers(weights: Config, inputs: Config, layout: str) -> Quantization:
    bits, symmetric = bits_of(weights, "num_bits", 8), bool(weights.get("symmetric", True))
    size = whole(weights, "group_size", -1) if weights.get("strategy") == "group" else -1
    extra: dict[str, Any] = {"writer": WRITER}
    if layout == "pack-quantized" or not inputs:
        if not 2 <= bits <= 8:
            raise BadValue("errors_vram.bad_field", field="num_bits", value=str(bits))
        if inputs:
            extra |= {"inputs": "fp8"} if inputs.get("type") == "float" else {"experts": False}
        return Quantization(f"w{bits}a16", bits, size, symmetric, excluded=(), extra=extra)
    if bits != 8:
        raise BadValue("errors_vram.no_kernel", what="compressed-tensors", format=f"int{bits}, {layout}"[:60])
    if inputs.get("dynamic") is False:
        extra |= {"activation": "static", "input_zero": not inputs.get("symmetric", True), "experts": False}
    if weights.get("strategy") == "tensor":
        extra["scale"] = "tensor"
    return Quantization("int8", bits, -1, symmetric, excluded=(), extra=extra)


def _floats(weights: Config, inputs: Config) -> Quantization:
    bits, strategy = bits_of(weights, "num_bits", 8), str(weights.get("strategy"))
    extra: dict[str, Any] = {"writer": WRITER}
    if bits == 4:
        size = whole(weights, "group_size", 16)
        if size == 16:
            extra["activation"] = "dynamic" if inputs else "none"
            return Quantization("nvfp4", 4, 16, excluded=(), extra=extra)
        return Quantization("mxfp4", 4, 32, excluded=(), extra=extra)
    if bits != 8:
        raise NotYetExact("errors_vram.unknown_format", format=f"compressed-tensors float{bits}")
    if strategy == "group":
        return Quantization("mxfp8", 8, 32, excluded=(), extra=extra)
    if strategy == "block":
        block = pair(weights.get("block_structure"), "block_structure") or (128, 128)
        return Quantization("fp8_block", 8, block=block, excluded=(), extra=extra)
    extra["activation"] = "static" if inputs and inputs.get("dynamic") is False else "dynamic"
    if not inputs or (strategy == "tensor") != (inputs.get("strategy") == "tensor"):
        extra["experts"] = False
    method = "fp8_tensor" if strategy == "tensor" else "fp8_channel"
    return Quantization(method, 8, -1 if method == "fp8_channel" else None, excluded=(), extra=extra)
