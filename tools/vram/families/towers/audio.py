"""Audio towers: what a rank holds of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from tools.domain import Linear
from tools.vram.families.towers.parts import Block, Config, blocks, numbers, table, vector, whole
from tools.vram.fields import MAX_LAYERS, number


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


_WHISPER_BLOCK = Block("self_attn.qkv_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")


def whisper(audio: Config, path: str, *, position_bytes: int = 0) -> list[Linear]:
    """Whisper's encoder, shared out among ranks (``whisper.py:WhisperEncoder``).

    Args:
        audio: its config.
        path: module path.
        position_bytes: bytes of an element of the table of positions where not the model's type.
    """
    width, depth, inner, positions = _sizes(audio)
    places = table(f"{path}.embed_positions", positions, width)
    return [
        *_convolutions(audio, path),
        replace(places, element_bytes=position_bytes),
        *blocks(_WHISPER_BLOCK, f"{path}.layers", depth, width, inner),
        vector(f"{path}.layer_norm", 2 * width),
    ]


def ultravox(audio: Config, config: Config, hidden: int) -> list[Linear]:
    """Ultravox: Whisper's encoder, frames put together, and two projections or a transformer of its own."""
    width, factor = number(audio, "d_model"), number(config, "stack_factor", default=8, maximum=1024)
    layers = number(config, "num_projector_layers", default=0, maximum=4096)
    path = "multi_modal_projector"
    if layers:
        inner, positions = numbers(audio, "encoder_ffn_dim", "max_source_positions")
        return [
            *whisper(audio, "audio_tower"),
            vector(f"{path}.norms", (factor + 1) * width),
            whole(f"{path}.linear_in", width, factor * width, bias=True, plain=False),
            table(f"{path}.embed_positions", positions, width),
            *blocks(_WHISPER_BLOCK, f"{path}.layers", layers, width, inner),
            whole(f"{path}.linear_out", hidden, width, bias=True, plain=False),
        ]
    middle = number(config, "hidden_size", default=4096)
    gated = config.get("projector_act", "swiglu") == "swiglu"
    narrow = middle // 2 if gated else middle
    return [
        *whisper(audio, "audio_tower"),
        whole(f"{path}.linear_1", middle, factor * width, plain=False),
        whole(f"{path}.linear_2", hidden, narrow, plain=False),
        vector(f"{path}.norms", factor * width + (narrow if config.get("projector_ln_mid") else hidden)),
    ]


def voxtral(audio: Config, _config: Config, hidden: int) -> list[Linear]:
    """Voxtral: Whisper's encoder, positions in float32, and two projections of four frames put together."""
    stacked = number(audio, "d_model") * number(audio, "downsample_factor", default=4, maximum=1024)
    return [
        *whisper(audio, "whisper_encoder.whisper_encoder", position_bytes=4),
        whole("audio_language_adapter.w_in", hidden, stacked),
        whole("audio_language_adapter.w_out", hidden, hidden),
    ]


def qwen2_audio(audio: Config, _config: Config, hidden: int) -> list[Linear]:
    """Qwen2-Audio: transformers' own Whisper-like encoder, whole on each rank, and one projection."""
    width, _, _, positions = _sizes(audio)
    return [
        *_convolutions(audio, "audio_tower"),
        table("audio_tower.embed_positions", positions, width),
        *_plain_layers(audio),
        whole("multi_modal_projector.linear", hidden, width, bias=True),
    ]


def qwen2_5_omni(audio: Config, _config: Config, hidden: int) -> list[Linear]:
    """Qwen2.5-Omni: transformers' own encoder, whole on each rank, and its projection."""
    out = number(audio, "output_dim", default=hidden)
    return [
        *_convolutions(audio, "audio_tower"),
        *_plain_layers(audio),
        table("audio_tower.audio_bos_eos_token", 2, out),
        whole("audio_tower.proj", out, number(audio, "d_model"), bias=True),
    ]


def qwen3_omni(audio: Config, _config: Config, hidden: int) -> list[Linear]:
    """Qwen3-Omni and Qwen3-ASR: three convolutions, layers shared out where ranks divide the heads, two projections."""
    width, depth, inner, _ = _sizes(audio)
    channels, mels, heads = numbers(audio, "downsample_hidden_size", "num_mel_bins", "encoder_attention_heads")
    left, path, block = mels, "audio_tower", _WHISPER_BLOCK._replace(up="fc1", down="fc2", plain=True, unit=heads)
    for _ in range(3):
        left = (left + 1) // 2
    return [
        vector(f"{path}.conv2d", 10 * channels + 2 * (9 * channels * channels + channels)),
        whole(f"{path}.conv_out", width, channels * left),
        *blocks(block, f"{path}.layers", depth, width, inner),
        vector(f"{path}.ln_post", 2 * width),
        whole(f"{path}.proj1", width, width, bias=True),
        whole(f"{path}.proj2", number(audio, "output_dim", default=hidden), width, bias=True),
    ]


def _sizes(audio: Config) -> tuple[int, int, int, int]:
    """Width, layers, width of a feed-forward block, positions; a decoder's sizes may lie beside them."""
    width, depth, inner = numbers(audio, "d_model", "encoder_layers", "encoder_ffn_dim")
    return width, min(depth, MAX_LAYERS), inner, number(audio, "max_source_positions", default=1500)


def _convolutions(audio: Config, path: str) -> list[Linear]:
    width = number(audio, "d_model")
    return [
        whole(f"{path}.conv1", width, 3 * number(audio, "num_mel_bins", default=128), bias=True),
        whole(f"{path}.conv2", width, 3 * width, bias=True),
    ]


def _plain_layers(audio: Config) -> list[Linear]:
    """Layers of transformers' own code: whole on each rank, keys without a bias, and the last norm."""
    width, depth, inner, _ = _sizes(audio)
    first = "audio_tower.layers.0."
    return [
        whole(f"{first}self_attn.qkv", 3 * width, width, times=depth),
        whole(f"{first}self_attn.out_proj", width, width, bias=True, times=depth),
        whole(f"{first}fc1", inner, width, bias=True, times=depth),
        whole(f"{first}fc2", width, inner, bias=True, times=depth),
        vector(f"{first}rest", 2 * width + 4 * width, depth),
        vector("audio_tower.ln_post", 2 * width),
    ]
