"""ModelOpt: ``hf_quant_config.json`` and its copy in ``config.json`` (vLLM 0.32 ``modelopt.py``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import FormatPart, Quantization
from tools.errors import BadValue, NotYetExact
from tools.vram.readers.fields import MAX_NAMES, Config, mapping, names_under
from tools.vram.readers.simple import EXPERTS, REST
from tools.vram.storage import names_of

_STATIC: dict[str, Any] = {"writer": "modelopt", "activation": "static"}
_DYNAMIC: dict[str, Any] = {"writer": "modelopt", "activation": "dynamic"}
_FP8 = Quantization("fp8_tensor", 8, excluded=(), extra=_STATIC)
_BLOCKS = Quantization("fp8_block", 8, block=(128, 128), excluded=(), extra=_DYNAMIC)
_FORMATS = {
    "FP8": _FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": Quantization("fp8_channel", 8, -1, excluded=(), extra=_DYNAMIC),
    "FP8_PB_WO": _BLOCKS,
    "FP8_BLOCK_SCALES": _BLOCKS,
    "NVFP4": Quantization("nvfp4", 4, 16, excluded=(), extra=_DYNAMIC),
    "W4A16_NVFP4": Quantization("nvfp4", 4, 16, excluded=(), extra={"writer": "modelopt", "activation": "none"}),
    "MXFP8": Quantization("mxfp8", 8, 32, excluded=(), extra=_DYNAMIC),
}
_LIKE_FP8 = ("FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO")
"""Algorithms whose experts vLLM registers with one static scale each, whatever their linear layers have."""

_EXPERT = re.compile(r"\.experts\.\d+\..*")


def modelopt(config: Config) -> Quantization:
    """One algorithm for everything that is not excluded, or a table of modules (``MIXED_PRECISION``)."""
    nested = mapping(config, "quantization")
    fields = nested or config
    algorithm = str(fields.get("quant_algo")).upper()
    excluded = names_under(fields, "exclude_modules") if nested else names_under(fields, "ignore", "exclude_modules")
    cached = {"kv_cache": "fp8"} if _caches_fp8(fields) else {}
    if algorithm == "MIXED_PRECISION":
        return _mixed(fields, excluded, cached)
    stored = _FORMATS.get(algorithm)
    if stored is None:
        raise NotYetExact("errors_vram.unknown_format", format=f"ModelOpt {algorithm}"[:80])
    parts = (FormatPart(EXPERTS, _FP8, "substring"),) if algorithm in _LIKE_FP8 else ()
    head = not names_of(excluded, "wildcard").hold("lm_head")
    extra = {**stored.extra, **cached}
    return replace(stored, excluded=excluded, extra=extra, parts=parts, naming="wildcard", head=head)


def mxfp8(config: Config) -> Quantization:
    """``quant_method: mxfp8`` (MiniMax): ModelOpt's layout under other field names."""
    fields = {"quant_algo": "MXFP8", "ignore": config.get("ignored_layers"), **config}
    return modelopt(fields)


def _caches_fp8(fields: Config) -> bool:
    scheme = mapping(fields, "kv_cache_scheme")
    named = str(fields.get("kv_cache_quant_algo")).upper() == "FP8"
    return named or (scheme.get("type") == "float" and scheme.get("num_bits") == 8)


def _listed(fields: Config) -> Iterator[tuple[str, str]]:
    """Yield each module of the table with its algorithm: by module, or by algorithm as the catalogue shortens it."""
    table: Any = fields.get("quantized_layers")
    if isinstance(table, Mapping):
        for name, how in list(cast("Config", table).items())[:MAX_NAMES]:
            yield str(name), str(cast("Config", how).get("quant_algo") if isinstance(how, Mapping) else how).upper()
    for how in cast("list[Any]", table) if isinstance(table, list) else []:
        if isinstance(how, Mapping):
            stored = cast("Config", how)
            for name in names_under(stored, "modules"):
                yield name, str(stored.get("quant_algo")).upper()


def _mixed(fields: Config, excluded: tuple[str, ...], cached: dict[str, Any]) -> Quantization:
    """A table of modules; what it does not list stays as it is. Scales of the cache exist where it is FP8."""
    modules: dict[str, list[str]] = {}
    for name, algorithm in _listed(fields):
        modules.setdefault(algorithm, []).append(_EXPERT.sub(".experts", name))
    if not modules:
        raise BadValue("errors_vram.bad_field", field="quantized_layers", value=repr(modules)[:80])
    parts: list[FormatPart] = []
    for algorithm, names in modules.items():
        stored = _FORMATS.get(algorithm)
        if stored is None:
            raise NotYetExact("errors_vram.unknown_format", format=f"ModelOpt {algorithm}"[:80])
        parts.append(FormatPart(tuple(dict.fromkeys(names)), stored, "any"))
    head = any("lm_head" in name for part in parts for name in part.names)
    extra = {"writer": "modelopt" if cached else "modelopt-mixed", **cached}
    narrowest = min((part.format for part in parts), key=lambda form: form.bits)
    return replace(narrowest, excluded=excluded, extra=extra, parts=(*parts, REST), naming="wildcard", head=head)
