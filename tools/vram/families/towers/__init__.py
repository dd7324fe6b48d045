"""Vision towers and their projectors: what a rank holds of them beside the text model.

Each builder follows the code of vLLM 0.32 (``vllm/model_executor/models/``) that the model's wrapper runs, in its
default mode (``--mm-encoder-tp-mode weights``): attention and feed-forward projections are shared out among ranks where
that code uses parallel layers, everything else is whole on each rank. Where a config leaves a size unsaid, the family's
class in transformers 5.19 says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, cast

from tools.domain import Encoder, Linear, ModelSpec
from tools.vram.families.towers import audio, encoders, merging, mllama, running, sizes
from tools.vram.fields import Config, number, opened, text_config

__all__ = ["Tower", "candidates", "encoder", "of", "on_every_rank", "without"]


class Tower(NamedTuple):
    """How to read a wrapper's tower: its builder, and its sizes where a config is silent.

    Attributes:
        build: ``(vision config, whole config, the text model's hidden size)`` to projections.
        fixed: configs do not describe it.
    """

    build: Callable[[Config, Config, int], list[Linear]]
    defaults: sizes.Sizes
    fixed: bool = False


def of(config: Config) -> tuple[Linear, ...] | None:
    """List the projections of a model's towers, or None where the kind of tower is not known.

    Args:
        config: the whole ``config.json``, with ``vision_config`` and the like inside.

    Raises:
        BadValue: a field is missing or absurd.
    """
    config = opened(config)
    kind = str(config.get("model_type"))
    tower, ear = _TOWERS.get(kind), _EARS.get(kind)
    seen = _part(config, "vision_config", tower)
    heard = () if kind.startswith("gemma4") else _part(config, "audio_config", ear)
    if seen is None or heard is None or (tower and not seen) or not (tower or ear):
        return None
    return (*seen, *heard)


def _part(config: Config, name: str, tower: Tower | None) -> tuple[Linear, ...] | None:
    """List what one of a model's towers holds: nothing where it has none, None where its kind is not known."""
    described = config.get(name)
    if not isinstance(described, Mapping) and not (tower and tower.fixed):
        return ()
    if tower is None:
        return None
    given: Config = cast("Config", described) if isinstance(described, Mapping) else {}
    stated = {key: value for key, value in given.items() if value is not None}
    return tuple(tower.build({**tower.defaults, **stated}, config, number(text_config(config), "hidden_size")))


def encoder(config: Config) -> Encoder | None:
    """Describe what a model's vision encoder takes while it runs, or None where that is not known."""
    tower = _TOWERS.get(str(config.get("model_type")))
    return None if tower is None else running.encoder_of(config, tower.defaults)


_MODULES = frozenset(
    {"visual", "vision_tower", "vision_model", "vision_embed_tokens", "audio_tower", "multi_modal_projector"}
    | {"mm_projector", "connector", "embed_vision", "embed_audio", "image_newline"}
)
"""What towers and their projectors are called in the paths of modules."""


def without(model: ModelSpec) -> ModelSpec:
    """Return the model as ``--language-model-only`` loads it: no tower, no projector, no encoder at work.

    vLLM 0.32 puts placeholders in their place (``model_executor/models/interfaces.py``).
    """
    kept = tuple(linear for linear in model.outer if _MODULES.isdisjoint(linear.name.split(".")))
    return replace(model, outer=kept, tower_params=0, encoder=None)


def on_every_rank(model: ModelSpec) -> ModelSpec:
    """Return the model as ``--mm-encoder-tp-mode data`` loads it: each rank has the towers as a whole."""

    def whole(linear: Linear) -> Linear:
        return linear if _MODULES.isdisjoint(linear.name.split(".")) else replace(linear, split="")

    return replace(model, outer=tuple(map(whole, model.outer)))


def candidates(config: Config) -> Iterator[tuple[tuple[Linear, ...], int]]:
    """Yield the towers that published models of the family have, for a config that does not describe its own.

    Each comes with the parameters that are counted as published and that the engine leaves out (layers above the one
    whose output is used), less those it has and that are not counted (Gemma 4's audio).
    """
    if isinstance(config.get("vision_config"), Mapping):
        return
    for published in sizes.PUBLISHED.get(str(config.get("model_type")), ({},)):
        hears: Config = {"audio_config": {}} if config.get("hidden_size_per_layer_input") else {}
        described = {**config, "vision_config": published}
        made, whole = of({**described, **hears}), of({**described, "vision_feature_layer": -1})
        if made is not None and whole is not None:
            yield made, _elements(whole) - _elements(made)


def _elements(linears: tuple[Linear, ...]) -> int:
    return sum(one.times * sum(one.outputs) * (one.inputs + one.bias) for one in linears)


_TOWERS: dict[str, Tower] = {
    "cohere2_vision": Tower(encoders.cohere2, sizes.COHERE2),
    "dots_ocr": Tower(merging.dots_ocr, sizes.DOTS_OCR),
    "gemma3": Tower(encoders.gemma3, sizes.SIGLIP),
    "gemma4": Tower(encoders.gemma4, sizes.GEMMA4),
    "gemma4_unified": Tower(encoders.gemma4_unified, sizes.GEMMA4_UNIFIED),
    "glm_ocr": Tower(merging.glm_ocr, sizes.GLM_OCR),
    "glm4v": Tower(merging.glm4v, sizes.GLM4V),
    "glm4v_moe": Tower(merging.glm4v, sizes.GLM4V),
    "idefics3": Tower(encoders.idefics3, sizes.IDEFICS3),
    "interns1": Tower(encoders.internvl, sizes.INTERNVL),
    "internvl": Tower(encoders.internvl, sizes.INTERNVL),
    "internvl_chat": Tower(encoders.internvl_chat, sizes.INTERNVIT),
    "kimi_k25": Tower(merging.kimi, sizes.MOONVIT),
    "kimi_k3": Tower(merging.kimi, sizes.MOONVIT),
    "kimi_vl": Tower(merging.kimi, sizes.MOONVIT),
    "lighton_ocr": Tower(encoders.mistral3, sizes.PIXTRAL),
    "llama4": Tower(encoders.llama4, sizes.LLAMA4),
    "llava": Tower(encoders.llava, sizes.CLIP),
    "llava_next": Tower(encoders.llava_next, sizes.CLIP),
    "llava_onevision": Tower(encoders.llava_onevision, sizes.ONEVISION),
    "minimax_m3_vl": Tower(merging.minimax_m3, sizes.MINIMAX_M3),
    "mistral3": Tower(encoders.mistral3, sizes.PIXTRAL),
    "mllama": Tower(mllama.mllama, {}),
    "paddleocr_vl": Tower(encoders.paddleocr_vl, sizes.ONEVISION),
    "paligemma": Tower(encoders.paligemma, sizes.PALIGEMMA),
    "phi3_v": Tower(encoders.phi3_v, sizes.CLIP, fixed=True),
    "qwen2_5_omni": Tower(merging.qwen2_5_vl, sizes.QWEN2_5_VL),
    "qwen3_omni_moe": Tower(merging.qwen3_vl, sizes.QWEN3_VL),
    "qwen2_5_vl": Tower(merging.qwen2_5_vl, sizes.QWEN2_5_VL),
    "qwen2_vl": Tower(merging.qwen2_vl, sizes.QWEN2_VL),
    "qwen3_5": Tower(merging.qwen3_vl, sizes.QWEN3_5),
    "qwen3_5_moe": Tower(merging.qwen3_vl, sizes.QWEN3_5),
    "qwen4_exp": Tower(merging.qwen3_vl, sizes.QWEN3_5),
    "cosmos3_omni": Tower(merging.qwen3_vl, sizes.QWEN3_VL),
    "qwen3_vl": Tower(merging.qwen3_vl, sizes.QWEN3_VL),
    "qwen3_vl_moe": Tower(merging.qwen3_vl, sizes.QWEN3_VL),
    "smolvlm": Tower(encoders.idefics3, sizes.IDEFICS3),
    "step3p7": Tower(merging.step3p7, sizes.STEP3P7),
}

_EARS: dict[str, Tower] = {
    "qwen2_5_omni": Tower(audio.qwen2_5_omni, sizes.WHISPER),
    "qwen2_audio": Tower(audio.qwen2_audio, sizes.WHISPER),
    "qwen3_asr": Tower(audio.qwen3_omni, sizes.QWEN3_AUDIO),
    "qwen3_omni_moe": Tower(audio.qwen3_omni, sizes.QWEN3_AUDIO),
    "ultravox": Tower(audio.ultravox, sizes.WHISPER),
    "voxtral": Tower(audio.voxtral, sizes.WHISPER),
}
