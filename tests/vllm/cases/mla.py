"""Latent attention: DeepSeek V2 to V4, Kimi K2, GLM-5 and the like, in several formats and cache types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import formats
from cases.parts import ROPE, Config, config_of, over_ranks

PLAIN: Config = {
    **ROPE,
    "hidden_act": "silu",
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "tie_word_embeddings": False,
}
LATENT: Config = {
    **PLAIN,
    "q_lora_rank": 256,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
"""Heads of the sizes that kernels take; the rest is small."""
EXPERTS: Config = {
    "n_routed_experts": 24,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 256,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "n_group": 2,
    "topk_group": 1,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1,
}
WIDE_HEADS: Config = {"qk_nope_head_dim": 192, "v_head_dim": 256}
SPARSE: Config = {"index_head_dim": 128, "index_n_heads": 32, "index_topk": 2048}
DEEPSEEK: Config = {**LATENT, **EXPERTS}
V2: Config = {**DEEPSEEK, "q_lora_rank": None, "topk_method": "greedy", "scoring_func": "softmax"}
GLM_5: Config = {**DEEPSEEK, **WIDE_HEADS, **SPARSE, "num_hidden_layers": 9, "index_topk_freq": 4}
LONGCAT: Config = {
    **LATENT,
    "num_layers": 3,
    "num_hidden_layers": 6,
    "ffn_hidden_size": 1024,
    "expert_ffn_hidden_size": 256,
    "n_routed_experts": 24,
    "moe_topk": 3,
    "zero_expert_num": 8,
    "zero_expert_type": "identity",
    "routed_scaling_factor": 6.0,
    "mla_scale_q_lora": True,
    "mla_scale_kv_lora": True,
}
MINICPM3: Config = {
    **PLAIN,
    "q_lora_rank": 256,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "scale_emb": 12,
    "dim_model_base": 256,
    "scale_depth": 1.4,
    "tie_word_embeddings": True,
}
PANGU: Config = {
    **{name: value for name, value in DEEPSEEK.items() if name != "topk_method"},
    "sandwich_norm": True,
    "router_enable_expert_bias": True,
}

FAMILIES: dict[str, tuple[str, str, Config]] = {
    "deepseek_v2": ("deepseek_v2", "DeepseekV2ForCausalLM", V2),
    "deepseek_v2_every_other": ("deepseek_v2", "DeepseekV2ForCausalLM", {**V2, "moe_layer_freq": 2}),
    "deepseek_v3": ("deepseek_v3", "DeepseekV3ForCausalLM", DEEPSEEK),
    "deepseek_v32": ("deepseek_v32", "DeepseekV32ForCausalLM", {**DEEPSEEK, **SPARSE}),
    "kimi_k2": ("kimi_k2", "DeepseekV3ForCausalLM", {**DEEPSEEK, "n_group": 1, "n_shared_experts": 1}),
    "glm5": ("glm_moe_dsa", "GlmMoeDsaForCausalLM", {**GLM_5, "index_skip_topk_offset": 3}),
    "glm5_pattern": ("glm_moe_dsa", "GlmMoeDsaForCausalLM", {**GLM_5, "index_topk_pattern": "FSSFSSSSS"}),
    "glm4_moe_lite": ("glm4_moe_lite", "Glm4MoeLiteForCausalLM", {**DEEPSEEK, **WIDE_HEADS, "n_group": 1}),
    "axk1": ("axk1", "AXK1ForCausalLM", {**DEEPSEEK, "n_group": 1}),
    "openpangu": ("pangu_ultra_moe", "PanguUltraMoEForCausalLM", PANGU),
    "longcat_flash": ("longcat_flash", "LongcatFlashForCausalLM", LONGCAT),
    "minicpm3": ("minicpm3", "MiniCPM3ForCausalLM", MINICPM3),
    "youtu": ("youtu", "YoutuForCausalLM", {**LATENT, "tie_word_embeddings": True}),
}

V4: Config = {
    **PLAIN,
    "num_hidden_layers": 6,
    "num_key_value_heads": 1,
    "head_dim": 512,
    "hc_mult": 4,
    "hc_eps": 1e-6,
    "hc_sinkhorn_iters": 20,
    "moe_intermediate_size": 256,
    "n_routed_experts": 24,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 3,
    "num_hash_layers": 2,
    "o_groups": 8,
    "o_lora_rank": 128,
    "q_lora_rank": 256,
    "qk_rope_head_dim": 64,
    **SPARSE,
    "index_topk": 512,
    "routed_scaling_factor": 1.5,
    "scoring_func": "sqrtsoftplus",
    "sliding_window": 128,
    "swiglu_limit": 10.0,
    "topk_method": "noaux_tc",
    "tie_word_embeddings": False,
    "rope_theta": 10000,
    "compress_rope_theta": 160000,
    "compress_ratios": [0, 0, 4, 128, 4, 128, 0],
}
FP8: Config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
CHOSEN = ("fp8_tensor", "fp8_static", "fp8_block", "gptq4_64", "awq_64", "w4a16_32", "int8", "fp8_channel", "nvfp4a16")
"""Formats that a family is tried in."""


def v4(**more: Any) -> Config:
    """Build a DeepSeek-V4 config."""
    return config_of(("deepseek_v4", "DeepseekV4ForCausalLM", V4), quantization_config=FP8, **more)


def _formats() -> Iterator[dict[str, Any]]:
    for name in ("deepseek_v2", "deepseek_v3", "glm5", "longcat_flash", "minicpm3"):
        for layout in CHOSEN:
            for tp in (1, 2):
                config = config_of(FAMILIES[name], quantization_config=formats.FORMATS[layout])
                yield {"id": f"{name}-{layout}-tp{tp}", "config": config, "tp": tp}


def _cache_types() -> Iterator[dict[str, Any]]:
    for name in ("deepseek_v3", "deepseek_v32", "glm5"):
        for capability in ("9.0", "10.0"):
            case = {"config": config_of(FAMILIES[name]), "capability": capability, "tp": 2}
            yield {"id": f"{name}-{capability}", **case}
            yield {"id": f"{name}-{capability}-fp8", **case, "kv_dtype": "fp8"}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
    yield from _formats()
    yield from _cache_types()
    for dtype in ("fp4", "fp8"):
        for tp in (1, 2, 4, 8):
            yield {"id": f"deepseek_v4-{dtype}-tp{tp}", "config": v4(expert_dtype=dtype), "tp": tp}
    yield {"id": "deepseek_v4-long", "config": v4(max_position_embeddings=131072), "max_model_len": 131072}
