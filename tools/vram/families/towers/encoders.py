"""Towers around an image encoder (SigLIP, CLIP, Pixtral, InternViT, Gemma 4's) and a projector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Linear
from tools.vram.families.towers import audio, sizes
from tools.vram.families.towers.parts import Block, Config, blocks, column, numbers, row, table, vector, whole
from tools.vram.fields import number

_SIGLIP_BLOCK = Block("self_attn.qkv_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
_PIXTRAL_NAMES = ("attention.qkv_proj", "attention.o_proj", "feed_forward.gate_up_proj", "feed_forward.down_proj")
_PIXTRAL_BLOCK = Block(*_PIXTRAL_NAMES, gated=True, biased=False, norms=2)


def siglip(
    vision: Config, path: str, depth: int | None = None, *, flat: bool = False, last_norm: bool = True
) -> list[Linear]:
    """A SigLIP tower of ``depth`` layers (all, if None); without the last norm if not all are built.

    Feed-forward blocks that are not multiples of 64 wide are never quantised, except ``flat`` ones (Idefics3's).
    """
    width, inner, count = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, image, channels = numbers(vision, "patch_size", "image_size", "num_channels")
    built, narrow = count if depth is None else depth, bool(width % 64 or inner % 64)
    block = _SIGLIP_BLOCK._replace(plain_mlp=narrow and not flat)
    made = [
        whole(f"{path}.embeddings.patch_embedding", width, channels * patch * patch, bias=True),
        table(f"{path}.embeddings.position_embedding", (image // patch) ** 2, width),
        *blocks(block, f"{path}.encoder.layers", built, width, inner),
    ]
    return [*made, vector(f"{path}.post_layernorm", 2 * width)] if built == count and last_norm else made


def clip(vision: Config, path: str, depth: int) -> list[Linear]:
    """A CLIP tower up to layer ``depth``; the last norm only if all are built."""
    width, inner, count = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, image, channels = numbers(vision, "patch_size", "image_size", "num_channels")
    made = [
        whole(f"{path}.embeddings.patch_embedding", width, channels * patch * patch),
        table(f"{path}.embeddings.position_embedding", (image // patch) ** 2 + 2, width),
        vector(f"{path}.pre_layrnorm", 2 * width),
        *blocks(_SIGLIP_BLOCK, f"{path}.encoder.layers", depth, width, inner),
    ]
    return [*made, vector(f"{path}.post_layernorm", 2 * width)] if depth == count else made


def pixtral(vision: Config, path: str, depth: int) -> list[Linear]:
    """A Pixtral tower up to layer ``depth``."""
    width, inner = numbers(vision, "hidden_size", "intermediate_size")
    patch, channels = numbers(vision, "patch_size", "num_channels")
    return [
        whole(f"{path}.patch_conv", width, channels * patch * patch),
        vector(f"{path}.ln_pre", width),
        *blocks(_PIXTRAL_BLOCK, f"{path}.transformer.layers", depth, width, inner),
    ]


def gemma3(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """Gemma 3: SigLIP, and a projection of pooled patches."""
    width = number(vision, "hidden_size")
    made = siglip(vision, "vision_tower.vision_model")
    return [
        *made,
        whole("multi_modal_projector.mm_input_projection_weight", width, hidden),
        vector("multi_modal_projector.mm_soft_emb_norm", width),
    ]


def paligemma(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """PaliGemma: SigLIP and one projection."""
    made = siglip(vision, "vision_tower.vision_model")
    out = number(vision, "projection_dim", default=hidden)
    return [*made, whole("multi_modal_projector.linear", out, number(vision, "hidden_size"), bias=True)]


def paddleocr_vl(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """PaddleOCR-VL: SigLIP without what pools, and two projections of four merged patches (``paddleocr_vl.py``)."""
    width = number(vision, "hidden_size")
    return [
        *siglip(vision, "visual.vision_model"),
        vector("mlp_AR.pre_norm", 2 * width),
        whole("mlp_AR.linear_1", 4 * width, 4 * width, bias=True),
        whole("mlp_AR.linear_2", hidden, 4 * width, bias=True),
    ]


def mistral3(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Mistral 3: Pixtral, a merger of neighbouring patches, two projections."""
    width = number(vision, "hidden_size")
    merged = width * number(config, "spatial_merge_size", default=2, maximum=64) ** 2
    depth = _depth(vision, config, -1)
    bias = bool(config.get("multimodal_projector_bias"))
    return [
        *pixtral(vision, "vision_tower", depth),
        vector("multi_modal_projector.norm", width),
        whole("multi_modal_projector.patch_merger.merging_layer", width, merged),
        column("multi_modal_projector.linear_1", hidden, width, bias=bias),
        row("multi_modal_projector.linear_2", hidden, hidden, bias=bias),
    ]


def _depth(vision: Config, config: Config, usual: int) -> int:
    """Layers up to the deepest whose output is used (``llava.py:_get_num_hidden_layers``)."""
    count, said = number(vision, "num_hidden_layers"), config.get("vision_feature_layer", usual)
    layers = cast("list[Any]", said) if isinstance(said, list) and said else cast("list[Any]", [said])
    taps = [layer if isinstance(layer, int) else usual for layer in layers]
    return max(1, min(count, max(count + tap + 1 if tap < 0 else tap for tap in taps)))


def llava(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """LLaVA: CLIP, SigLIP or Pixtral up to the layer whose output is used, and two projections."""
    depth, kind = _depth(vision, config, -2), str(vision.get("model_type"))
    known = {"clip_vision_model": clip, "siglip_vision_model": siglip, "pixtral": pixtral}
    path = "vision_tower" if kind == "pixtral" else "vision_tower.vision_model"
    width, bias = number(vision, "hidden_size"), config.get("multimodal_projector_bias", True) is not False
    return [
        *known.get(kind, clip)(vision, path, depth),
        column("multi_modal_projector.linear_1", hidden, width, bias=bias),
        row("multi_modal_projector.linear_2", hidden, hidden, bias=bias),
    ]


def phi3_v(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Phi-3 Vision: CLIP up to its last layer but one, two projections of merged patches, two separators."""
    width, path = number(vision, "hidden_size"), "vision_embed_tokens"
    return [
        *clip(vision, f"{path}.img_processor.vision_model", _depth(vision, config, -2)),
        whole(f"{path}.img_projection.0", hidden, 4 * width, bias=True),
        whole(f"{path}.img_projection.2", hidden, hidden, bias=True),
        vector(f"{path}.separators", 8 * width),
    ]


def llava_next(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """LLaVA-NeXT: as LLaVA, and an embedding for a new line."""
    return [*llava(vision, config, hidden), vector("image_newline", hidden)]


def llava_onevision(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """LLaVA-OneVision: SigLIP without its last norm; projections are whole on each rank."""
    width, path = number(vision, "hidden_size"), "multi_modal_projector"
    return [
        *siglip(vision, "vision_tower.vision_model", _depth(vision, config, -1), last_norm=False),
        whole(f"{path}.linear_1", hidden, width, bias=True),
        whole(f"{path}.linear_2", hidden, hidden, bias=True),
        vector("image_newline", hidden),
    ]


def idefics3(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Idefics3 and SmolVLM: SigLIP, and a projection of merged patches."""
    width, factor = number(vision, "hidden_size"), number({**config, **vision}, "scale_factor", default=2, maximum=64)
    tower = siglip(vision, "model.vision_model", flat=True)
    return [*tower, whole("model.connector.modality_projection.proj", hidden, width * factor**2, plain=False)]


def cohere2(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Cohere's Command A Vision: SigLIP and two projections with a gate between."""
    merged = number(vision, "hidden_size") * number(config, "downsample_factor", default=2, maximum=64) ** 2
    inner = number(config, "alignment_intermediate_size", default=36864)
    return [
        *siglip(vision, "vision_tower.vision_model"),
        column("multi_modal_projector.linear_1", inner, merged, bias=True),
        row("multi_modal_projector.linear_2", hidden, inner // 2, bias=True),
    ]


_INTERN_BLOCK = Block("attention.qkv", "attention.projection_layer", "mlp.fc1", "mlp.fc2", norms=6)


def internvl(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """The tower of InternVL's and Intern-S1's own code: attention is whole on each rank."""
    width, inner, depth = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, image, channels = _side(vision, "patch_size"), _side(vision, "image_size"), number(vision, "num_channels")
    ratio = config.get("downsample_ratio", 0.5)
    scale = round(1 / ratio) if isinstance(ratio, int | float) and 0 < ratio <= 1 else 2
    merged = width * scale**2
    normed = 2 * width if vision.get("use_qk_norm") else 0
    bias = bool(vision.get("attention_bias"))
    block = _INTERN_BLOCK._replace(whole_attention=True, qkv_biased=bias, extra=normed)
    return [
        whole("vision_tower.embeddings.patch_embeddings", width, channels * patch * patch, bias=True),
        table("vision_tower.embeddings.position_embeddings", (image // patch) ** 2 + 2, width),
        *blocks(block, "vision_tower.encoder.layer", depth, width, inner),
        vector("multi_modal_projector.layer_norm", 2 * merged),
        whole("multi_modal_projector.linear_1", hidden, merged, bias=True),
        whole("multi_modal_projector.linear_2", hidden, hidden, bias=True),
    ]


_INTERNVIT_BLOCK = Block("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def internvl_chat(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """InternVL as its authors publish it: InternViT (``intern_vit.py``), a norm and two projections."""
    width, inner, depth = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, heads = numbers(vision, "patch_size", "num_attention_heads")
    image = number(config, "force_image_size", default=number(vision, "image_size"))
    ratio = config.get("downsample_ratio", 0.5)
    merged = width * (round(1 / ratio) if isinstance(ratio, int | float) and 0 < ratio <= 1 else 2) ** 2
    norms = 4 if vision.get("norm_type") == "rms_norm" else 6
    extra = 2 * width if vision.get("qk_normalization") else 0
    block = _INTERNVIT_BLOCK._replace(
        norms=norms, extra=extra, qkv_biased=vision.get("qkv_bias") is not False, unit=heads
    )
    layers = blocks(block, "vision_model.encoder.layers", depth, width, inner)
    return [
        whole("vision_model.embeddings.patch_embedding", width, 3 * patch * patch, bias=True),
        table("vision_model.embeddings.position_embedding", (image // patch) ** 2 + 2, width),
        *(replace(one, unit=0) if ".mlp." in one.name else one for one in layers),
        vector("mlp1.0", 2 * merged),
        whole("mlp1.1", hidden, merged, bias=True),
        whole("mlp1.3", hidden, hidden, bias=True),
    ]


def _side(vision: Config, name: str) -> int:
    """Read a length that may be written as a pair."""
    said = vision.get(name)
    return number({name: cast("list[Any]", said)[0] if isinstance(said, list) and said else said}, name)


_LLAMA4_BLOCK = Block("self_attn.qkv_proj", "self_attn.o_proj", "mlp.fc1", "mlp.fc2", plain=True)


def llama4(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """Llama 4: a tower, its adapter and the projector; none of them is ever quantised."""
    width, inner, depth = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, image, channels = numbers(vision, "patch_size", "image_size", "num_channels")
    first, second, out = numbers(vision, "projector_input_dim", "projector_output_dim", "vision_output_dim")
    return [
        column("vision_model.patch_embedding.linear", width, channels * patch * patch, plain=True),
        table("vision_model.positional_embedding_vlm", (image // patch) ** 2 + 2, width),
        vector("vision_model.layernorms", 4 * width),
        *blocks(_LLAMA4_BLOCK, "vision_model.model.layers", depth, width, inner),
        column("vision_model.vision_adapter.mlp.fc1", first, inner, plain=True),
        row("vision_model.vision_adapter.mlp.fc2", second, first, plain=True),
        column("multi_modal_projector.linear_1", hidden, out, plain=True),
    ]


def gemma4(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Gemma 4's towers of transformers' own code, whole on each rank."""
    width, inner, depth = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, positions = numbers(vision, "patch_size", "position_embedding_size")
    heads, kv_heads, head_dim = numbers(vision, "num_attention_heads", "num_key_value_heads", "head_dim")
    plain, layer = bool(width % 64 or inner % 64), "vision_tower.encoder.layers.0."
    size = {"self_attn.q_proj": (heads * head_dim, width), "self_attn.o_proj": (width, heads * head_dim)}
    size |= dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), (kv_heads * head_dim, width))
    size |= dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (inner, width)) | {"mlp.down_proj": (width, inner)}
    return [
        table("vision_tower.patch_embedder.position_embedding_table", 2 * positions, width),
        whole("vision_tower.patch_embedder.input_proj", width, 3 * patch * patch, plain=plain),
        *(whole(f"{layer}{name}.linear", *shape, plain=plain, times=depth) for name, shape in size.items()),
        vector(layer + "norms", 4 * width + 2 * head_dim, depth),
        whole("embed_vision.embedding_projection", hidden, width, plain=plain),
        *_gemma4_audio(config, hidden, plain=plain),
    ]


def gemma4_unified(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Gemma 4 without encoders: patches and sound are projected straight to the text model's size."""
    patch, pool, width, positions = numbers(
        vision, "patch_size", "pooling_kernel_size", "mm_embed_dim", "mm_posemb_size"
    )
    pixels, sound = 3 * (patch * pool) ** 2, config.get("audio_config")
    made = [
        column("vision_embedder.patch_dense", width, pixels, bias=True),
        vector("vision_embedder.norms", 2 * pixels + 4 * width + 2 * positions * width),
        whole("embed_vision.embedding_projection", hidden, number(vision, "output_proj_dims", "mm_embed_dim")),
    ]
    if not isinstance(sound, Mapping):
        return made
    heard = number(cast("Config", sound), "audio_embed_dim", default=640)
    return [*made, whole("embed_audio.embedding_projection", hidden, heard)]


def _gemma4_audio(config: Config, hidden: int, *, plain: bool) -> list[Linear]:
    said = config.get("audio_config")
    if not isinstance(said, Mapping):
        return []
    given = {key: value for key, value in cast("Config", said).items() if value is not None}
    return audio.gemma4({**sizes.GEMMA4_AUDIO, **given}, hidden, plain=plain)
