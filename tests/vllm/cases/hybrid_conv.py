"""Short convolutions beside attention."""

from __future__ import annotations

from cases.parts import ROPE, Config

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

FAMILIES: dict[str, tuple[str, str, Config]] = {
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
}
