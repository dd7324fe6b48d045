"""What vLLM's profiling run feeds a model: a step's tokens, sequences to sample for, images to look at.

Sources: 0.32 ``v1/worker/gpu_model_runner.py:profile_run``, ``multimodal/encoder_budget.py``; of the first generation
(0.6.6 and 0.8.5) ``worker/model_runner.py:profile_run``, ``worker/enc_dec_model_runner.py``, ``config.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tools.domain import Attention, Gpu, ModelSpec

LONG_CONTEXT = 32_768
"""Longer prompts are cut into steps by V0's default, but not those of models that see, pool or slide, nor on ROCm."""
V0_STEP, V0_SEEING_STEP, V0_POOLING_STEP = 2048, 5120, 32_768
"""Tokens of V0's steps: the least, and the least where a model sees or pools."""

UNKNOWN_ITEM = 1024
"""Tokens of an image or a sound of an encoder that is not described: between 576 (CLIP) and 3,328 (InternVL)."""

_TOWERS = ("vision", "visual", "audio", "multi_modal")


@dataclass(frozen=True, slots=True)
class Fed:
    """What goes through a model at once.

    Attributes:
        tokens: of the forward pass.
        sequences: that are sampled for.
        seen: tokens that the vision encoder makes.
    """

    tokens: int
    sequences: int
    seen: int = 0


def fed_by_v1(model: ModelSpec, sequences: int, tokens: int) -> Fed:
    """The largest image as often as a step has tokens for it, at least once; every sequence is sampled for."""
    if model.encoder is None:
        return Fed(tokens, sequences)
    largest = max(1, model.encoder.item_tokens)
    return Fed(tokens, sequences, largest * max(1, tokens // largest))


def fed_by_v0(model: ModelSpec, sequences: int, tokens: int) -> Fed:
    """A model that sees gets only as many sequences as there is room for images, each with one.

    Where cross attention reads the images every sequence has one. One that is larger than a step must have been made
    smaller, else V0 does not start.

    Worked example: Qwen2-VL-7B with steps of 4,097 tokens: one sequence, so next to nothing is sampled for (0.6.5 logs
    a peak of 0.74 GiB; 256 sequences would take 1.40). Llama-3.2-11B-Vision: 128 sequences with 6,404 tokens each.
    """
    if not sees(model):
        return Fed(tokens, sequences)
    if model.encoder is None:
        return Fed(tokens, min(sequences, max(1, tokens // UNKNOWN_ITEM)))
    each = max(1, model.encoder.item_tokens)
    if model.encoder.each_sequence:
        return Fed(tokens, sequences, each * sequences)
    images = min(sequences, max(1, tokens // each))
    return Fed(tokens, images, min(each, tokens) * images)


def sees(model: ModelSpec) -> bool:
    """Whether a model takes images or sound beside text."""
    if model.encoder or model.tower_params:
        return True
    return any(linear.name.startswith(_TOWERS) for linear in model.outer)


def v0_step(model: ModelSpec, length: int, gpu: Gpu | None) -> int:
    """Tokens a step of V0 by default: a whole prompt, unless long prompts are cut.

    Args:
        model: its structure.
        length: tokens a sequence may have.
        gpu: the card.
    """
    is_rocm = gpu is not None and gpu.vendor.lower() == "amd"
    plain = not (sees(model) or model.pools or is_rocm or _slides(model))
    step = V0_STEP if length > LONG_CONTEXT and plain else max(length, V0_STEP)
    return max(step, V0_SEEING_STEP if sees(model) else 0, V0_POOLING_STEP if model.pools else 0)


def _slides(model: ModelSpec) -> bool:
    layers = {id(layer): layer for layer in model.layers}.values()
    return any(isinstance(mixer, Attention) and mixer.window for layer in layers for mixer in layer.mixers)
