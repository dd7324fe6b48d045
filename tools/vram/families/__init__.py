"""From a config to a model's structure, by family.

A family that differs from others only in facts is a row of ``tools.vram.dialects``. One with structure of its own has a
builder ``(config) -> Structure`` in a module here, listed by ``model_type`` in that module's ``BUILDERS`` and below.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from tools.vram.families import regular
from tools.vram.families.structure import Structure
from tools.vram.fields import Config

__all__ = ["Structure", "structure_of"]

_MODULES: dict[str, tuple[str, ...]] = {
    "gemma": ("gemma3n_text", "gemma4_text", "gemma4_unified_text"),
    "deepseek_v4": ("deepseek_v4",),
    "hybrid_bailing": ("bailing_hybrid",),
    "hybrid_conv": ("lfm2", "lfm2_moe"),
    "hybrid_gdn": ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid"),
    "hybrid_glm": ("glm5_next_text",),
    "hybrid_kimi": ("kimi_linear",),
    "hybrid_mamba1": ("mamba", "falcon_mamba", "jamba"),
    "hybrid_mamba2": ("nemotron_h", "nemotron_h_puzzle", "falcon_h1", "granitemoehybrid", "mamba2"),
    "hybrid_qwen4": ("qwen4_exp_text",),
    "hybrid_zamba": ("zamba2",),
    "mla": (
        *("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm_moe_dsa", "glm4_moe_lite", "minicpm3"),
        *("youtu", "mistral4", "axk1", "pangu_ultra_moe", "longcat_flash", "mistral"),
    ),
    "uneven": ("falcon", "mllama", "nemotron-nas", "qwen"),
    "windowed": ("laguna", "llama4_text", "mimo_v2", "mimo_v2_flash", "minimax_m3", "step3p5", "step3p7"),
}
"""Modules here by the ``model_type`` of their ``BUILDERS``; one is imported when a model of it is asked about."""

_MODULE_OF = {kind: module for module, kinds in _MODULES.items() for kind in kinds}


def structure_of(config: Config) -> Structure:
    """Describe the model that a config (of the text model) declares.

    Raises:
        NotYetExact: the architecture has structure the calculator does not cover yet.
        BadValue: a field is missing or absurd.
    """
    kind = str(config.get("model_type"))
    module = _MODULE_OF.get(kind)
    build: Callable[[Config], Structure] = (
        import_module(f"{__name__}.{module}").BUILDERS[kind] if module else regular.build
    )
    return build(config)
