"""Storage formats: each on a dense model and a mixture, and where shares of real proportions cut blocks and groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import dense, moe
from cases.parts import Config, config_of


def family(name: str, **more: Any) -> Config:
    """Build a dense or a mixture model's config."""
    return config_of((dense.FAMILIES | moe.FAMILIES)[name], **more)


def _args(bits: int, kind: str, strategy: str, group: int | None = None, **more: Any) -> Config:
    return {
        "num_bits": bits,
        "type": kind,
        "strategy": strategy,
        "group_size": group,
        "dynamic": False,
        "symmetric": True,
        **more,
    }


def _group(weights: Config, inputs: Config | None = None, *targets: str, **more: Any) -> Config:
    return {"targets": list(targets or ("Linear",)), "weights": weights, "input_activations": inputs, **more}


def _compressed(layout: str, *groups: Config, ignore: tuple[str, ...] = ("lm_head",), **more: Any) -> Config:
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "ignore": list(ignore),
        "config_groups": {f"group_{index}": group for index, group in enumerate(groups)},
        **more,
    }


def _modelopt(algorithm: str, *ignore: str, **more: Any) -> Config:
    kept = list(ignore or ("lm_head",))
    return {"quant_method": "modelopt", "quant_algo": algorithm, "ignore": kept, "group_size": 16, **more}


def _rounded(**more: Any) -> Config:
    return {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "data_type": "int", **more}


def _quark(weight: Config, inputs: Config | None, *exclude: str) -> Config:
    return {
        "quant_method": "quark",
        "exclude": ["lm_head", *exclude],
        "export": {"kv_cache_group": [], "pack_method": "reorder", "weight_format": "real_quantized"},
        "global_quant_config": {"weight": weight, "input_tensors": inputs, "output_tensors": None, "bias": None},
        "layer_quant_config": {},
        "layer_type_quant_config": {},
        "quant_mode": "eager_mode",
    }


def _tensor(kind: str, scheme: str, dynamic: bool = False, group: int | None = None, **more: Any) -> Config:
    fixed = {"symmetric": True, "ch_axis": 0}
    return {"dtype": kind, "qscheme": scheme, "is_dynamic": dynamic, "group_size": group, **fixed, **more}


_FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}
_GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
_AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
_ROUTER = "re:.*mlp.gate$"
_INT4 = _args(4, "int", "group", 128)
_FP4 = _args(4, "float", "tensor_group", 16)
_MX4 = _args(4, "float", "group", 32, scale_dtype="torch.uint8")
_MX8 = _args(8, "float", "group", 32, scale_dtype="torch.uint8")
_CHANNEL, _TENSOR = _args(8, "float", "channel"), _args(8, "float", "tensor")
_TOKEN = _args(8, "float", "token", dynamic=True)
_FP4_INPUT = {**_FP4, "dynamic": "local"}
_QKV = tuple(f"model.layers.0.self_attn.{part}_proj" for part in "qkv")
_DOWN = "model.layers.1.mlp.down_proj"
_OCP4 = _tensor("fp4", "per_group", False, 32, scale_format="e8m0")
_TABLE = {
    **{f"model.layers.{n}.self_attn.{part}_proj": {"quant_algo": "FP8"} for n in (0, 1) for part in "qkvo"},
    **{
        f"model.layers.{n}.mlp.{module}{part}_proj": {"quant_algo": algorithm, "group_size": 16}
        for n in (0, 1)
        for module, algorithm in (("", "NVFP4"), *((f"experts.{expert}.", "W4A16_NVFP4") for expert in range(8)))
        for part in ("gate", "up", "down")
    },
}

FORMATS: dict[str, Config] = {
    "fp8_tensor": _FP8,
    "fp8_static": {**_FP8, "activation_scheme": "static"},
    "fp8_block": {**_FP8, "weight_block_size": [128, 128]},
    "fp8_block_64": {**_FP8, "weight_block_size": [64, 64]},
    "fp8_router": {**_FP8, "weight_block_size": [128, 128], "modules_to_not_convert": ["model.layers.1.mlp.gate"]},
    "fp8_parts": {**_FP8, "modules_to_not_convert": [*_QKV, _DOWN, "lm_head", "gate"]},
    "fp8_fused": {**_FP8, "ignored_layers": ["model.layers.0.self_attn.qkv_proj", "model.layers.0.mlp.experts"]},
    "fp8_mxfp4_experts": {**_FP8, "store_dtype": "mxfp4"},
    **{
        f"gptq{bits}_{size}": {**_GPTQ, "bits": bits, "group_size": size}
        for bits in (4, 8)
        for size in (32, 64, 128, -1)
    },
    "gptq_v2": {**_GPTQ, "checkpoint_format": "gptq_v2"},
    "gptq_head": {**_GPTQ, "lm_head": True},
    "gptq_dynamic": {
        **_GPTQ,
        "dynamic": {r"+:.*\.1\..*": {"bits": 8, "group_size": 64}, "-:.*down_proj.*": {}, r"-:.*mlp\.gate$": {}},
    },
    "gptq_blocks": {
        **_GPTQ,
        "modules_in_block_to_quantize": [["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj"]],
    },
    **{f"awq_{size}": {**_AWQ, "group_size": size} for size in (32, 64, 128, -1)},
    "awq_symmetric": {**_AWQ, "zero_point": False},
    "awq_head": {**_AWQ, "lm_head": True},
    "awq_parts": {**_AWQ, "modules_to_not_convert": ["self_attn", "layers.1.mlp", "gate"]},
    **{
        f"w4a16_{size}": _compressed("pack-quantized", _group(_args(4, "int", "group", size))) for size in (32, 64, 128)
    },
    "w4a16_channel": _compressed("pack-quantized", _group(_args(4, "int", "channel"))),
    "w4a16_asymmetric": _compressed("pack-quantized", _group({**_INT4, "symmetric": False})),
    "w4a16_parts": _compressed(
        "pack-quantized", _group(_INT4), ignore=("lm_head", _ROUTER, _DOWN, r"re:.*layers\.1\.self_attn.*")
    ),
    "w4a16_head": _compressed("pack-quantized", _group(_INT4, None, "re:.*lm_head", "Linear"), ignore=()),
    "w8a16": _compressed("pack-quantized", _group(_args(8, "int", "group", 128))),
    "w4a8": _compressed("pack-quantized", _group(_INT4, _args(8, "int", "token", dynamic=True))),
    "int8": _compressed("int-quantized", _group(_args(8, "int", "channel"), _args(8, "int", "token", dynamic=True))),
    "int8_static": _compressed("int-quantized", _group(_args(8, "int", "channel"), _args(8, "int", "tensor"))),
    "int8_zero": _compressed(
        "int-quantized", _group(_args(8, "int", "tensor"), _args(8, "int", "tensor", symmetric=False))
    ),
    "fp8_channel": _compressed("float-quantized", _group(_CHANNEL, _TOKEN)),
    "fp8_tensor_static": _compressed("float-quantized", _group(_TENSOR, _TENSOR)),
    "fp8_channel_static": _compressed("float-quantized", _group(_CHANNEL, _TENSOR)),
    "fp8_weights": _compressed("float-quantized", _group(_CHANNEL)),
    "fp8_blocks": _compressed(
        "float-quantized",
        _group(_args(8, "float", "block", block_structure=[128, 128]), _args(8, "float", "group", 128, dynamic=True)),
    ),
    "fp8_cache": _compressed("float-quantized", _group(_CHANNEL, _TOKEN), kv_cache_scheme=_TENSOR),
    "nvfp4": _compressed("nvfp4-pack-quantized", _group(_FP4, _FP4_INPUT), ignore=("lm_head", _ROUTER)),
    "nvfp4a16": _compressed("nvfp4-pack-quantized", _group(_FP4)),
    "ct_mxfp4": _compressed("mxfp4-pack-quantized", _group(_MX4)),
    "ct_mxfp8": _compressed("mxfp8-quantized", _group(_MX8, {**_MX8, "dynamic": True})),
    "mixed": _compressed(
        "mixed-precision",
        _group(_CHANNEL, _TOKEN, "re:.*self_attn.*", format="float-quantized"),
        _group(_FP4, _FP4_INPUT, "re:.*mlp.*", format="nvfp4-pack-quantized"),
        ignore=("lm_head", "re:.*o_proj"),
    ),
    "modelopt_fp8": _modelopt("FP8", kv_cache_scheme={"type": "float", "num_bits": 8, "dynamic": False}),
    "modelopt_fp8_channel": _modelopt("FP8_PER_CHANNEL_PER_TOKEN"),
    "modelopt_fp8_block": _modelopt("FP8_PB_WO"),
    "modelopt_nvfp4": _modelopt("NVFP4", "lm_head", "model.layers.*.mlp.gate"),
    "modelopt_nvfp4_head": _modelopt("NVFP4", "model.layers.0.self_attn*", "*.mlp.down_proj"),
    "modelopt_w4a16": _modelopt("W4A16_NVFP4"),
    "modelopt_mxfp8": _modelopt("MXFP8"),
    "modelopt_mixed": _modelopt("MIXED_PRECISION", quantized_layers=_TABLE),
    "mxfp4": {"quant_method": "mxfp4"},
    "mxfp8": {"quant_method": "mxfp8", "ignored_layers": ["lm_head"]},
    "rounded": _rounded(),
    "rounded_awq": _rounded(packing_format="auto_round:auto_awq"),
    "rounded_8": _rounded(bits=8),
    "rounded_32": _rounded(group_size=32),
    "rounded_parts": _rounded(
        extra_config={
            **{name: {"bits": 16} for name in _QKV},
            ".*down_proj.*": {"bits": 8, "group_size": 64},
            "lm_head": {"bits": 4},
        }
    ),
    "rounded_mxfp4": _rounded(group_size=32, data_type="mx_fp"),
    "rounded_fp8": _rounded(bits=8, group_size=[128, 128], data_type="fp"),
    "quark_fp8": _quark(_tensor("fp8_e4m3", "per_tensor"), _tensor("fp8_e4m3", "per_tensor")),
    "quark_fp8_channel": _quark(_tensor("fp8_e4m3", "per_channel"), _tensor("fp8_e4m3", "per_channel", True)),
    "quark_int8": _quark(_tensor("int8", "per_channel"), _tensor("int8", "per_tensor")),
    "quark_mxfp4": _quark(_OCP4, None, "re:.*self_attn.*"),
    "quark_int4": _quark(_tensor("uint4", "per_group", False, 128), None),
}

MXFP4: Config = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
}

BLOCKS: Config = {"head_dim": 128, "num_hidden_layers": 2, "decoder_sparse_step": 1}
"""Sizes that every format's blocks and groups divide among two ranks."""
NARROW: Config = {"hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 16, "num_attention_heads": 32}
WIDE: Config = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 32}
FOURTEEN: Config = {"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14, "num_key_value_heads": 2}
ODD: Config = {"hidden_size": 1000, "intermediate_size": 1200, "moe_intermediate_size": 360, "num_experts": 6}
OSS: Config = {"hidden_size": 2880, "intermediate_size": 2880, "num_attention_heads": 64, "num_key_value_heads": 8}

_OSS_FORMATS = ("fp8_tensor", "fp8_block", "fp8_channel", "nvfp4", "gptq4_128", "awq_128", "w4a16_32", "ct_mxfp4")


def shares() -> Iterator[dict[str, Any]]:
    """Yield models of real proportions whose shares cut blocks and groups; vLLM halves, rounds up or refuses them."""
    models = {
        "experts768": (family("qwen3_moe", **BLOCKS, **NARROW), (2, 4, 8)),
        "width11008": (family("llama", num_hidden_layers=2, **WIDE), (2, 4, 8)),
        "heads14": (family("qwen2", **FOURTEEN), (1, 2)),
        "odd": (family("qwen3_moe", **{**BLOCKS, "head_dim": 80}, **ODD), (1, 4)),
    }
    for name, (model, ranks) in models.items():
        for layout, quantization in FORMATS.items():
            for tp in ranks:
                config = {**model, "quantization_config": quantization}
                yield {"id": f"{name}-{layout}-tp{tp}", "config": config, "tp": tp}
    for layout, quantization in {"mxfp4": MXFP4, **{name: FORMATS[name] for name in _OSS_FORMATS}}.items():
        for tp in (1, 2, 4, 8):
            config = family("gpt_oss", quantization_config=quantization, **OSS)
            yield {"id": f"oss2880-{layout}-tp{tp}", "config": config, "tp": tp}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    for name, quantization in FORMATS.items():
        for model in ("qwen3", "qwen3_moe", "qwen2_moe"):
            for tp in (1, 2):
                config = family(model, **BLOCKS, moe_intermediate_size=512, quantization_config=quantization)
                yield {"id": f"{model}-{name}-tp{tp}", "config": config, "tp": tp}
    yield from shares()
