"""Gemma 1 to 4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import Config, over_ranks

KINDS = ["sliding_attention", "sliding_attention", "full_attention"] * 2
GEMMA3_ROPE = {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("sliding_attention", "full_attention")}

GEMMA4: Config = {
    "num_hidden_layers": 6,
    "layer_types": KINDS,
    "head_dim": 64,
    "global_head_dim": 128,
    "sliding_window": 1024,
    "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": 1999,
    "rope_parameters": {
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    },
}
FEWER: Config = {"attention_k_eq_v": True, "num_global_key_value_heads": 2}

FAMILIES: dict[str, tuple[str, str, Config]] = {
    "gemma": ("gemma", "GemmaForCausalLM", {"head_dim": 128}),
    "gemma2": ("gemma2", "Gemma2ForCausalLM", {"head_dim": 128, "sliding_window": 1024}),
    "gemma3": (
        "gemma3_text",
        "Gemma3ForCausalLM",
        {"head_dim": 128, "sliding_window": 1024, "num_hidden_layers": 8, "rope_parameters": GEMMA3_ROPE},
    ),
    "gemma3n": (
        "gemma3n_text",
        "Gemma3nForCausalLM",
        {
            "num_hidden_layers": 6,
            "layer_types": KINDS,
            "intermediate_size": [1024] * 6,
            "activation_sparsity_pattern": [0.0] * 6,
            "vocab_size_per_layer_input": 1983,
            "hidden_size_per_layer_input": 32,
            "num_kv_shared_layers": 2,
            "head_dim": 64,
            "sliding_window": 1024,
            "altup_num_inputs": 3,
            "laurel_rank": 16,
            "rope_parameters": GEMMA3_ROPE,
        },
    ),
    "gemma4": ("gemma4_text", "Gemma4ForCausalLM", GEMMA4),
    "gemma4_k_is_v": ("gemma4_text", "Gemma4ForCausalLM", {**GEMMA4, **FEWER}),
    "gemma4_moe": (
        "gemma4_text",
        "Gemma4ForCausalLM",
        {
            **GEMMA4,
            **FEWER,
            "enable_moe_block": True,
            "num_experts": 8,
            "top_k_experts": 2,
            "moe_intermediate_size": 256,
        },
    ),
    "gemma4_shared": (
        "gemma4_text",
        "Gemma4ForCausalLM",
        {**GEMMA4, "hidden_size_per_layer_input": 32, "num_kv_shared_layers": 3, "use_double_wide_mlp": True},
    ),
    "vaultgemma": (
        "vaultgemma",
        "VaultGemmaForCausalLM",
        {"head_dim": 64, "sliding_window": 1024, "query_pre_attn_scalar": 64},
    ),
}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
