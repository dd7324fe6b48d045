"""What generated configs have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

Families = Mapping[str, tuple[str, str, Config]]
"""Name of a case to model type, architecture and the fields beside ``BASE``."""


def config_of(family: tuple[str, str, Config], **more: Any) -> Config:
    """Build one family's config."""
    model_type, architecture, fields = family
    return {**BASE, **fields, **more, "model_type": model_type, "architectures": [architecture]}


def over_ranks(families: Families, ranks: tuple[int, ...] = (1, 2, 4, 8)) -> Iterator[dict[str, Any]]:
    """Yield each family at each number of ranks."""
    for name, family in families.items():
        for tp in ranks:
            yield {"id": f"{name}-tp{tp}", "config": config_of(family), "tp": tp}
