"""Wrappers around text models of many families: those that hear, and those with an image encoder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import Config
from cases.towers import MERGING, MROPE, QWEN3, ROPE, SIGLIP, TEXT, WIDE

AUDIO: Config = {
    "d_model": 160,
    "encoder_layers": 3,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 640,
    "num_mel_bins": 80,
    "max_source_positions": 150,
}
OMNI_VISION: Config = {**MERGING, **WIDE, "fullatt_block_indexes": [1], "window_size": 112}
EXPERTS: Config = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}


def thinker(kind: str, architecture: str, **parts: Config) -> Config:
    """What thinks of a model that also talks."""
    thinks: Config = {"model_type": f"{kind}_thinker", **parts}
    return {"model_type": kind, "architectures": [architecture], "thinker_config": thinks}


def hearing(kind: str, architecture: str, text: Config, audio: Config, **more: Any) -> Config:
    """A text model and an audio tower."""
    names = {"model_type": kind, "architectures": [architecture]}
    return {**names, "text_config": {**TEXT, **text}, "audio_config": audio, **more}


ULTRAVOX: Config = hearing(
    "ultravox",
    "UltravoxModel",
    {"model_type": "llama"},
    {**AUDIO, "model_type": "whisper"},
    hidden_size=192,
    stack_factor=8,
    vocab_size=1999,
    audio_model_id=None,
    text_model_id=None,
)
MODELS: dict[str, Config] = {
    "qwen2_audio": hearing(
        "qwen2_audio",
        "Qwen2AudioForConditionalGeneration",
        {"model_type": "qwen2"},
        {**AUDIO, "model_type": "qwen2_audio_encoder"},
    ),
    "qwen2_5_omni": thinker(
        "qwen2_5_omni",
        "Qwen2_5OmniModel",
        text_config={**TEXT, "model_type": "qwen2_5_omni_text", "rope_parameters": MROPE},
        vision_config={**OMNI_VISION, "model_type": "qwen2_5_omni_vision_encoder"},
        audio_config={**AUDIO, "model_type": "qwen2_5_omni_audio_encoder", "output_dim": 256},
    ),
    "qwen3_omni": thinker(
        "qwen3_omni_moe",
        "Qwen3OmniMoeForConditionalGeneration",
        text_config={**TEXT, **EXPERTS, "model_type": "qwen3_omni_moe_text", "rope_parameters": MROPE},
        vision_config={
            **QWEN3,
            "model_type": "qwen3_omni_moe_vision_encoder",
            "image_size": 192,
            "deepstack_visual_indexes": [0, 1],
            "apply_vit_abs_pos_embed": True,
        },
        audio_config={
            **AUDIO,
            "model_type": "qwen3_omni_moe_audio_encoder",
            "output_dim": 256,
            "downsample_hidden_size": 48,
        },
    ),
    "ultravox": ULTRAVOX,
    "ultravox_middle": {**ULTRAVOX, "projector_ln_mid": True},
    "ultravox_layers": {**ULTRAVOX, "num_projector_layers": 2},
}
INTERNVIT: Config = {
    "model_type": "intern_vit_6b",
    "hidden_size": 160,
    "intermediate_size": 344,
    "num_hidden_layers": 3,
    "num_attention_heads": 5,
    "patch_size": 14,
    "image_size": 112,
    "qkv_bias": True,
    "qk_normalization": False,
    "norm_type": "layer_norm",
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu",
    "initializer_factor": 0.1,
}
INTERNVL: Config = {
    "model_type": "internvl_chat",
    "architectures": ["InternVLChatModel"],
    "llm_config": {**TEXT, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
    "vision_config": INTERNVIT,
    "downsample_ratio": 0.5,
    "force_image_size": 112,
    "ps_version": "v2",
    "select_layer": -1,
}
MODELS |= {
    "internvl_chat": INTERNVL,
    "internvl_chat_6b": {
        **INTERNVL,
        "vision_config": {**INTERNVIT, "qkv_bias": False, "qk_normalization": True, "norm_type": "rms_norm"},
    },
}
OCR_TEXT: Config = {**TEXT, "intermediate_size": 448}
MODELS |= {
    "glm_ocr": {
        "model_type": "glm_ocr",
        "architectures": ["GlmOcrForConditionalGeneration"],
        "text_config": {
            **OCR_TEXT,
            "model_type": "glm_ocr_text",
            "rope_parameters": {**MROPE, "partial_rotary_factor": 1.0},
        },
        "vision_config": {**MERGING, **WIDE, "model_type": "glm_ocr_vision", "image_size": 112, "in_channels": 3},
    },
    "dots_ocr": {
        **TEXT,
        "model_type": "dots_ocr",
        "architectures": ["DotsOCRForCausalLM"],
        "attention_bias": True,
        "hidden_act": "silu",
        "vision_config": {
            "embed_dim": 160,
            "hidden_size": 256,
            "intermediate_size": 344,
            "num_attention_heads": 8,
            "num_channels": 3,
            "num_hidden_layers": 3,
            "patch_size": 14,
            "post_norm": True,
            "spatial_merge_size": 2,
            "temporal_patch_size": 1,
            "use_bias": False,
        },
    },
}
MODELS["paddleocr_vl"] = {
    "model_type": "paddleocr_vl",
    "architectures": ["PaddleOCRVLForConditionalGeneration"],
    "tie_word_embeddings": False,
    "text_config": {
        **TEXT,
        "model_type": "paddleocr_vl_text",
        "hidden_act": "silu",
        "use_bias": False,
        "rope_parameters": MROPE,
    },
    "vision_config": {**SIGLIP, "model_type": "paddleocr_vl_vision", "num_channels": 3},
}
NEXT_TEXT: Config = {
    **TEXT,
    **EXPERTS,
    "model_type": "qwen4_exp_text",
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "shared_expert_intermediate_size": 96,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "hc_count": 4,
    "hc_lowrank": 33,
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 128,
    "indexer_budget": 64,
    "indexer_compress_ratio": 4,
    "ple_layer_ids": [2],
    "ple_embed_dim": 64,
    "ple_conv_kernel_size": 4,
    "ngram_size": 3,
    "heads_per_ngram": 4,
    "ngram_vocab_size_base": 1000,
    "split_ngram_parts": 4,
    "eos_token_id": 5,
    "output_gate_type": "sigmoid",
    "rope_parameters": {**ROPE, "mrope_section": [6, 5, 5], "partial_rotary_factor": 0.25, "mrope_interleaved": True},
}
MODELS["qwen4_exp"] = {
    "model_type": "qwen4_exp",
    "architectures": ["Qwen4ExpForConditionalGeneration"],
    "text_config": NEXT_TEXT,
    "vision_config": {**QWEN3, "model_type": "qwen4_exp_vision", "deepstack_visual_indexes": []},
}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    for name, config in MODELS.items():
        for tp in (1, 2, 4):
            yield {"id": f"{name}-tp{tp}", "config": config, "tp": tp}
