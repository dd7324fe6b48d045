"""From a checkpoint's quantisation config to ``Quantization`` and ``Checkpoint``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from tools.domain import Checkpoint, Quantization
from tools.errors import BadValue, NotYetExact

Config = Mapping[str, Any]

_HOLDERS = ("quantization_config", "compression_config", "native_quantization", "quantization")


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
    method = config.get("quant_method") or ("modelopt" if config.get("quant_algo") else None)
    if method is None:
        return Quantization()
    reader = _READERS.get(str(method).lower())
    if reader is None:
        raise NotYetExact("errors_vram.unknown_format", format=str(method)[:80])
    return reader(config)


def _names(config: Config, *keys: str) -> tuple[str, ...]:
    """Read what is left unquantised, beside the output head, which always is."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, list):
            names = (str(name)[:400] for name in cast("list[Any]", value)[:100_000])
            return tuple(name for name in names if name != "lm_head")
    return ()


def _whole(config: Config, key: str, default: int) -> int:
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= 1 << 20 or value == 0:
        raise BadValue("errors_vram.bad_field", field=key, value=repr(value)[:80])
    return value


def _mapping(config: Config, key: str) -> Config:
    value = config.get(key)
    return cast("Config", value) if isinstance(value, Mapping) else {}


def _pair(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(cast("list[Any]", value)) != 2:
        return None
    both = cast("list[Any]", value)
    sizes = {"rows": both[0], "columns": both[1]}
    pair = _whole(sizes, "rows", 128), _whole(sizes, "columns", 128)
    if min(pair) < 1:
        raise BadValue("errors_vram.bad_field", field="weight_block_size", value=repr(both)[:80])
    return pair


def _fp8(config: Config) -> Quantization:
    excluded = _names(config, "modules_to_not_convert", "ignored_layers")
    extra = {"writer": "fp8", "activation": str(config.get("activation_scheme", "dynamic"))}
    block = _pair(config.get("weight_block_size"))
    if block:
        return Quantization("fp8_block", 8, None, block=block, excluded=excluded, extra=extra)
    return Quantization("fp8_tensor", 8, excluded=excluded, extra=extra)


def _fbgemm(config: Config) -> Quantization:
    return Quantization("fp8_channel", 8, -1, excluded=_names(config, "modules_to_not_convert"), extra={"writer": "-"})


def _gptq(config: Config) -> Quantization:
    rules = _mapping(config, "dynamic")
    kept = tuple("re:" + str(rule)[2:].removeprefix("^") for rule in rules if str(rule).startswith("-:"))
    return Quantization(
        "gptq",
        _whole(config, "bits", 4),
        _whole(config, "group_size", 128),
        symmetric=bool(config.get("sym", True)),
        desc_act=bool(config.get("desc_act", False)),
        excluded=kept,
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


def _bitsandbytes(config: Config) -> Quantization:
    excluded = _names(config, "llm_int8_skip_modules")
    if config.get("load_in_8bit"):
        return Quantization("bnb_int8", 8, -1, excluded=excluded)
    return Quantization("bnb_nf4", 4, 64, excluded=excluded)


def _compressed_tensors(config: Config) -> Quantization:
    """One scheme for all linear layers; checkpoints with several are not covered."""
    groups = list(_mapping(config, "config_groups").values())
    if len(groups) != 1 or not isinstance(groups[0], Mapping):
        raise NotYetExact("errors_vram.unknown_format", format="compressed-tensors with several schemes")
    group = cast("Config", groups[0])
    weights, inputs = _mapping(group, "weights"), _mapping(group, "input_activations")
    bits, strategy = _whole(weights, "num_bits", 8), str(weights.get("strategy"))
    is_float, excluded = weights.get("type") == "float", _names(config, "ignore")
    extra: dict[str, Any] = {"writer": "compressed-tensors"}
    if config.get("kv_cache_scheme"):
        extra["kv_cache"] = "fp8"
    symmetric = bool(weights.get("symmetric", True))
    if not is_float and not inputs:
        size = _whole(weights, "group_size", -1) if strategy == "group" else -1
        return Quantization(f"w{bits}a16", bits, size, symmetric, excluded=excluded, extra=extra)
    if not is_float:
        return Quantization("int8", bits, -1, symmetric, excluded=excluded, extra=extra)
    if bits == 4:
        method = "nvfp4" if _whole(weights, "group_size", 16) == 16 else "mxfp4"
        return Quantization(method, 4, _whole(weights, "group_size", 16), excluded=excluded, extra=extra)
    if strategy == "block":
        block = _pair(weights.get("block_structure")) or (128, 128)
        return Quantization("fp8_block", 8, block=block, excluded=excluded, extra=extra)
    if strategy == "tensor":
        extra["activation"] = "dynamic" if inputs.get("dynamic") or not inputs else "static"
        return Quantization("fp8_tensor", 8, excluded=excluded, extra=extra)
    return Quantization("fp8_channel", 8, -1, excluded=excluded, extra=extra)


def _modelopt(config: Config) -> Quantization:
    """``hf_quant_config.json`` and its copy in ``config.json``."""
    algorithm = str(config.get("quant_algo")).upper()
    extra: dict[str, Any] = {"writer": "modelopt", "activation": "static"}
    if str(config.get("kv_cache_quant_algo")).upper() == "FP8":
        extra["kv_cache"] = "fp8"
    methods = {"FP8": ("fp8_tensor", 8, None), "NVFP4": ("nvfp4", 4, 16), "MXFP8": ("mxfp8", 8, 32)}
    if algorithm not in methods:
        raise NotYetExact("errors_vram.unknown_format", format=f"ModelOpt {algorithm}"[:80])
    excluded = _names(config, "exclude_modules", "ignore")
    return Quantization(*methods[algorithm], excluded=excluded, extra=extra)


_READERS: dict[str, Callable[[Config], Quantization]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "gptq": _gptq,
    "awq": _awq,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
}


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
