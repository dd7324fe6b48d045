"""Linear attention beside attention: gated delta nets, Kimi delta attention, lightning attention."""

from __future__ import annotations

from cases.parts import GROUPS, PLAIN, ROPE, Config

KINDS: Config = {"layer_types": ["linear_attention", "linear_attention", "full_attention"]}
DELTA: Config = {
    **ROPE,
    **KINDS,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "linear_num_key_heads": 8,
    "linear_num_value_heads": 16,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 48,
    "linear_conv_kernel_dim": 4,
}
SPARSE: Config = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 224,
    "shared_expert_intermediate_size": 352,
}
KIMI: Config = {
    **PLAIN,
    "num_hidden_layers": 4,
    "num_key_value_heads": 8,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "mla_use_nope": True,
    "linear_attn_config": {
        "kda_layers": [1, 2, 4],
        "full_attn_layers": [3],
        "head_dim": 72,
        "num_heads": 16,
        "short_conv_kernel_size": 4,
    },
    "num_experts": 8,
    "num_experts_per_token": 2,
    "num_shared_experts": 1,
    "moe_intermediate_size": 1088,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "moe_router_activation_func": "sigmoid",
    "num_expert_group": 1,
    "topk_group": 1,
    "routed_scaling_factor": 1.0,
    "use_grouped_topk": True,
}
KIMI_CROSSED: Config = {
    **KIMI,
    "linear_attn_config": {**KIMI["linear_attn_config"], "use_full_rank_gate": True, "gate_lower_bound": -5.0},
    "q_lora_rank": 160,
    "mla_use_output_gate": True,
    "attn_res_block_size": 2,
    "routed_expert_hidden_size": 192,
    "latent_moe_use_norm": True,
    "num_shared_experts": 2,
}
LING: Config = {
    **PLAIN,
    **GROUPS,
    "num_hidden_layers": 5,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "layer_group_size": 2,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 160,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "use_bias": False,
    "use_qkv_bias": True,
    "use_qk_norm": True,
    "group_norm_size": 8,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "num_shared_experts": 2,
    "moe_intermediate_size": 224,
    "moe_shared_expert_intermediate_size": 352,
    "moe_router_enable_expert_bias": True,
    "score_function": "sigmoid",
    "rope_theta": 10000.0,
}
LING3: Config = {
    **LING,
    "short_conv_kernel_size": 4,
    "no_kda_lora": True,
    "gated_attention_proj_granularity_type": "head_wise",
}

FAMILIES: dict[str, tuple[str, str, Config]] = {
    "qwen3_next": ("qwen3_next", "Qwen3NextForCausalLM", {**DELTA, **SPARSE, "decoder_sparse_step": 1}),
    "qwen3_next_dense_first": (
        "qwen3_next",
        "Qwen3NextForCausalLM",
        {**DELTA, **SPARSE, "decoder_sparse_step": 1, "mlp_only_layers": [0], "attn_output_gate": False},
    ),
    "qwen3_5": ("qwen3_5_text", "Qwen3_5ForCausalLM", {**DELTA, "mamba_ssm_dtype": "float32"}),
    "qwen3_5_plain_state": ("qwen3_5_text", "Qwen3_5ForCausalLM", {**DELTA, "tie_word_embeddings": True}),
    "qwen3_5_moe": (
        "qwen3_5_moe_text",
        "Qwen3_5MoeForCausalLM",
        {**DELTA, **SPARSE, "mamba_ssm_dtype": "float32"},
    ),
    "olmo_hybrid": (
        "olmo_hybrid",
        "OlmoHybridForCausalLM",
        {**DELTA, "head_dim": None, "linear_num_value_heads": 8, "tie_word_embeddings": False},
    ),
    "kimi_linear": ("kimi_linear", "KimiLinearForCausalLM", KIMI),
    "kimi_linear_crossed": ("kimi_linear", "KimiLinearForCausalLM", KIMI_CROSSED),
    "kimi_linear_dense": ("kimi_linear", "KimiLinearForCausalLM", {**KIMI, "num_experts": None}),
    "ling": ("bailing_hybrid", "BailingMoeV2_5ForCausalLM", LING),
    "ling_one_group": (
        "bailing_hybrid",
        "BailingMoeV2_5ForCausalLM",
        {
            **LING,
            "group_norm_size": 1,
            "q_lora_rank": None,
            "use_qk_norm": False,
            "use_qkv_bias": False,
            "moe_router_enable_expert_bias": False,
            "score_function": "softmax",
            "router_dtype": "bf16",
            "num_shared_experts": 0,
        },
    ),
    "ling3": ("bailing_hybrid", "BailingMoeV3ForCausalLM", LING3),
    "ling3_wide_gate": (
        "bailing_hybrid",
        "BailingMoeV3ForCausalLM",
        {**LING3, "gated_attention_proj_granularity_type": "element_wise", "layer_group_size": 3},
    ),
}
