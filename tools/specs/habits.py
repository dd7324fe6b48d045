"""What writers of quantised checkpoints usually leave in 16 bits, for repositories whose config was not read.

Sources: the literal configs that ``aiconfigurator-core`` 0.12.0 carries (NVIDIA's and Qwen's lists), the recipes of
``llm-compressor`` 0.9 (``examples/``: ``lm_head``, routers, ``visual``, ``linear_attn``), AutoRound's and GPTQModel's
defaults. Names are compared as whole components of a module's path.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tools.domain import FormatPart, Quantization

TOWERS = (
    "visual", "vision_tower", "vision_model", "vision_encoder", "multi_modal_projector", "mm_projector", "embed_vision",
    "audio_tower", "embed_audio", "mtp",
)  # fmt: skip
"""Vision and audio towers, their projectors and prediction heads."""

ROUTERS = ("mlp.gate", "mlp.router", "router", "shared_expert_gate")
"""What chooses and weighs experts."""

SMALL = ("in_proj_a", "in_proj_b", "in_proj_ba", "conv1d", "indexer")
"""Projections of a head's width, too narrow for a format's blocks."""

COMMON = ("lm_head", *TOWERS, *ROUTERS, *SMALL)

WRITERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("redhatai", ""): (*COMMON, "linear_attn"),
    ("neuralmagic", ""): (*COMMON, "linear_attn"),
    ("nvidia", "nvfp4"): (*COMMON, "linear_attn", "shared_expert"),
    ("qwen", "fp8_block"): (*(name for name in COMMON if name != "mtp"), "mtp.fc"),
    ("qwen", "gptq"): ("lm_head", *TOWERS, "self_attn", "linear_attn", "shared_expert", "shared_expert_gate"),
}
"""Beyond ``COMMON``: by organisation and method ("" = any method). Qwen's FP8 repositories store the prediction head's
layer in FP8, too: with it a start-up log of Qwen3.8-27B-FP8 is 0.6 GiB above the model, in 16 bits it would be 0.8."""

NVFP4 = (*COMMON, "linear_attn")
"""What llm-compressor's NVFP4 recipes of hybrid models leave in 16 bits, whoever runs them."""

OWN_RECIPE = ("redhatai", "neuralmagic")
FIRST_WITH_EIGHT_BIT = (3, 6)
"""NVFP4 checkpoints of Qwen's hybrids store both kinds of attention in FP8 from this generation on, but for those of
llm-compressor's authors (``nvidia/Qwen3.6-27B-NVFP4``: ``hf_quant_config.json``; nine copies of Qwen3.8-27B by other
writers hold exactly as many elements)."""

_QWEN = re.compile(r"qwen(\d{1,2})\.(\d{1,2})")

FIRST_WITH_TOWERS = "qwen3.5"
"""Qwen quantises only the experts with GPTQ from this generation on; before it everything but the head."""


def usual(quantization: Quantization, repo: str = "") -> Quantization:
    """Return a format with what its writer usually leaves alone.

    Args:
        quantization: the format that a repository's name tells.
        repo: hub id; "" where no repository is meant.
    """
    if quantization.method in {"none", "gguf", "exl2", "exl3", "mlx"} or quantization.excluded != ("lm_head",):
        return quantization
    org, _, name = repo.lower().partition("/")
    method = quantization.method
    listed = WRITERS.get((org, method)) or WRITERS.get((org, ""))
    if (org, method) == ("qwen", "gptq") and name < FIRST_WITH_TOWERS:
        listed = None
    if method == "nvfp4" and org not in OWN_RECIPE and _generation(name) >= FIRST_WITH_EIGHT_BIT:
        return replace(quantization, excluded=COMMON, parts=(_ATTENTION,))
    if listed is None:
        usually = NVFP4 if method == "nvfp4" else COMMON
        listed = tuple(part for part in usually if method != "gptq" or part != "mlp.gate")
    return replace(quantization, excluded=listed)


def _generation(name: str) -> tuple[int, ...]:
    """Read ``(3, 6)`` from a name with ``qwen3.6`` in it; nothing from other names."""
    found = _QWEN.search(name)
    return tuple(map(int, found.groups())) if found else ()


_FP8 = Quantization("fp8_tensor", 8, excluded=(), extra={"writer": "modelopt", "activation": "static"})
_ATTENTION = FormatPart(("self_attn", "linear_attn"), _FP8, "any")
