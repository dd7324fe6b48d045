"""Writers with one format for the whole checkpoint: FP8, GPTQ, AWQ, AutoRound, MXFP4, bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.domain import FormatPart, Quantization
from tools.errors import NotYetExact
from tools.vram.readers.fields import Config, bits_of, mapping, names_under, pair, whole

PLAIN = Quantization(excluded=())
EXPERTS = ("experts",)
"""Names every mixture of experts (``naming="substring"``)."""
REST = FormatPart(("*",), PLAIN, "wildcard")
"""Whatever other parts do not name stays as it is. A checkpoint of such parts is called by its narrowest format."""


def fp8(config: Config) -> Quantization:
    """``quant_method: fp8`` (``fp8.py``); experts may be stored in MXFP4 or NVFP4 instead."""
    excluded = names_under(config, "ignored_layers", "modules_to_not_convert")
    extra = {"writer": "fp8", "activation": str(config.get("activation_scheme", "dynamic"))}
    block, parts = pair(config.get("weight_block_size")), _fp8_experts(config)
    method = "fp8_block" if block else "fp8_tensor"
    return Quantization(method, 8, block=block, excluded=excluded, extra=extra, parts=parts, naming="exact")


def _fp8_experts(config: Config) -> tuple[FormatPart, ...]:
    if config.get("store_dtype") == "mxfp4":
        return (FormatPart(EXPERTS, Quantization("mxfp4", 4, 32, excluded=()), "substring"),)
    if str(config.get("moe_quant_algo")).upper() == "NVFP4":
        stored = Quantization("nvfp4", 4, 16, excluded=(), extra={"writer": "modelopt"})
        return (FormatPart(EXPERTS, stored, "substring"),)
    return ()


def fbgemm(config: Config) -> Quantization:
    """``fbgemm_fp8``: a scale a row and the inputs' bound; experts stay as they are."""
    excluded = names_under(config, "modules_to_not_convert")
    extra = {"writer": "fbgemm"}
    parts = (FormatPart(EXPERTS, PLAIN, "substring"),)
    return Quantization("fp8_channel", 8, -1, excluded=excluded, extra=extra, parts=parts, naming="exact")


def gptq(config: Config) -> Quantization:
    """GPTQ (``auto_gptq.py``): rules under ``dynamic`` skip modules (``-:``) or store them otherwise (``+:``)."""
    stored = Quantization(
        "gptq",
        bits_of(config, "bits", 4),
        whole(config, "group_size", 128),
        symmetric=bool(config.get("sym", True)),
        desc_act=bool(config.get("desc_act", False)),
        excluded=(),
    )
    blocks = names_under(config, "modules_in_block_to_quantize")
    parts = [_dynamic(str(rule), changes, stored) for rule, changes in list(mapping(config, "dynamic").items())[:1000]]
    if blocks:
        parts += [FormatPart(EXPERTS, stored, "substring"), FormatPart(blocks, stored, "substring"), REST]
    return Quantization(
        "gptq",
        stored.bits,
        stored.group_size,
        stored.symmetric,
        stored.desc_act,
        excluded=(),
        parts=tuple(parts),
        naming="fused",
        head=bool(config.get("lm_head")),
    )


def _dynamic(rule: str, changes: object, stored: Quantization) -> FormatPart:
    pattern = ("re:" + rule.removeprefix("-:").removeprefix("+:"),)
    if rule.startswith("-:"):
        return FormatPart(pattern, PLAIN)
    found: Config = cast("Config", changes) if isinstance(changes, Mapping) else {}
    changed = Quantization(
        "gptq",
        bits_of(found, "bits", int(stored.bits)),
        whole(found, "group_size", stored.group_size or -1),
        symmetric=bool(found.get("sym", stored.symmetric)),
        desc_act=bool(found.get("desc_act", stored.desc_act)),
        excluded=(),
    )
    return FormatPart(pattern, changed)


def awq(config: Config) -> Quantization:
    """AWQ (``auto_awq.py``): zero points are stored whether they are used or not."""
    return Quantization(
        "awq",
        bits_of(config, "w_bit" if "w_bit" in config else "bits", 4),
        whole(config, "q_group_size" if "q_group_size" in config else "group_size", 128),
        symmetric=not config.get("zero_point", True),
        excluded=names_under(config, "modules_to_not_convert"),
        naming="substring",
        head=bool(config.get("lm_head")),
    )


def mxfp4(config: Config) -> Quantization:
    """MXFP4 of gpt-oss (``mxfp4.py``): experts alone."""
    extra = {"only": "experts"}
    excluded = names_under(config, "ignored_layers", "modules_to_not_convert")
    return Quantization("mxfp4", 4, 32, excluded=excluded, extra=extra, naming="exact")


def bitsandbytes(config: Config) -> Quantization:
    """bitsandbytes, quantised beforehand: NF4 or FP4 in blocks of 64, or one byte a weight."""
    excluded = names_under(config, "llm_int8_skip_modules")
    if config.get("load_in_8bit"):
        return Quantization("bnb_int8", 8, -1, excluded=excluded)
    extra = {"double": True} if config.get("bnb_4bit_use_double_quant") else {}
    return Quantization("bnb_nf4", 4, 64, excluded=excluded, extra=extra)


def auto_round(config: Config) -> Quantization:
    """AutoRound (``inc/``): GPTQ's or AWQ's packing, FP8 blocks, or microscaling; ``extra_config`` by module."""
    stored = _rounded(config, config)
    parts: list[FormatPart] = []
    for name, changes in list(mapping(config, "extra_config").items())[:100_000]:
        changed = _rounded(config, cast("Config", changes) if isinstance(changes, Mapping) else {})
        parts.append(FormatPart((_searched(str(name)),), changed, "regex"))
    listed = {part.names[0] for part in parts if part.format.method != "none"}
    merged = _merged(parts)
    extra = dict(stored.extra)
    return Quantization(
        stored.method,
        stored.bits,
        stored.group_size,
        stored.symmetric,
        block=stored.block,
        excluded=(),
        extra=extra,
        parts=merged,
        naming="regex",
        head="lm_head" in listed,
    )


def _merged(parts: list[FormatPart]) -> tuple[FormatPart, ...]:
    """Put neighbours of one format together."""
    found: list[FormatPart] = []
    for part in parts:
        if found and found[-1].format == part.format:
            found[-1] = FormatPart((*found[-1].names, *part.names), part.format, part.naming)
        else:
            found.append(part)
    return tuple(found)


def _searched(name: str) -> str:
    """AutoRound looks for patterns anywhere in a path; a plain name is the path."""
    return f"re:.*(?:{name.removeprefix('.*')})" if set(name) & set("*+?^$()[]{}|\\") else name[:400]


def _rounded(config: Config, module: Config) -> Quantization:
    """One module's format: its own fields before the checkpoint's."""
    fields = {**config, **module}
    bits = bits_of(fields, "bits", 4)
    if bits >= 16:
        return PLAIN
    kind, block = str(config.get("data_type", "int")), pair(fields.get("group_size"), "group_size")
    if kind in {"fp", "fp8"} and block:
        return Quantization("fp8_block", 8, block=block, excluded=(), extra={"writer": "auto-round", "experts": False})
    if "mx_fp" in kind:
        extra: dict[str, Any] = {"writer": "auto-round"}
        return Quantization("mxfp4" if bits == 4 else "mxfp8", bits, 32, excluded=(), extra=extra)
    if kind != "int":
        raise NotYetExact("errors_vram.unknown_format", format=f"AutoRound {kind}"[:80])
    packing = f"{config.get('packing_format')} {config.get('backend')}"
    method = "awq" if "awq" in packing else "gptq"
    size, symmetric = whole(fields, "group_size", 128), bool(fields.get("sym", True))
    return Quantization(method, bits, size, symmetric, excluded=(), extra={"writer": "auto-round"})


def experts_int8(_config: Config) -> Quantization:
    """Experts made INT8 while loading; registered as they are."""
    return PLAIN
