"""Blocks, groups and types of the cache: patterns of layers, flags, pipeline stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import BASE, ROPE, Config

FULL, SLIDING = "full_attention", "sliding_attention"
TYPES = (
    "fp8",
    "fp8_e5m2",
    "int8_per_token_head",
    "fp8_per_token_head",
    "int4_per_token_head",
    "turboquant_k8v4",
    "turboquant_4bit_nc",
    "turboquant_k3v4_nc",
    "turboquant_3bit_nc",
)
PATTERNS = ((1, 1), (1, 5), (2, 3), (3, 4), (4, 3), (5, 8), (7, 2), (10, 52), (12, 13))
"""Layers with full attention and with a window."""
MLA: Config = {
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "num_key_value_heads": 8,
    "kv_lora_rank": 512,
    "q_lora_rank": 256,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
}
STATES: Config = {
    "model_type": "qwen3_next",
    "architectures": ["Qwen3NextForCausalLM"],
    "num_key_value_heads": 2,
    "head_dim": 128,
    "linear_num_key_heads": 8,
    "linear_num_value_heads": 16,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "shared_expert_intermediate_size": 256,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
    "partial_rotary_factor": 0.25,
}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from _plain()
    yield from _windows()
    yield from _latents()
    yield from _states()


def _config(layers: int = 4, **fields: Any) -> Config:
    base = {**BASE, **ROPE, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 64}
    return {**base, "max_position_embeddings": 200_000, "num_hidden_layers": layers, **fields}


def _plain() -> Iterator[dict[str, Any]]:
    for name in TYPES:
        for layers, head in ((3, 64), (7, 128)):
            yield {"id": f"type-{name}-{layers}", "config": _config(layers, head_dim=head), "kv_dtype": name}
    for size in (32, 48, 64, 256):
        yield {"id": f"block-{size}", "config": _config(), "block_size": size, "max_model_len": 1000}
    for length in (1, 15, 16, 17, 4097, 199_999):
        yield {"id": f"length-{length}", "config": _config(), "max_model_len": length, "max_num_batched_tokens": 2048}
    for stages in (2, 3, 4):
        yield {"id": f"stages-{stages}", "config": _config(11), "pp": stages}
    yield {"id": "small", "config": _config(), "pool_bytes": 1 << 26}


def _windows() -> Iterator[dict[str, Any]]:
    for full, sliding in PATTERNS:
        fields = {"model_type": "olmo3", "architectures": ["Olmo3ForCausalLM"], "sliding_window": 1024}
        order = [
            FULL if i * full // (full + sliding) != (i + 1) * full // (full + sliding) else SLIDING
            for i in range(full + sliding)
        ]
        config = _config(full + sliding, **fields, layer_types=order)
        case = {"id": f"windows-{full}-{sliding}", "config": config, "max_model_len": 30_001}
        yield case
        yield {**case, "id": f"{case['id']}-batch", "max_num_batched_tokens": 777, "max_num_seqs": 3}
        yield {**case, "id": f"{case['id']}-apart", "arguments": {"disable_hybrid_kv_cache_manager": True}}
        yield {**case, "id": f"{case['id']}-fp8", "kv_dtype": "fp8", "tp": 8}
        if full + sliding >= 7:
            yield {**case, "id": f"{case['id']}-stages", "pp": 3}
    yield {
        "id": "windows-only",
        "config": _config(5, model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=500),
        "max_model_len": 3000,
    }


def _latents() -> Iterator[dict[str, Any]]:
    for capability in ("8.0", "9.0", "10.0"):
        for name in ("auto", "fp8"):
            if (capability, name) != ("8.0", "fp8"):
                config = _config(5, **MLA)
                yield {
                    "id": f"latent-{capability}-{name}",
                    "config": config,
                    "kv_dtype": name,
                    "capability": capability,
                }
    yield {"id": "latent-stages", "config": _config(7, **MLA), "pp": 2, "tp": 4}


def _states() -> Iterator[dict[str, Any]]:
    for layers in (4, 7, 12):
        case = {"id": f"states-{layers}", "config": _config(layers, **STATES), "max_model_len": 50_000}
        yield case
        yield {**case, "id": f"{case['id']}-off", "arguments": {"enable_prefix_caching": False}}
        yield {**case, "id": f"{case['id']}-fp8", "kv_dtype": "fp8", "tp": 2}
        yield {**case, "id": f"{case['id']}-block", "block_size": 128}
        yield {**case, "id": f"{case['id']}-stages", "pp": 2}
