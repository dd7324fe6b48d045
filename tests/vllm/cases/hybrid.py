"""Linear attention, Mamba and short convolutions beside attention: every family in every format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import formats, hybrid_conv, hybrid_linear, hybrid_mamba
from cases.parts import Config, config_of, over_ranks

FAMILIES = {**hybrid_linear.FAMILIES, **hybrid_mamba.FAMILIES, **hybrid_conv.FAMILIES}

WHOLE: Config = {
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_num_value_heads": 16,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "moe_shared_expert_intermediate_size": 512,
    "shared_intermediate_size": 512,
    "mamba_num_heads": 16,
    "mamba_n_heads": 16,
    "mamba_d_ssm": 1024,
    "mamba_head_dim": 64,
    "mamba_d_head": 64,
    "mamba_d_state": 64,
    "ssm_state_size": 64,
    "moe_latent_size": 256,
    "block_auto_adjust_ff_dim": False,
    "block_ff_dim": 1024,
    "intermediate_size": 1024,
    "adapter_rank": 128,
}
"""Sizes that most formats' blocks and groups divide among two ranks."""

STORED = (
    "qwen3_next",
    "qwen3_5",
    "qwen3_5_moe",
    "nemotron_h",
    "nemotron_h_latent",
    "falcon_h1",
    "granitemoehybrid",
    "jamba",
    "lfm2",
    "lfm2_moe",
    "olmo_hybrid",
)

LAYOUTS = (
    "fp8_tensor",
    "fp8_static",
    "fp8_block",
    "gptq4_128",
    "gptq4_-1",
    "gptq8_32",
    "awq_128",
    "w4a16_32",
    "w4a16_channel",
    "w4a16_asymmetric",
    "int8",
    "fp8_channel",
    "fp8_tensor_static",
    "fp8_blocks",
    "nvfp4a16",
    "modelopt_fp8",
    "modelopt_nvfp4",
    "modelopt_mxfp8",
    "mxfp8",
    "rounded",
    "rounded_awq",
    "rounded_fp8",
    "quark_fp8",
)
"""Formats that name no modules, or only such as nearly every family here has."""

NAMED_OTHERWISE = {("lfm2_moe", "modelopt_nvfp4")}
"""Where a format names modules (``mlp.gate``) that the family calls otherwise."""


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
    for name in STORED:
        fields = {key: value for key, value in WHOLE.items() if key in FAMILIES[name][2] or key == "intermediate_size"}
        for layout in LAYOUTS:
            for tp in (1, 2) if (name, layout) not in NAMED_OTHERWISE else ():
                config = config_of(FAMILIES[name], **fields, quantization_config=formats.FORMATS[layout])
                yield {"id": f"{name}-{layout}-tp{tp}", "config": config, "tp": tp}
