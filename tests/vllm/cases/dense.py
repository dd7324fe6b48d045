"""Dense models with attention of one kind or of alternating windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import PLAIN, SLIDING, Config, config_of, over_ranks

SLIDES = ("cohere2", "olmo3")
SEVEN = [*SLIDING["layer_types"], *SLIDING["layer_types"], "sliding_attention"]

FAMILIES: dict[str, tuple[str, str, Config]] = {
    "llama": ("llama", "LlamaForCausalLM", {}),
    "llama_biased": ("llama", "LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True, "head_dim": 96}),
    "llama_tied": ("llama", "LlamaForCausalLM", {"tie_word_embeddings": True}),
    "mistral": ("mistral", "MistralForCausalLM", {"sliding_window": None}),
    "mistral_sliding": ("mistral", "MistralForCausalLM", {"sliding_window": 1024}),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", {}),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", {"head_dim": 128}),
    "granite": ("granite", "GraniteForCausalLM", {}),
    "phi3": ("phi3", "Phi3ForCausalLM", {"pad_token_id": 0}),
    "phi": ("phi", "PhiForCausalLM", {"partial_rotary_factor": 0.5, "num_key_value_heads": 8}),
    "gpt_neox": ("gpt_neox", "GPTNeoXForCausalLM", {"rotary_pct": 0.25, "num_key_value_heads": 8}),
    "starcoder2": ("starcoder2", "Starcoder2ForCausalLM", {"use_bias": True}),
    "stablelm": ("stablelm", "StableLmForCausalLM", {"use_qkv_bias": True, "layer_norm_eps": 1e-5}),
    "nemotron": ("nemotron", "NemotronForCausalLM", {"norm_eps": 1e-5, "hidden_act": "relu2", "head_dim": 64}),
    "arcee": ("arcee", "ArceeForCausalLM", {"hidden_act": "relu2"}),
    "olmo": ("olmo", "OlmoForCausalLM", {"num_key_value_heads": 8}),
    "olmo2": ("olmo2", "Olmo2ForCausalLM", {}),
    "olmo3": ("olmo3", "Olmo3ForCausalLM", SLIDING),
    "cohere": ("cohere", "CohereForCausalLM", {"use_qk_norm": True, "layer_norm_eps": 1e-5}),
    "cohere2": ("cohere2", "Cohere2ForCausalLM", {**SLIDING, "layer_norm_eps": 1e-5}),
    "glm": ("glm", "GlmForCausalLM", {"head_dim": 64, "attention_bias": True, "pad_token_id": 0}),
    "glm4": ("glm4", "Glm4ForCausalLM", {"head_dim": 64, "attention_bias": True}),
    "smollm3": ("smollm3", "SmolLM3ForCausalLM", {"pad_token_id": 0}),
    "ernie4_5": ("ernie4_5", "Ernie4_5ForCausalLM", {"head_dim": 64, "use_bias": False}),
    "hunyuan": ("hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", {"head_dim": 64, "use_qk_norm": True}),
    "seed_oss": (
        "seed_oss",
        "SeedOssForCausalLM",
        {"head_dim": 64, "attention_bias": True, "attention_out_bias": False},
    ),
    "exaone4": ("exaone4", "Exaone4ForCausalLM", SLIDING),
    "internlm2": ("internlm2", "InternLM2ForCausalLM", {**PLAIN, "bias": False}),
    "internlm3": ("internlm3", "InternLM3ForCausalLM", {**PLAIN, "qkv_bias": True, "bias": False, "head_dim": 64}),
    "mimo": ("mimo", "MiMoForCausalLM", {**PLAIN, "attention_bias": True, "num_nextn_predict_layers": 1}),
    "exaone": (
        "exaone",
        "ExaoneForCausalLM",
        {**PLAIN, "num_layers": 3, "layer_norm_epsilon": 1e-5, "activation_function": "silu"},
    ),
    "minicpm": (
        "minicpm",
        "MiniCPMForCausalLM",
        {**PLAIN, "scale_emb": 1, "dim_model_base": 256, "scale_depth": 1.4},
    ),
}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
    for vocab in (1, 63, 64, 65, 151_936):
        for layers in (1, 7):
            config = config_of(FAMILIES["llama"], vocab_size=vocab, num_hidden_layers=layers, num_key_value_heads=1)
            yield {"id": f"llama-vocab{vocab}-layers{layers}", "config": config, "tp": 4}
    for pp in (2, 3, 5):
        for name in ("llama", "llama_tied", "cohere2", "olmo3"):
            config = config_of(
                FAMILIES[name], num_hidden_layers=7, **({"layer_types": SEVEN} if name in SLIDES else {})
            )
            yield {"id": f"{name}-pp{pp}", "config": config, "tp": 2, "pp": pp}
