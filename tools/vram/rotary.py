"""What a model holds beside its parameters: rotary tables, and features kept for every token of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.vram.fields import Config, number

SPACE = 4
"""Multimodal positions: the table reaches four times as far as the context (``layers/rotary_embedding/mrope.py``:
``cache_max_position_num``). Qwen2.5-VL-7B: 128,000 x 4 x 128 x 2 B = 125 MiB."""

_STILL = frozenset({"nemotron_h", "jamba", "opt", "gpt2", "bloom", "mpt"})
"""Families that rotate nothing, by ``model_type`` (learned or no positions, ALiBi, position by state)."""


_PART = {"qwen3_next": 0.25, "qwen3_5_text": 0.25, "qwen3_5_moe_text": 0.25}
"""Part of a head that rotates where neither config nor row says it, by ``model_type`` (transformers 5.19)."""

_SPACED = frozenset(
    {
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "qwen3_vl_moe",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen2_5_omni",
        "glm4v",
        "glm4v_moe",
    }
)
"""Families with multimodal positions, by ``model_type``, where the config's rotary fields are not given."""


def rotary_share(text: Config) -> float:
    """Return the part of a head that rotates, from the text model's fields; 0 where nothing does.

    Source: vLLM 0.32 ``model_executor/layers/rotary_embedding/__init__.py`` (``get_rope``).
    """
    if str(text.get("model_type")) in _STILL or text.get("position_embedding_type") == "nope":
        return 0.0
    head, rotated = text.get("head_dim"), text.get("rotary_dim")
    if isinstance(rotated, int) and isinstance(head, int) and 0 < rotated < head:
        return rotated / head
    parts = _parts(text, _object(text, "rope_parameters"))
    return next((share for share in map(_share, parts) if share), 1.0)


def rotary_reach(text: Config, config: Config) -> int:
    """Return how many times as far as the context a rotary table reaches."""
    places = _object(text, "rope_scaling"), _object(text, "rope_parameters")
    spaced = any("mrope_section" in place for place in places) or str(config.get("model_type")) in _SPACED
    return SPACE if spaced else 1


def token_buffers(config: Config, text: Config) -> int:
    """Return what ``ModelSpec.token_buffers`` says: one hidden vector for each depth whose vision features are added.

    Source: vLLM 0.32 ``model_executor/models/qwen3_vl.py`` (``deepstack_input_embeds``). Qwen3-VL-8B with 16,384 tokens
    a batch: 3 x 4,096 x 16,384 x 2 B = 384 MiB.
    """
    depths = _object(config, "vision_config").get("deepstack_visual_indexes")
    return len(cast("list[Any]", depths)[:64]) * number(text, "hidden_size") if isinstance(depths, list) else 0


def _parts(text: Config, parameters: Config) -> tuple[object, ...]:
    return parameters.get("partial_rotary_factor"), text.get("partial_rotary_factor"), text.get("rotary_pct")


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value <= 1 else None


def _object(config: Config, key: str) -> Config:
    value = config.get(key)
    return cast("Config", value) if isinstance(value, Mapping) else {}
