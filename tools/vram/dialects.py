"""Config dialects: what a family's config.json leaves unsaid. The only place that knows a ``model_type``.

A ``Dialect`` is data; ``tools.vram.architecture`` turns it and a config into layers. Each row was compared to the byte
with the parameters that vLLM 0.32's model code of that family registers (``model_executor/models/``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flag = bool | str
"""A fact of the family, or the name of the config field that states it (absent means no)."""


@dataclass(frozen=True, slots=True)
class Experts:
    """How a family says its mixture of experts.

    Attributes:
        experts, active, width: config fields in order of preference.
        shared_width: field with the shared expert's width; ``shared_count``: one counting shared experts of ``width``.
        dense_first: field with the number of leading dense layers.
        every: field with the step between sparse layers (1 = all).
        default_count: experts where the config is silent.
    """

    experts: tuple[str, ...] = ("num_experts", "num_local_experts", "n_routed_experts")
    active: tuple[str, ...] = ("num_experts_per_tok", "num_experts_per_token")
    width: tuple[str, ...] = ("moe_intermediate_size", "intermediate_size")
    shared_width: str | None = None
    shared_count: str | None = None
    shared_gate: bool = False
    dense_first: str | None = None
    every: str | None = None
    router_bias: Flag = False
    expert_bias: bool = False
    score_bias: Flag = False
    router_bytes: int = 2


@dataclass(frozen=True, slots=True)
class Dialect:
    """What holds for a family whatever its sizes.

    Attributes:
        norms: norm vectors of the hidden size a layer (LayerNorms with a bias count twice).
        sliding: which layers slide where ``layer_types`` is silent: none; ``all`` of them if ``sliding_window`` is set;
            ``pattern`` = every ``sliding_window_pattern``-th layer is full; ``even``; ``switch`` = all from
            ``max_window_layers`` on, if ``use_sliding_window`` says so.
        tied: embeddings are tied where the config is silent.
    """

    norms: int = 2
    qk_norm: Flag = False
    qk_norm_span: Literal["head", "rank", "all"] = "head"
    qk_norm_bias: bool = False
    qkv_bias: Flag = False
    o_bias: Flag = False
    gated: bool = True
    mlp_bias: Flag = False
    sinks: bool = False
    sliding: Literal["none", "all", "pattern", "even", "switch"] = "none"
    pattern: int = 6
    tied: bool = False
    head_dim: int | None = None
    final_norm: bool = True
    final_norm_bias: bool = False
    head_bias: bool = False
    moe: Experts | None = None


_LLAMA = Dialect(qkv_bias="attention_bias", o_bias="attention_bias", mlp_bias="mlp_bias")
_LAYER_NORM = {"norms": 4, "final_norm_bias": True}

DIALECTS: dict[str, Dialect] = {
    "llama": _LLAMA,
    "mistral": Dialect(sliding="all"),
    "qwen2": Dialect(qkv_bias=True, sliding="switch"),
    "qwen3": Dialect(qk_norm=True, qkv_bias="attention_bias", sliding="switch"),
    "gemma": Dialect(tied=True, qkv_bias="attention_bias", o_bias="attention_bias", head_dim=256),
    "gemma2": Dialect(
        norms=4, tied=True, qkv_bias="attention_bias", o_bias="attention_bias", sliding="even", head_dim=256
    ),
    "gemma3_text": Dialect(
        norms=4,
        qk_norm=True,
        tied=True,
        qkv_bias="attention_bias",
        o_bias="attention_bias",
        sliding="pattern",
        head_dim=256,
    ),
    "granite": _LLAMA,
    "mixtral": Dialect(sliding="all", moe=Experts(width=("moe_intermediate_size", "intermediate_size"))),
    "qwen2_moe": Dialect(
        qkv_bias=True,
        sliding="switch",
        moe=Experts(shared_width="shared_expert_intermediate_size", shared_gate=True, every="decoder_sparse_step"),
    ),
    "qwen3_moe": Dialect(qk_norm=True, qkv_bias="attention_bias", moe=Experts(every="decoder_sparse_step")),
    "gpt_oss": Dialect(
        qkv_bias=True,
        o_bias=True,
        sinks=True,
        sliding="even",
        moe=Experts(router_bias=True, expert_bias=True),
    ),
}
