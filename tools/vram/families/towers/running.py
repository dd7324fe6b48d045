"""What a vision encoder takes while it runs, for the profiling run that feeds it as many images as it may get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tools.domain import Encoder
from tools.errors import BadValue
from tools.vram.families.towers import mllama
from tools.vram.families.towers.sizes import PUBLISHED, Sizes
from tools.vram.fields import Config, number

LARGEST_ITEM = {
    "qwen2_vl": 16_384,
    "qwen2_5_vl": 16_384,
    "qwen3_vl": 16_384,
    "qwen3_vl_moe": 16_384,
    "qwen3_5": 16_384,
    "qwen3_5_moe": 16_384,
    "gemma3": 256,
    "mistral3": 3_025,
}
"""Tokens of the largest image by family: pixels the preprocessor lets through over pixels a token (12.8 million over 28
x 28 for Qwen2-VL, 16.8 over 32 x 32 for Qwen3-VL), 1540 / 28 squared for Pixtral, a fixed count for Gemma 3."""

GEMMA_TOKENS = 256


def encoder_of(config: Config, defaults: Sizes) -> Encoder | None:
    """Describe the encoder of a family whose largest image is known.

    A patch has four vectors of the encoder's width alive in a layer, and two of its feed-forward width. Qwen3-VL's
    16,384 tokens of four patches each: 65,536 x (4 x 1,152 + 2 x 4,304) x 2 B = 1.61 GiB (a start-up log of
    Qwen3-VL-8B: 1.51); Gemma 3's 32 images at 8,192 tokens: 3.2 GiB (logs: 1.7 to 3.7).

    Args:
        config: the whole ``config.json``.
        defaults: the family's sizes where the config is silent.
    """
    kind, vision = str(config.get("model_type")), config.get("vision_config")
    if kind == "mllama":
        return mllama.encoder_of(config)
    if kind not in LARGEST_ITEM:
        return None
    published = PUBLISHED.get(kind, ({},))[0]
    sizes = {**defaults, **(cast("Config", vision) if isinstance(vision, Mapping) else published)}
    try:
        width = number(sizes, "embed_dim", "hidden_size") if kind == "qwen2_vl" else number(sizes, "hidden_size")
        inner = number(sizes, "intermediate_size", default=4 * width)
        patches = _patches_a_token(config, sizes, kind)
    except BadValue:
        return None
    return Encoder(patches * (4 * width + 2 * inner), LARGEST_ITEM[kind])


def _patches_a_token(config: Config, sizes: Config, kind: str) -> int:
    if kind == "gemma3":
        image, patch = number(sizes, "image_size"), number(sizes, "patch_size")
        return max(1, (image // patch) ** 2 // number(config, "mm_tokens_per_image", default=GEMMA_TOKENS))
    return number({**sizes, **config} if kind == "mistral3" else sizes, "spatial_merge_size", default=2) ** 2
