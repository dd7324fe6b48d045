"""Multi-token-prediction heads: what a rank of the last stage holds beside the model with speculative decoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import dense, hybrid, mla, moe, others
from cases.parts import Families, config_of

ONE: dict[str, Any] = {"num_nextn_predict_layers": 1}
TWO: dict[str, Any] = {"num_nextn_predict_layers": 2}
QWEN: dict[str, Any] = {"mtp_num_hidden_layers": 1}
ASKED: dict[str, Any] = {"speculative_config": {"method": "mtp", "num_speculative_tokens": 2}}
BLOCKS: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
SOURCES: Families = {**dense.FAMILIES, **moe.FAMILIES, **mla.FAMILIES, **hybrid.FAMILIES, **others.FAMILIES}
HEADS: dict[str, dict[str, Any]] = {
    "deepseek_v3": TWO,
    "deepseek_v32": ONE,
    "ernie4_5_moe": ONE,
    "exaone_moe": ONE,
    "glm4_moe": ONE,
    "glm4_moe_lite": ONE,
    "glm5": ONE,
    "hy_v3": ONE,
    "ling": ONE,
    "longcat_flash": ONE,
    "mimo": ONE,
    "mimo_v2": ONE,
    "nemotron_h": {**ONE, "mtp_hybrid_override_pattern": "*E"},
    "openpangu": ONE,
    "qwen3_5": QWEN,
    "qwen3_5_moe": QWEN,
    "qwen3_next": ONE,
}
"""Families with such a head, and what beside the fields of the model itself says so."""


def cases() -> Iterator[dict[str, Any]]:
    """Yield each family in 16 bits over ranks, and in blocks of FP8."""
    for name, fields in HEADS.items():
        for tp in (1, 2, 4):
            yield {"id": f"{name}-tp{tp}", "config": config_of(SOURCES[name], **fields), "tp": tp, "arguments": ASKED}
        for tp in (1, 2):
            config = config_of(SOURCES[name], **fields, quantization_config=BLOCKS)
            yield {"id": f"{name}-fp8-tp{tp}", "config": config, "tp": tp, "arguments": ASKED}
    for name in ("deepseek_v3", "qwen3_next"):
        config = config_of(SOURCES[name], **HEADS[name])
        yield {"id": f"{name}-pp2", "config": config, "pp": 2, "arguments": ASKED}
    for dtype in ("fp4", "fp8"):
        config = mla.v4(expert_dtype=dtype, **ONE)
        config["compress_ratios"] = [*config["compress_ratios"][: config["num_hidden_layers"]], 0]
        for tp in (1, 2):
            yield {"id": f"deepseek_v4-{dtype}-tp{tp}", "config": config, "tp": tp, "arguments": ASKED}
    kept = {**BLOCKS, "modules_to_not_convert": ["lm_head", "mtp.fc", "mtp.layers.0.mlp.gate_up_proj"]}
    config = config_of(SOURCES["qwen3_5"], **QWEN, quantization_config=kept)
    yield {"id": "qwen3_5-fp8-kept", "config": config, "arguments": ASKED}
