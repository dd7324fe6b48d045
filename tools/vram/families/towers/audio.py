"""Audio towers: what a rank holds of them."""

from __future__ import annotations

from typing import Any, cast

from tools.domain import Linear
from tools.vram.families.towers.parts import Config, numbers, vector, whole
from tools.vram.fields import number


def gemma4(audio: Config, hidden: int, *, plain: bool) -> list[Linear]:
    """Gemma 4's conformer, of transformers' own code: whole on each rank.

    Args:
        audio: its config.
        hidden: the text model's hidden size.
        plain: the engine quantises none of the model's towers.
    """
    width, depth, heads, kernel = numbers(
        audio, "hidden_size", "num_hidden_layers", "num_attention_heads", "conv_kernel_size"
    )
    out, layer, path = number(audio, "output_proj_dims"), "audio_tower.layers.0.", "audio_tower"
    said = audio.get("subsampling_conv_channels")
    pair = cast("list[Any]", said) if isinstance(said, list) and len(cast("list[Any]", said)) == 2 else [128, 32]
    first, second = (number({"channels": channels}, "channels") for channels in pair)
    size = {f"feed_forward{n}.ffw_layer_1.linear": (4 * width, width) for n in (1, 2)}
    size |= {f"feed_forward{n}.ffw_layer_2.linear": (width, 4 * width) for n in (1, 2)}
    size |= {f"self_attn.{name}.linear": (width, width) for name in ("q_proj", "k_proj", "v_proj", "post")}
    size |= {"self_attn.relative_k_proj": (width, width), "lconv1d.linear_end.linear": (width, width)}
    size |= {"lconv1d.linear_start.linear": (2 * width, width)}
    return [
        vector(f"{path}.subsample_conv_projection", 9 * first + first + 9 * first * second + second),
        whole(f"{path}.subsample_conv_projection.input_proj_linear", width, first // 4 * second, plain=plain),
        *(whole(layer + name, *shape, plain=plain, times=depth) for name, shape in size.items()),
        vector(layer + "rest", (9 + kernel) * width + width // heads, depth),
        whole(f"{path}.output_proj", out, width, bias=True, plain=plain),
        whole("embed_audio.embedding_projection", hidden, out, plain=plain),
    ]
