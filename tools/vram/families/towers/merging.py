"""Towers that merge neighbouring patches: Qwen-VL, GLM-V, Kimi, Step, MiniMax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.domain import Linear
from tools.vram.families.towers.parts import Block, Config, blocks, column, numbers, row, table, vector, whole
from tools.vram.fields import number, text_config


def _qwen(vision: Config, hidden: int, *, block: Block, inner: int, width: int) -> list[Linear]:
    """Patches, blocks and the merger of Qwen's towers; the merger's norm is the caller's."""
    depth, patch, frames, channels = numbers(vision, "depth", "patch_size", "temporal_patch_size", "in_channels")
    merged = width * number(vision, "spatial_merge_size", maximum=64) ** 2
    return [
        whole("visual.patch_embed.proj", width, channels * frames * patch * patch),
        *blocks(block, "visual.blocks", depth, width, inner),
        *_merger("visual.merger", ("mlp.0", "mlp.2"), merged, hidden),
    ]


def _merger(path: str, names: tuple[str, str], merged: int, hidden: int, times: int = 1) -> list[Linear]:
    return [
        column(f"{path}.{names[0]}", merged, merged, bias=True, times=times),
        row(f"{path}.{names[1]}", hidden, merged, bias=True, times=times),
    ]


_QWEN2_BLOCK = Block("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
_QWEN25_BLOCK = Block("attn.qkv", "attn.proj", "mlp.gate_up_proj", "mlp.down_proj", gated=True, norms=2)
_QWEN3_BLOCK = Block("attn.qkv", "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2")


def qwen2_vl(vision: Config, _config: Config, _hidden: int) -> list[Linear]:
    """Qwen2-VL; its ``hidden_size`` is the text model's."""
    width, out, ratio = numbers(vision, "embed_dim", "hidden_size", "mlp_ratio")
    made = _qwen(vision, out, block=_QWEN2_BLOCK, inner=width * ratio, width=width)
    return [*made, vector("visual.merger.ln_q", 2 * width)]


def qwen2_5_vl(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """Qwen2.5-VL: gated feed-forward blocks, RMSNorm."""
    width, inner = numbers(vision, "hidden_size", "intermediate_size")
    out = number(vision, "out_hidden_size", default=hidden)
    made = _qwen(vision, out, block=_QWEN25_BLOCK, inner=inner, width=width)
    return [*made, vector("visual.merger.ln_q", width)]


def qwen3_vl(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """Qwen3-VL and Qwen3.5: a table of positions, and a merger for each tapped layer."""
    width, inner, positions = numbers(vision, "hidden_size", "intermediate_size", "num_position_embeddings")
    depth, patch, frames, channels = numbers(vision, "depth", "patch_size", "temporal_patch_size", "in_channels")
    out, merged = (
        number(vision, "out_hidden_size", default=hidden),
        width * number(vision, "spatial_merge_size", maximum=64) ** 2,
    )
    taps = vision.get("deepstack_visual_indexes")
    deep = len(cast("list[Any]", taps)) if isinstance(taps, list) else 0
    names = ("linear_fc1", "linear_fc2")
    made = [
        whole("visual.patch_embed.proj", width, channels * frames * patch * patch, bias=True),
        table("visual.pos_embed", positions, width),
        *blocks(_QWEN3_BLOCK, "visual.blocks", depth, width, inner),
        *_merger("visual.merger", names, merged, out),
        vector("visual.merger.norm", 2 * width),
    ]
    if deep:
        made += _merger("visual.deepstack_merger_list.0", names, merged, out, deep)
        made += [vector("visual.deepstack_merger_list.0.norm", 2 * merged, deep)]
    return made


_GLM_BLOCK = Block("attn.qkv", "attn.proj", "mlp.gate_up_proj", "mlp.down_proj", gated=True, biased=False, norms=2)


def glm4v(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """GLM-4.1V to 4.6V; feed-forward blocks are as wide as the text model."""
    width, inner, merge = numbers(vision, "hidden_size", "intermediate_size", "spatial_merge_size")
    depth, patch, frames, channels = numbers(vision, "depth", "patch_size", "temporal_patch_size", "in_channels")
    out, image = number(vision, "out_hidden_size", default=hidden), number(vision, "image_size")
    return [
        whole("visual.patch_embed.proj", width, channels * frames * patch * patch, bias=True),
        *blocks(_GLM_BLOCK, "visual.blocks", depth, width, out),
        column("visual.merger.proj", out, out),
        column("visual.merger.gate_up_proj", (inner, inner), out),
        row("visual.merger.down_proj", out, inner),
        table("visual.embeddings.position_embedding", (image // patch) ** 2, width),
        whole("visual.downsample", out, width * merge * merge, bias=True),
        vector("visual.norms", 2 * out + 2 * width),
    ]


def glm_ocr(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """GLM-OCR: as GLM-4.1V, with biases and normed heads, no table of positions, a merger as wide as the text model."""
    width, inner, merge, heads = numbers(vision, "hidden_size", "intermediate_size", "spatial_merge_size", "num_heads")
    depth, patch, frames, channels = numbers(vision, "depth", "patch_size", "temporal_patch_size", "in_channels")
    out, context = number(vision, "out_hidden_size", default=hidden), number(text_config(config), "intermediate_size")
    return [
        whole("visual.patch_embed.proj", width, channels * frames * patch * patch, bias=True),
        *blocks(_GLM_BLOCK._replace(biased=True, extra=2 * (width // heads)), "visual.blocks", depth, width, inner),
        column("visual.merger.proj", out, out),
        column("visual.merger.gate_up_proj", (context, context), out),
        row("visual.merger.down_proj", out, context),
        whole("visual.downsample", out, width * merge * merge, bias=True),
        vector("visual.norms", 2 * out + width),
    ]


_DOTS_BLOCK = Block("attn.qkv", "attn.proj", "mlp.fc13", "mlp.fc2", gated=True, norms=2)


def dots_ocr(vision: Config, _config: Config, hidden: int) -> list[Linear]:
    """dots.ocr: a gated tower and a merger that is never quantised."""
    width, inner, depth = numbers(vision, "embed_dim", "intermediate_size", "num_hidden_layers")
    patch, merge, channels = numbers(vision, "patch_size", "spatial_merge_size", "num_channels")
    out, merged = number(vision, "hidden_size", default=hidden), width * merge * merge
    block = _DOTS_BLOCK._replace(biased=vision.get("use_bias") is True)
    norms = 2 if vision.get("post_norm", True) else 1
    return [
        whole("vision_tower.patch_embed.patchifier.proj", width, channels * patch * patch, bias=True),
        *blocks(block, "vision_tower.blocks", depth, width, inner),
        column("vision_tower.merger.mlp.0", merged, merged, bias=True, plain=True),
        row("vision_tower.merger.mlp.2", out, merged, bias=True, plain=True),
        vector("vision_tower.norms", (norms + 2) * width),
    ]


_MOON_BLOCK = Block("wqkv", "wo", "mlp.fc0", "mlp.fc1")
_KIMI_NAMES = {
    "vt_hidden_size": "hidden_size",
    "vt_intermediate_size": "intermediate_size",
    "vt_num_hidden_layers": "num_hidden_layers",
    "vt_num_attention_heads": "num_attention_heads",
    "init_pos_emb_height": "pos_emb_height",
    "init_pos_emb_width": "pos_emb_width",
}


def kimi(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """MoonViT of two or three dimensions; ranks that do not divide the heads have the whole.

    Compressed-tensors checkpoints quantise the text model alone (``kimi_k25.py:_maybe_ignore_quant_config``).
    """
    vision = {**vision, **{ours: vision[theirs] for theirs, ours in _KIMI_NAMES.items() if vision.get(theirs)}}
    width, inner, depth = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    heads, patch, rows, columns = numbers(
        vision, "num_attention_heads", "patch_size", "pos_emb_height", "pos_emb_width"
    )
    flat, norms = config.get("model_type") == "kimi_vl", 2 if vision.get("norm_type") == "rmsnorm" else 4
    said = {name: vision.get(name) is not False for name in ("attn_bias", "linear_bias", "patch_embed_proj_bias")}
    plain = flat or _is_compressed(config) or _is_compressed(config.get("text_config"))
    block = _MOON_BLOCK._replace(
        biased=said["linear_bias"],
        attention_biased=said["attn_bias"],
        norms=norms,
        plain=plain,
        unit=0 if flat else heads,
    )
    return [
        whole("vision_tower.patch_embed.proj", width, 3 * patch * patch, bias=said["patch_embed_proj_bias"]),
        table("vision_tower.patch_embed.pos_emb", rows * columns, width),
        *blocks(block, "vision_tower.encoder.blocks", depth, width, inner, vision.get("qkv_hidden_size")),
        vector("vision_tower.encoder.final_layernorm", norms // 2 * width),
        *_kimi_projector(vision, width, hidden, path="multi_modal_projector" if flat else "mm_projector", plain=plain),
    ]


def _is_compressed(config: Any) -> bool:
    written = cast("Config", config).get("quantization_config") if isinstance(config, Mapping) else None
    return isinstance(written, Mapping) and cast("Config", written).get("quant_method") == "compressed-tensors"


def _kimi_projector(vision: Config, width: int, hidden: int, *, path: str, plain: bool) -> list[Linear]:
    kernel, second = vision.get("merge_kernel_size"), vision.get("mm_projector_type") == "patchmergerv2"
    sides = cast("list[Any]", kernel) if isinstance(kernel, list) and len(cast("list[Any]", kernel)) == 2 else [2, 2]
    merged = width * number({"side": sides[0]}, "side", maximum=64) * number({"side": sides[1]}, "side", maximum=64)
    return [
        vector(f"{path}.norm", hidden if second else 2 * width),
        whole(f"{path}.linear_1", merged, merged, bias=not second, plain=plain),
        whole(f"{path}.linear_2", hidden, merged, bias=not second, plain=plain),
    ]


_STEP_BLOCK = Block("attn.qkv_proj", "attn.out_proj", "mlp.fc1", "mlp.fc2")


def step3p7(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """Step-3.7: a perception encoder, two downsamplers, a projector."""
    width, depth, patch, image = numbers(vision, "width", "layers", "patch_size", "image_size")
    ratio = vision.get("mlp_ratio")
    inner = int(width * ratio) if isinstance(ratio, int | float) and 0 < ratio < 64 else 4 * width
    scaled = 2 if vision.get("ls_init_value") is not None else 0
    norms = 2 * (bool(vision.get("use_ln_pre")) + bool(vision.get("use_ln_post")))
    positions = (image // patch) ** 2 + bool(vision.get("use_cls_token")) if vision.get("use_abs_posemb") else 0
    return [
        whole("vision_model.conv1", width, 3 * patch * patch),
        vector("vision_model.rest", (norms + positions + bool(vision.get("use_cls_token"))) * width),
        *blocks(_STEP_BLOCK._replace(norms=4 + scaled), "vision_model.transformer.resblocks", depth, width, inner),
        whole("vision_model.vit_downsampler1", 2 * width, 9 * width, bias=True),
        whole("vision_model.vit_downsampler2", 4 * width, 18 * width, bias=True),
        column("vit_large_projector", hidden, 4 * width, bias=bool(config.get("projector_bias"))),
    ]


_MINIMAX_BLOCK = Block("self_attn.qkv_proj", "self_attn.out_proj", "fc1", "fc2")


def minimax_m3(vision: Config, config: Config, hidden: int) -> list[Linear]:
    """MiniMax-M3: a CLIP-like tower, a projector and a merger of patches."""
    width, inner, depth = numbers(vision, "hidden_size", "intermediate_size", "num_hidden_layers")
    patch, frames, merge = numbers(vision, "patch_size", "temporal_patch_size", "spatial_merge_size")
    out, path = number(config, "projector_hidden_size", default=hidden), "vision_tower"
    bias = config.get("multimodal_projector_bias", True) is not False
    return [
        whole(f"{path}.vision_model.embeddings.patch_embedding", width, 3 * frames * patch * patch),
        vector(f"{path}.vision_model.pre_layrnorm", 2 * width),
        *blocks(_MINIMAX_BLOCK, f"{path}.vision_model.encoder.layers", depth, width, inner),
        column(f"{path}.multi_modal_projector.linear_1", out, width, bias=bias),
        row(f"{path}.multi_modal_projector.linear_2", hidden, out, bias=bias),
        column(f"{path}.patch_merge_mlp.linear_1", out, hidden * merge * merge, bias=True),
        row(f"{path}.patch_merge_mlp.linear_2", hidden, out, bias=True),
    ]
