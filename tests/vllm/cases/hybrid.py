"""Linear attention, Mamba and short convolutions beside attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import formats
from cases.parts import GROUPS, PLAIN, ROPE, Config, config_of, over_ranks

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
NEMOTRON: Config = {
    **PLAIN,
    **GROUPS,
    "num_hidden_layers": 5,
    "hybrid_override_pattern": "M-M*E",
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 1056,
    "mamba_num_heads": 24,
    "mamba_head_dim": 40,
    "ssm_state_size": 48,
    "n_groups": 8,
    "conv_kernel": 4,
    "use_conv_bias": True,
    "use_bias": False,
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "mlp_hidden_act": "relu2",
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 336,
    "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 448,
    "chunk_size": 128,
}
NEMOTRON_WORDS: Config = {
    **{key: value for key, value in NEMOTRON.items() if key != "hybrid_override_pattern"},
    "layers_block_type": ["mamba", "moe", "attention", "mlp", "mamba"],
}
FALCON: Config = {
    **PLAIN,
    "head_dim": 64,
    "mamba_d_ssm": 960,
    "mamba_n_heads": 24,
    "mamba_d_head": 40,
    "mamba_d_state": 48,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    "mamba_rms_norm": False,
    "mlp_multipliers": [1.0, 1.0],
    "ssm_multipliers": [1.0, 1.0, 1.0, 1.0, 1.0],
}
GRANITE: Config = {
    **PLAIN,
    "layer_types": ["mamba", "attention", "mamba"],
    "intermediate_size": 224,
    "mamba_n_heads": 16,
    "mamba_d_head": 64,
    "mamba_d_state": 48,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "shared_intermediate_size": 320,
    "position_embedding_type": "nope",
    "embedding_multiplier": 1,
    "residual_multiplier": 1,
    "attention_multiplier": 1,
    "logits_scaling": 1,
    "tie_word_embeddings": True,
}
MAMBA2: Config = {
    "num_heads": 16,
    "head_dim": 64,
    "state_size": 48,
    "n_groups": 1,
    "conv_kernel": 4,
    "expand": 2,
    "layer_norm_epsilon": 1e-5,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
MAMBA: Config = {
    "hidden_size": 528,
    "state_size": 24,
    "conv_kernel": 4,
    "expand": 2,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "time_step_rank": "auto",
    "layer_norm_epsilon": 1e-5,
}
JAMBA: Config = {
    **PLAIN,
    "num_hidden_layers": 5,
    "attn_layer_period": 4,
    "attn_layer_offset": 2,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "mamba_d_state": 24,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_dt_rank": 40,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}
LFM2: Config = {
    **ROPE,
    "layer_types": ["conv", "full_attention", "conv"],
    "conv_L_cache": 3,
    "conv_bias": False,
    "norm_eps": 1e-5,
}
LFM2_DENSE: Config = {
    **LFM2,
    "conv_dim": 512,
    "block_dim": 512,
    "block_ff_dim": 1500,
    "block_multiple_of": 256,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True,
}
LFM2_SPARSE: Config = {
    **LFM2,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 224,
    "num_dense_layers": 1,
    "use_expert_bias": True,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
}
ZAMBA: Config = {
    **PLAIN,
    "num_hidden_layers": 7,
    "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid", "mamba", "hybrid", "mamba"],
    "num_key_value_heads": 8,
    "intermediate_size": 1056,
    "mamba_d_state": 48,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_ngroups": 1,
    "n_mamba_heads": 16,
    "num_mem_blocks": 2,
    "use_shared_attention_adapter": True,
    "adapter_rank": 40,
    "use_mem_rope": True,
    "hidden_act": "gelu",
    "tie_word_embeddings": True,
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
    "nemotron_h": ("nemotron_h", "NemotronHForCausalLM", NEMOTRON),
    "nemotron_h_one_group": (
        "nemotron_h",
        "NemotronHForCausalLM",
        {**NEMOTRON, "n_groups": 1, "n_shared_experts": 2, "use_bias": True, "mlp_bias": True},
    ),
    "nemotron_h_latent": (
        "nemotron_h",
        "NemotronHForCausalLM",
        {**NEMOTRON_WORDS, "moe_latent_size": 192, "mamba_ssm_cache_dtype": "float16", "use_conv_bias": False},
    ),
    "falcon_h1": ("falcon_h1", "FalconH1ForCausalLM", FALCON),
    "falcon_h1_normed": (
        "falcon_h1",
        "FalconH1ForCausalLM",
        {
            **FALCON,
            "mamba_rms_norm": True,
            "mamba_d_ssm": None,
            "mamba_n_heads": 16,
            "mamba_d_head": 64,
            "mamba_n_groups": 8,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    "granitemoehybrid": ("granitemoehybrid", "GraniteMoeHybridForCausalLM", GRANITE),
    "granitemoehybrid_dense": (
        "granitemoehybrid",
        "GraniteMoeHybridForCausalLM",
        {**GRANITE, "num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "rope"},
    ),
    "granitemoehybrid_unshared": (
        "granitemoehybrid",
        "GraniteMoeHybridForCausalLM",
        {**GRANITE, "shared_intermediate_size": 0, "tie_word_embeddings": False},
    ),
    "mamba2": ("mamba2", "Mamba2ForCausalLM", MAMBA2),
    "mamba": ("mamba", "MambaForCausalLM", {**MAMBA, "residual_in_fp32": True}),
    "falcon_mamba": ("falcon_mamba", "FalconMambaForCausalLM", {**MAMBA, "tie_word_embeddings": False}),
    "jamba": ("jamba", "JambaForCausalLM", JAMBA),
    "jamba_dense": (
        "jamba",
        "JambaForCausalLM",
        {**JAMBA, "num_experts": 1, "num_experts_per_tok": 1, "mamba_dt_rank": "auto", "mamba_proj_bias": True},
    ),
    "lfm2": ("lfm2", "Lfm2ForCausalLM", LFM2_DENSE),
    "lfm2_wide": (
        "lfm2",
        "Lfm2ForCausalLM",
        {**LFM2_DENSE, "block_ffn_dim_multiplier": 1.25, "conv_L_cache": 5, "conv_bias": True},
    ),
    "lfm2_moe": ("lfm2_moe", "Lfm2MoeForCausalLM", LFM2_SPARSE),
    "lfm2_moe_sparse": (
        "lfm2_moe",
        "Lfm2MoeForCausalLM",
        {**LFM2_SPARSE, "num_dense_layers": 0, "use_expert_bias": False},
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
    "zamba2": ("zamba2", "Zamba2ForCausalLM", ZAMBA),
    "zamba2_plain": (
        "zamba2",
        "Zamba2ForCausalLM",
        {**ZAMBA, "num_mem_blocks": 1, "use_shared_attention_adapter": False, "add_bias_linear": True},
    ),
}

WHOLE: Config = {
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_num_value_heads": 16,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "moe_shared_expert_intermediate_size": 512,
    "shared_intermediate_size": 512,
    "mamba_num_heads": 16,
    "mamba_n_heads": 16,
    "mamba_d_ssm": 1024,
    "mamba_head_dim": 64,
    "mamba_d_head": 64,
    "mamba_d_state": 64,
    "ssm_state_size": 64,
    "moe_latent_size": 256,
    "block_auto_adjust_ff_dim": False,
    "block_ff_dim": 1024,
    "intermediate_size": 1024,
    "adapter_rank": 128,
}
"""Sizes that most formats' blocks and groups divide among two ranks."""

STORED = (
    "qwen3_next",
    "qwen3_5",
    "qwen3_5_moe",
    "nemotron_h",
    "nemotron_h_latent",
    "falcon_h1",
    "granitemoehybrid",
    "jamba",
    "lfm2",
    "lfm2_moe",
    "olmo_hybrid",
)

LAYOUTS = (
    "fp8_tensor",
    "fp8_static",
    "fp8_block",
    "gptq4_128",
    "gptq4_-1",
    "gptq8_32",
    "awq_128",
    "w4a16_32",
    "w4a16_channel",
    "w4a16_asymmetric",
    "int8",
    "fp8_channel",
    "fp8_tensor_static",
    "fp8_blocks",
    "nvfp4a16",
    "modelopt_fp8",
    "modelopt_nvfp4",
    "modelopt_mxfp8",
    "mxfp8",
    "rounded",
    "rounded_awq",
    "rounded_fp8",
    "quark_fp8",
)
"""Formats that name no modules, or only such as nearly every family here has."""

NAMED_OTHERWISE = {("lfm2_moe", "modelopt_nvfp4")}
"""Where a format names modules (``mlp.gate``) that the family calls otherwise."""


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
    for name in STORED:
        fields = {key: value for key, value in WHOLE.items() if key in FAMILIES[name][2] or key == "intermediate_size"}
        for layout in LAYOUTS:
            for tp in (1, 2) if (name, layout) not in NAMED_OTHERWISE else ():
                config = config_of(FAMILIES[name], **fields, quantization_config=formats.FORMATS[layout])
                yield {"id": f"{name}-{layout}-tp{tp}", "config": config, "tp": tp}
