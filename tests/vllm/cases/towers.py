"""Models with towers: the text model is plain, the tower small and odd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import Config

ROPE: Config = {"rope_type": "default", "rope_theta": 10000.0}
MROPE: Config = {**ROPE, "mrope_section": [4, 6, 6]}
HALF: Config = {**ROPE, "mrope_section": [2, 3, 3], "partial_rotary_factor": 0.5}
TEXT: Config = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 1999,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_parameters": ROPE,
    "tie_word_embeddings": False,
}
GEMMA_ROPE: Config = dict.fromkeys(("sliding_attention", "full_attention"), ROPE)
EXPERTS: Config = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
MERGING: Config = {"depth": 3, "num_heads": 8, "spatial_merge_size": 2, "temporal_patch_size": 2, "patch_size": 14}
WIDE: Config = {"hidden_size": 160, "out_hidden_size": 256, "intermediate_size": 344}
SIGLIP: Config = {
    "model_type": "siglip_vision_model",
    "hidden_size": 160,
    "intermediate_size": 344,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "patch_size": 14,
    "image_size": 112,
}
CLIP: Config = {**SIGLIP, "model_type": "clip_vision_model", "projection_dim": 128}
PIXTRAL: Config = {**SIGLIP, "model_type": "pixtral", "head_dim": 20}
QWEN3: Config = {**MERGING, **WIDE, "patch_size": 16, "num_position_embeddings": 144}
GLM: Config = {**MERGING, **WIDE, "image_size": 112}
DELTA: Config = {
    "model_type": "qwen3_5_text",
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "rope_parameters": {**ROPE, "mrope_section": [1, 1, 2], "partial_rotary_factor": 0.25, "mrope_interleaved": True},
}
LATENT: Config = {
    **EXPERTS,
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "kv_lora_rank": 512,
    "q_lora_rank": 96,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "moe_layer_freq": 1,
    "hidden_act": "silu",
    "rope_theta": 10000.0,
}
LLAMA4: Config = {
    "model_type": "llama4_text",
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "intermediate_size": 128,
    "intermediate_size_mlp": 384,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 1024,
    "use_qk_norm": True,
    "no_rope_layers": [1, 0],
}
GEMMA4_VISION: Config = {
    "model_type": "gemma4_vision",
    "hidden_size": 160,
    "intermediate_size": 344,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 20,
    "patch_size": 16,
    "position_embedding_size": 128,
}
GEMMA4_AUDIO: Config = {
    "model_type": "gemma4_audio",
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "subsampling_conv_channels": [16, 8],
    "conv_kernel_size": 5,
    "output_proj_dims": 192,
}


def wrapper(kind: str, architecture: str, text: Config, vision: Config, **more: Any) -> Config:
    """Put a text model and a tower together."""
    names = {"model_type": kind, "architectures": [architecture], "tie_word_embeddings": False}
    return {**names, "text_config": {**TEXT, **text}, "vision_config": vision, **more}


def gemma4(**more: Any) -> Config:
    """Gemma 4 with its towers."""
    rope = {
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
        "sliding_attention": ROPE,
    }
    text = {
        "model_type": "gemma4_text",
        "rope_parameters": rope,
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 64,
        "global_head_dim": 64,
        "hidden_size_per_layer_input": 0,
    }
    fixed = {"tie_word_embeddings": True, "audio_config": None, **more}
    return wrapper("gemma4", "Gemma4ForConditionalGeneration", text, GEMMA4_VISION, **fixed)


FLAT: Config = {**TEXT, "rope_parameters": MROPE}
LLAMA: Config = {"model_type": "llama"}
COHERE: Config = {"model_type": "cohere2", "layer_norm_eps": 1e-5, "sliding_window": 64}
MODELS: dict[str, Config] = {
    "qwen2_vl": {
        **FLAT,
        "model_type": "qwen2_vl",
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "vision_config": {**MERGING, "embed_dim": 160, "hidden_size": 256, "mlp_ratio": 4},
    },
    "qwen2_5_vl": {
        **FLAT,
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "vision_config": {**MERGING, **WIDE, "fullatt_block_indexes": [1], "window_size": 112},
    },
    "qwen3_vl": wrapper(
        "qwen3_vl",
        "Qwen3VLForConditionalGeneration",
        {"model_type": "qwen3_vl_text", "rope_parameters": MROPE},
        {**QWEN3, "deepstack_visual_indexes": [0, 1]},
    ),
    "qwen3_5": wrapper("qwen3_5", "Qwen3_5ForConditionalGeneration", DELTA, QWEN3),
    "gemma3": wrapper(
        "gemma3",
        "Gemma3ForConditionalGeneration",
        {"model_type": "gemma3_text", "rope_parameters": GEMMA_ROPE, "sliding_window": 64},
        SIGLIP,
        mm_tokens_per_image=16,
        tie_word_embeddings=True,
    ),
    "gemma4": gemma4(),
    "gemma4_audio": gemma4(audio_config=GEMMA4_AUDIO),
    "gemma4_unified": {
        **gemma4(audio_config={"model_type": "gemma4_unified_audio", "audio_embed_dim": 96}),
        "model_type": "gemma4_unified",
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "text_config": {**gemma4()["text_config"], "model_type": "gemma4_unified_text"},
        "vision_config": {
            "model_type": "gemma4_unified_vision",
            "patch_size": 8,
            "pooling_kernel_size": 2,
            "mm_embed_dim": 192,
            "mm_posemb_size": 70,
            "output_proj_dims": 192,
        },
    },
    "paligemma": wrapper(
        "paligemma",
        "PaliGemmaForConditionalGeneration",
        {"model_type": "gemma"},
        {**SIGLIP, "projection_dim": 256},
        projection_dim=256,
        tie_word_embeddings=True,
    ),
    "mistral3": wrapper(
        "mistral3",
        "Mistral3ForConditionalGeneration",
        {"model_type": "mistral", "sliding_window": None},
        PIXTRAL,
        spatial_merge_size=2,
        multimodal_projector_bias=False,
    ),
    "idefics3": wrapper(
        "idefics3",
        "Idefics3ForConditionalGeneration",
        LLAMA,
        {**SIGLIP, "model_type": "idefics3_vision"},
        scale_factor=2,
    ),
    "smolvlm": wrapper(
        "smolvlm", "SmolVLMForConditionalGeneration", LLAMA, {**SIGLIP, "model_type": "smolvlm_vision"}, scale_factor=2
    ),
    "llava": wrapper("llava", "LlavaForConditionalGeneration", LLAMA, CLIP, vision_feature_layer=-2),
    "llava_pixtral": wrapper("llava", "LlavaForConditionalGeneration", LLAMA, PIXTRAL, vision_feature_layer=-1),
    "llava_next": wrapper("llava_next", "LlavaNextForConditionalGeneration", LLAMA, CLIP, vision_feature_layer=-2),
    "llava_onevision": wrapper(
        "llava_onevision",
        "LlavaOnevisionForConditionalGeneration",
        {"model_type": "qwen2"},
        SIGLIP,
        vision_feature_layer=-1,
    ),
    "glm4v": wrapper(
        "glm4v", "Glm4vForConditionalGeneration", {"model_type": "glm4v_text", "rope_parameters": HALF}, GLM
    ),
    "glm4v_moe": wrapper(
        "glm4v_moe",
        "Glm4vMoeForConditionalGeneration",
        {**EXPERTS, "model_type": "glm4v_moe_text", "rope_parameters": HALF, "use_qk_norm": True},
        GLM,
    ),
    "cohere2_vision": wrapper(
        "cohere2_vision",
        "Cohere2VisionForConditionalGeneration",
        COHERE,
        SIGLIP,
        downsample_factor=2,
        alignment_intermediate_size=512,
        tie_word_embeddings=True,
    ),
    "internvl": wrapper(
        "internvl",
        "InternVLForConditionalGeneration",
        {"model_type": "qwen2"},
        {
            **SIGLIP,
            "model_type": "internvl_vision",
            "patch_size": [14, 14],
            "image_size": [112, 112],
            "attention_bias": True,
        },
        downsample_ratio=0.5,
    ),
    "llama4": wrapper(
        "llama4",
        "Llama4ForConditionalGeneration",
        LLAMA4,
        {
            "hidden_size": 160,
            "intermediate_size": 640,
            "num_hidden_layers": 3,
            "num_attention_heads": 8,
            "patch_size": 14,
            "image_size": 112,
            "vision_output_dim": 256,
            "projector_input_dim": 256,
            "projector_output_dim": 256,
            "pixel_shuffle_ratio": 0.5,
        },
    ),
    "kimi_vl": wrapper(
        "kimi_vl",
        "KimiVLForConditionalGeneration",
        LATENT,
        {
            **SIGLIP,
            "model_type": "moonvit",
            "init_pos_emb_height": 8,
            "init_pos_emb_width": 8,
            "merge_kernel_size": [2, 2],
        },
    ),
}
FP8: Config = {"quant_method": "fp8", "activation_scheme": "dynamic"}
STORED: dict[str, Config] = {
    "fp8": FP8,
    "fp8_kept": {
        **FP8,
        "modules_to_not_convert": [*(f"visual.blocks.{i}.attn.qkv" for i in range(3)), "visual.merger.mlp.0"],
    },
    "awq_kept": {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "version": "gemm",
        "zero_point": True,
        "modules_to_not_convert": ["visual"],
    },
}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    for name, config in MODELS.items():
        for tp in (1, 2, 4):
            yield {"id": f"{name}-tp{tp}", "config": config, "tp": tp}
    for name, stored in STORED.items():
        yield {"id": f"qwen2_5_vl-{name}", "config": {**MODELS["qwen2_5_vl"], "quantization_config": stored}, "tp": 1}
