"""Gemma 1 to 4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import Config, over_ranks

GEMMA3_ROPE = {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("sliding_attention", "full_attention")}

FAMILIES: dict[str, tuple[str, str, Config]] = {
    "gemma": ("gemma", "GemmaForCausalLM", {"head_dim": 128}),
    "gemma2": ("gemma2", "Gemma2ForCausalLM", {"head_dim": 128, "sliding_window": 1024}),
    "gemma3": (
        "gemma3_text",
        "Gemma3ForCausalLM",
        {"head_dim": 128, "sliding_window": 1024, "num_hidden_layers": 8, "rope_parameters": GEMMA3_ROPE},
    ),
}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
