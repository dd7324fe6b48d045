"""Storage formats: each on three models, and where shares of real proportions cut blocks and groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import dense, moe
from cases.parts import Config, config_of


def family(name: str, **more: Any) -> Config:
    """Build a dense or a mixture model's config."""
    return config_of((dense.FAMILIES | moe.FAMILIES)[name], **more)


def _scheme(bits: int, kind: str, strategy: str, group: int | None = None, **more: Any) -> Config:
    fixed = {"dynamic": False, "symmetric": True, "observer": "minmax", "block_structure": None, "actorder": None}
    return {**fixed, "num_bits": bits, "type": kind, "strategy": strategy, "group_size": group, **more}


def _compressed(layout: str, weights: Config, inputs: Config | None = None, ignore: tuple[str, ...] = ()) -> Config:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "ignore": ["lm_head", *ignore],
        "config_groups": {"group_0": group},
    }


_FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}
_GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
_AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
_MODELOPT = {"quant_method": "modelopt", "ignore": ["lm_head"], "producer": {"name": "modelopt", "version": "0.30"}}
_FP4_INPUT = {"dynamic": False, "num_bits": 4, "type": "float", "group_size": 16}
_ROUTER = "re:.*mlp.gate$"

FORMATS: dict[str, Config] = {
    "fp8_block": {**_FP8, "weight_block_size": [128, 128]},
    "fp8_block_router": {
        **_FP8,
        "weight_block_size": [128, 128],
        "modules_to_not_convert": ["model.layers.1.mlp.gate"],
    },
    "fp8_tensor_dynamic": _FP8,
    "fp8_tensor_static": {**_FP8, "activation_scheme": "static"},
    "gptq": _GPTQ,
    "gptq_group_32": {**_GPTQ, "group_size": 32},
    "gptq_channel": {**_GPTQ, "group_size": -1},
    "gptq_8bit": {**_GPTQ, "bits": 8},
    "gptq_router": {**_GPTQ, "dynamic": {"-:.*mlp\\.gate$": {}}},
    "awq": _AWQ,
    "awq_gate": {**_AWQ, "modules_to_not_convert": ["gate"]},
    "w4a16": _compressed("pack-quantized", _scheme(4, "int", "group", 128)),
    "w4a16_router": _compressed("pack-quantized", _scheme(4, "int", "group", 128), ignore=(_ROUTER,)),
    "w4a16_asymmetric": _compressed("pack-quantized", _scheme(4, "int", "group", 128, symmetric=False)),
    "w8a8": _compressed("int-quantized", _scheme(8, "int", "channel"), _scheme(8, "int", "token", dynamic=True)),
    "fp8_channel": _compressed(
        "float-quantized", _scheme(8, "float", "channel"), _scheme(8, "float", "token", dynamic=True)
    ),
    "fp8_static": _compressed("float-quantized", _scheme(8, "float", "tensor"), _scheme(8, "float", "tensor")),
    "fp8_block_compressed": _compressed(
        "float-quantized",
        _scheme(8, "float", "block", block_structure=[128, 128]),
        _scheme(8, "float", "group", 128, dynamic=True),
    ),
    "nvfp4": _compressed(
        "nvfp4-pack-quantized",
        _scheme(4, "float", "tensor_group", 16),
        _scheme(4, "float", "tensor_group", 16, dynamic="local"),
        ignore=(_ROUTER,),
    ),
    "modelopt_nvfp4": {
        **_MODELOPT,
        "quant_algo": "NVFP4",
        "group_size": 16,
        "ignore": ["lm_head", "model.layers.*.mlp.gate"],
        "config_groups": {
            "group_0": {"input_activations": _FP4_INPUT, "weights": _FP4_INPUT, "targets": ["Linear"]},
        },
    },
    "modelopt_fp8": {**_MODELOPT, "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    "modelopt_mxfp8": {**_MODELOPT, "quant_algo": "MXFP8"},
}

MXFP4: Config = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ],
}

BLOCKS: Config = {"head_dim": 128, "num_hidden_layers": 2, "decoder_sparse_step": 1}
"""Sizes that every format's blocks and groups divide among two ranks."""


def shares() -> Iterator[dict[str, Any]]:
    """Yield models of real proportions whose shares cut blocks and groups; vLLM halves, rounds up or refuses them."""
    narrow = {"hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 128, "num_attention_heads": 32}
    wide = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 32}
    oss = {"hidden_size": 2880, "intermediate_size": 2880, "num_attention_heads": 64, "num_key_value_heads": 8}
    models = {
        "experts768": family("qwen3_moe", **BLOCKS, **narrow),
        "width11008": family("llama", num_hidden_layers=2, **wide),
        "heads14": family(
            "qwen2", hidden_size=896, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2
        ),
    }
    for name, model in models.items():
        for layout, quantization in FORMATS.items():
            for tp in (1, 2) if name == "heads14" else (2, 4, 8):
                if "awq" in layout and name == "experts768" and tp > 2:
                    continue  # vLLM asks the platform for a GPU's capability there
                config = {**model, "quantization_config": quantization}
                yield {"id": f"{name}-{layout}-tp{tp}", "config": config, "tp": tp}
    for tp in (1, 2, 4, 8):
        config = family("gpt_oss", quantization_config=MXFP4, **oss)
        yield {"id": f"oss2880-mxfp4-tp{tp}", "config": config, "tp": tp}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    for name, quantization in FORMATS.items():
        for model in ("qwen3", "qwen3_moe", "qwen2_moe"):
            for tp in (1, 2):
                config = family(model, **BLOCKS, moe_intermediate_size=512, quantization_config=quantization)
                yield {"id": f"{model}-{name}-tp{tp}", "config": config, "tp": tp}
    yield from shares()
    for tp in (1, 2):
        config = family("gpt_oss", quantization_config=MXFP4)
        yield {"id": f"gpt_oss-mxfp4-tp{tp}", "config": config, "tp": tp}
