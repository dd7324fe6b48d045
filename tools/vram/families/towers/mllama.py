"""Llama 3.2 Vision's tower: tiles of an image with their places, and layers that cross attention reads.

Source: vLLM 0.6.6 and 0.9 ``model_executor/models/mllama.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.domain import Encoder, Linear
from tools.errors import BadValue
from tools.vram.families.towers.parts import Block, Config, blocks, column, numbers, table, vector
from tools.vram.fields import number

ALIVE = 18.7
"""Vectors of the tower's width alive for each patch: those kept of five layers, their copy for cross attention, and a
feed-forward block at work (0.6.6: 36.63 GiB for 128 images of 4 tiles of 1,601 patches)."""

SPECIAL_TOKENS = 8
"""Rows of the embeddings beyond the vocabulary, for images."""

_BLOCK = Block("self_attn.qkv_proj", "self_attn.o_proj", "mlp.fc1", "mlp.fc2", attention_biased=False)
_GATED = _BLOCK._replace(extra=2)


def mllama(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """Tables of places by aspect ratio, whole on each rank, 32 layers and 8 gated ones, one projection."""
    width, inner, channels = numbers(vision, "hidden_size", "intermediate_size", "num_channels")
    depth, last, tiles = numbers(vision, "num_hidden_layers", "num_global_layers", "max_num_tiles")
    patch, ratios = number(vision, "patch_size"), _ratios(vision) + 1
    path, places = "vision_model", _patches(vision)
    return [
        column(f"{path}.patch_embedding", width, channels * patch * patch, plain=True),
        table(f"{path}.gated_positional_embedding", places + 1, width),
        table(f"{path}.gated_positional_embedding.tile_embedding", ratios, tiles * places * width),
        table(f"{path}.pre_tile_positional_embedding", ratios, tiles * width),
        table(f"{path}.post_tile_positional_embedding", ratios, tiles * width),
        table("language_model.model.embed_tokens.special", SPECIAL_TOKENS, hidden),
        vector(f"{path}.gates", 3),
        vector(f"{path}.layernorms", 4 * width),
        *blocks(_BLOCK, f"{path}.transformer.layers", depth, width, inner),
        *blocks(_GATED, f"{path}.global_transformer.layers", last, width, inner),
        column("multi_modal_projector", hidden, number(vision, "vision_output_dim"), bias=True),
    ]


def encoder_of(config: Config) -> Encoder | None:
    """Describe the tower at work: it makes a token of every patch of every tile, for each sequence."""
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        return None
    sizes = cast("Config", vision)
    try:
        tokens = number(sizes, "max_num_tiles") * _patches(sizes)
        return Encoder(round(ALIVE * number(sizes, "hidden_size")), tokens, each_sequence=True)
    except BadValue:
        return None


def _patches(vision: Config) -> int:
    image, patch = numbers(vision, "image_size", "patch_size")
    return (image // patch) ** 2 + 1


def _ratios(vision: Config) -> int:
    said = vision.get("supported_aspect_ratios")
    return len(cast("list[Any]", said)) if isinstance(said, list) else 8
