"""Sizes of towers where a config is silent, and those that published models of a family have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Sizes = Mapping[str, Any]

QWEN2_VL: Sizes = {
    "depth": 32,
    "embed_dim": 1280,
    "hidden_size": 3584,
    "mlp_ratio": 4,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
}
QWEN2_5_VL: Sizes = {**QWEN2_VL, "hidden_size": 1280, "intermediate_size": 3420}
QWEN3_5: Sizes = {
    **QWEN2_VL,
    "depth": 27,
    "patch_size": 16,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_position_embeddings": 2304,
}
QWEN3_VL: Sizes = {**QWEN3_5, "deepstack_visual_indexes": [8, 16, 24]}
GLM4V: Sizes = {**QWEN2_VL, "depth": 24, "hidden_size": 1536, "intermediate_size": 13696, "image_size": 336}
GLM_OCR: Sizes = {**GLM4V, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "out_hidden_size": 1536}
DOTS_OCR: Sizes = {
    "embed_dim": 1536,
    "hidden_size": 1536,
    "intermediate_size": 4224,
    "num_hidden_layers": 42,
    "num_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
}
SIGLIP: Sizes = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_channels": 3,
    "patch_size": 16,
    "image_size": 224,
}
SO400M: Sizes = {**SIGLIP, "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "patch_size": 14}
PALIGEMMA: Sizes = {**SO400M, "intermediate_size": 4096}
ONEVISION: Sizes = {**SO400M, "image_size": 384}
COHERE2: Sizes = {**SO400M, "intermediate_size": 3072, "image_size": 512, "patch_size": 16}
IDEFICS3: Sizes = {**SIGLIP, "hidden_size": 1152, "patch_size": 32}
PIXTRAL: Sizes = {**SIGLIP, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14}
CLIP: Sizes = {**PIXTRAL, "model_type": "clip_vision_model", "image_size": 336}
INTERNVL: Sizes = {**PIXTRAL, "image_size": 448}
INTERNVIT: Sizes = {**INTERNVL, "num_attention_heads": 16}
LLAMA4: Sizes = {
    **SIGLIP,
    "intermediate_size": 5632,
    "num_hidden_layers": 34,
    "patch_size": 14,
    "image_size": 448,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
    "vision_output_dim": 7680,
}
GEMMA4: Sizes = {
    **SIGLIP,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "position_embedding_size": 10240,
}
GEMMA4_UNIFIED: Sizes = {"patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 3840, "mm_posemb_size": 1120}
GEMMA4_AUDIO: Sizes = {
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "conv_kernel_size": 5,
    "output_proj_dims": 1536,
}
MOONVIT: Sizes = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
    "pos_emb_height": 64,
    "pos_emb_width": 64,
}
WHISPER: Sizes = {
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_ffn_dim": 5120,
    "encoder_attention_heads": 20,
    "num_mel_bins": 128,
    "max_source_positions": 1500,
}
QWEN3_AUDIO: Sizes = {**WHISPER, "downsample_hidden_size": 480}
STEP3P7: Sizes = {
    "width": 1536,
    "layers": 47,
    "patch_size": 14,
    "image_size": 728,
    "mlp_ratio": 8960 / 1536,
    "ls_init_value": 0.1,
    "use_ln_pre": True,
    "use_abs_posemb": True,
}
MINIMAX_M3: Sizes = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
}

SMALL_SIGLIP: Sizes = {**SIGLIP, "image_size": 512}
INTERNVIT_6B: Sizes = {
    **INTERNVL,
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "num_hidden_layers": 45,
    "use_qk_norm": True,
    "attention_bias": False,
}

_SMALL: Sizes = {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24}
_TINY: Sizes = {"hidden_size": 768, "intermediate_size": 3072, "depth": 12}

PUBLISHED: dict[str, tuple[Sizes, ...]] = {
    "qwen2_5_vl": ({}, {"intermediate_size": 3456}),
    "qwen3_vl": ({}, {**_SMALL, "deepstack_visual_indexes": [5, 11, 17]}),
    "qwen3_5": ({}, _SMALL, _TINY),
    "idefics3": ({"scale_factor": 4, **SMALL_SIGLIP}, {**SO400M, "image_size": 364, "scale_factor": 2}),
    "smolvlm": ({"scale_factor": 4, **SMALL_SIGLIP}, {**SO400M, "image_size": 384, "scale_factor": 3}),
    "cohere2_vision": ({}, {"intermediate_size": 4304}),
    "interns1": ({"attention_bias": True}, INTERNVIT_6B),
    "gemma3": ({**SO400M, "image_size": 896},),
    "gemma4": ({}, {**SO400M, "patch_size": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 72}),
}
"""Published towers by ``model_type``, as far as they differ from the sizes above."""
