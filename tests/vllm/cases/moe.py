"""Mixtures of experts whose attention is plain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import EXPERTS, GROUPS, PLAIN, ROUTED, SLIDING, Config, over_ranks

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


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group; a share of gpt-oss in eight is too narrow for its kernels."""
    yield from (case for case in over_ranks(FAMILIES) if case["id"] != "gpt_oss-tp8")
