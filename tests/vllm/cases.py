"""Generated configs for comparing the calculator with vLLM's own model code: families x ranks, formats x ranks.

``python tests/vllm/cases.py`` prints them as the JSON lines that ``scripts/oracle_probe.py`` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Config = dict[str, Any]

BASE: Config = {
    "num_hidden_layers": 3,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1999,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
    "rms_norm_eps": 1e-6,
}
ROPE: Config = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
PLAIN: Config = {**ROPE, "hidden_act": "silu", "tie_word_embeddings": False}
"""Fields that families without a class in transformers need beside their own."""
EXPERTS: Config = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
ROUTED: Config = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "head_dim": 64}
GROUPS: Config = {"n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.0}
SLIDING: Config = {
    "sliding_window": 1024,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
}
GEMMA3_ROPE = {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("sliding_attention", "full_attention")}
YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 4096,
    "truncate": False,
    "rope_theta": 150000,
}

FAMILIES: dict[str, tuple[str, str, Config]] = {
    "llama": ("llama", "LlamaForCausalLM", {}),
    "llama_biased": ("llama", "LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True, "head_dim": 96}),
    "llama_tied": ("llama", "LlamaForCausalLM", {"tie_word_embeddings": True}),
    "mistral": ("mistral", "MistralForCausalLM", {"sliding_window": None}),
    "mistral_sliding": ("mistral", "MistralForCausalLM", {"sliding_window": 1024}),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", {}),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", {"head_dim": 128}),
    "gemma": ("gemma", "GemmaForCausalLM", {"head_dim": 128}),
    "gemma2": ("gemma2", "Gemma2ForCausalLM", {"head_dim": 128, "sliding_window": 1024}),
    "gemma3": (
        "gemma3_text",
        "Gemma3ForCausalLM",
        {"head_dim": 128, "sliding_window": 1024, "num_hidden_layers": 8, "rope_parameters": GEMMA3_ROPE},
    ),
    "granite": ("granite", "GraniteForCausalLM", {}),
    "phi3": ("phi3", "Phi3ForCausalLM", {"pad_token_id": 0}),
    "phi": ("phi", "PhiForCausalLM", {"partial_rotary_factor": 0.5, "num_key_value_heads": 8}),
    "gpt_neox": ("gpt_neox", "GPTNeoXForCausalLM", {"rotary_pct": 0.25, "num_key_value_heads": 8}),
    "starcoder2": ("starcoder2", "Starcoder2ForCausalLM", {"use_bias": True}),
    "stablelm": ("stablelm", "StableLmForCausalLM", {"use_qkv_bias": True, "layer_norm_eps": 1e-5}),
    "nemotron": ("nemotron", "NemotronForCausalLM", {"norm_eps": 1e-5, "hidden_act": "relu2", "head_dim": 64}),
    "arcee": ("arcee", "ArceeForCausalLM", {"hidden_act": "relu2"}),
    "olmo": ("olmo", "OlmoForCausalLM", {"num_key_value_heads": 8}),
    "olmo2": ("olmo2", "Olmo2ForCausalLM", {}),
    "olmo3": ("olmo3", "Olmo3ForCausalLM", SLIDING),
    "cohere": ("cohere", "CohereForCausalLM", {"use_qk_norm": True, "layer_norm_eps": 1e-5}),
    "cohere2": ("cohere2", "Cohere2ForCausalLM", {**SLIDING, "layer_norm_eps": 1e-5}),
    "glm": ("glm", "GlmForCausalLM", {"head_dim": 64, "attention_bias": True, "pad_token_id": 0}),
    "glm4": ("glm4", "Glm4ForCausalLM", {"head_dim": 64, "attention_bias": True}),
    "smollm3": ("smollm3", "SmolLM3ForCausalLM", {"pad_token_id": 0}),
    "ernie4_5": ("ernie4_5", "Ernie4_5ForCausalLM", {"head_dim": 64, "use_bias": False}),
    "hunyuan": ("hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", {"head_dim": 64, "use_qk_norm": True}),
    "seed_oss": (
        "seed_oss",
        "SeedOssForCausalLM",
        {"head_dim": 64, "attention_bias": True, "attention_out_bias": False},
    ),
    "exaone4": ("exaone4", "Exaone4ForCausalLM", SLIDING),
    "internlm2": ("internlm2", "InternLM2ForCausalLM", {**PLAIN, "bias": False}),
    "internlm3": ("internlm3", "InternLM3ForCausalLM", {**PLAIN, "qkv_bias": True, "bias": False, "head_dim": 64}),
    "mimo": ("mimo", "MiMoForCausalLM", {**PLAIN, "attention_bias": True, "num_nextn_predict_layers": 1}),
    "exaone": (
        "exaone",
        "ExaoneForCausalLM",
        {**PLAIN, "num_layers": 3, "layer_norm_epsilon": 1e-5, "activation_function": "silu"},
    ),
    "minicpm": (
        "minicpm",
        "MiniCPMForCausalLM",
        {**PLAIN, "scale_emb": 1, "dim_model_base": 256, "scale_depth": 1.4},
    ),
    "deepseek": (
        "deepseek",
        "DeepseekForCausalLM",
        {
            **PLAIN,
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 256,
            "n_shared_experts": 2,
            "first_k_dense_replace": 1,
            "norm_topk_prob": True,
            "moe_layer_freq": 1,
        },
    ),
    "flex_olmo": (
        "flex_olmo",
        "FlexOlmoForCausalLM",
        {"num_experts": 8, "num_experts_per_tok": 2, "num_key_value_heads": 8, "pad_token_id": 0, "eos_token_id": 1},
    ),
    "mixtral": ("mixtral", "MixtralForCausalLM", {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "qwen2_moe": (
        "qwen2_moe",
        "Qwen2MoeForCausalLM",
        {**EXPERTS, "shared_expert_intermediate_size": 512, "decoder_sparse_step": 1},
    ),
    "qwen3_moe": (
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        {**EXPERTS, "head_dim": 128, "decoder_sparse_step": 2, "mlp_only_layers": []},
    ),
    "gpt_oss": (
        "gpt_oss",
        "GptOssForCausalLM",
        {
            "head_dim": 64,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "sliding_window": 128,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": YARN,
            "swiglu_limit": 7.0,
            "hidden_act": "silu",
        },
    ),
    "granitemoe": ("granitemoe", "GraniteMoeForCausalLM", {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "granitemoeshared": (
        "granitemoeshared",
        "GraniteMoeSharedForCausalLM",
        {"num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 256},
    ),
    "olmoe": ("olmoe", "OlmoeForCausalLM", {"num_experts": 8, "num_experts_per_tok": 2, "num_key_value_heads": 8}),
    "phimoe": (
        "phimoe",
        "PhiMoEForCausalLM",
        {"num_local_experts": 8, "num_experts_per_tok": 2, "attention_bias": True, "lm_head_bias": True},
    ),
    "glm4_moe": (
        "glm4_moe",
        "Glm4MoeForCausalLM",
        {
            **ROUTED,
            **GROUPS,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "attention_bias": True,
            "use_qk_norm": True,
        },
    ),
    "dots1": (
        "dots1",
        "Dots1ForCausalLM",
        {**ROUTED, **GROUPS, "n_shared_experts": 2, "first_k_dense_replace": 1, "topk_method": "noaux_tc"},
    ),
    "minimax_m2": (
        "minimax_m2",
        "MiniMaxM2ForCausalLM",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "head_dim": 64,
            "use_qk_norm": True,
            "use_routing_bias": True,
            "rotary_dim": 32,
            "hidden_act": "silu",
            "scoring_func": "sigmoid",
        },
    ),
    "ernie4_5_moe": (
        "ernie4_5_moe",
        "Ernie4_5_MoeForCausalLM",
        {
            "head_dim": 64,
            "use_bias": False,
            "moe_num_experts": 8,
            "moe_k": 2,
            "moe_intermediate_size": 256,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 1,
            "moe_layer_interval": 1,
            "moe_layer_end_index": 2,
            "moe_use_aux_free": True,
        },
    ),
    "exaone_moe": (
        "exaone_moe",
        "ExaoneMoEForCausalLM",
        {**EXPERTS, **SLIDING, "num_shared_experts": 1, "first_k_dense_replace": 1, "head_dim": 64},
    ),
    "afmoe": (
        "afmoe",
        "AfmoeForCausalLM",
        {
            **EXPERTS,
            **SLIDING,
            "num_shared_experts": 1,
            "num_dense_layers": 1,
            "head_dim": 64,
            "score_func": "sigmoid",
            "route_norm": True,
            "route_scale": 1.0,
            "mup_enabled": False,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
    "solar_open": (
        "solar_open",
        "SolarOpenForCausalLM",
        {**ROUTED, **GROUPS, "n_shared_experts": 1, "first_k_dense_replace": 0, "partial_rotary_factor": 1.0},
    ),
}


def family(name: str, **more: Any) -> Config:
    """Build one family's config."""
    model_type, architecture, fields = FAMILIES[name]
    return {**BASE, **fields, **more, "model_type": model_type, "architectures": [architecture]}


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
    """Yield every case as the probe reads it."""
    for name in FAMILIES:
        for tp in (1, 2, 4, 8):
            if (name, tp) != ("gpt_oss", 8):  # too narrow a share for that family's kernels
                yield {"id": f"{name}-tp{tp}", "config": family(name), "tp": tp}
    for name, quantization in FORMATS.items():
        for model in ("qwen3", "qwen3_moe", "qwen2_moe"):
            for tp in (1, 2):
                config = family(model, **BLOCKS, moe_intermediate_size=512, quantization_config=quantization)
                yield {"id": f"{model}-{name}-tp{tp}", "config": config, "tp": tp}
    for tp in (1, 2):
        config = family("gpt_oss", quantization_config=MXFP4)
        yield {"id": f"gpt_oss-mxfp4-tp{tp}", "config": config, "tp": tp}
    yield from shares()
    for vocab in (1, 63, 64, 65, 151_936):
        for layers in (1, 7):
            config = family("llama", vocab_size=vocab, num_hidden_layers=layers, num_key_value_heads=1)
            yield {"id": f"llama-vocab{vocab}-layers{layers}", "config": config, "tp": 4}


if __name__ == "__main__":
    for case in cases():
        print(json.dumps(case))
