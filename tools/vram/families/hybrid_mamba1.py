"""Mamba-1 alone and beside attention: Mamba, Falcon Mamba, Jamba.

Source: vLLM 0.32 ``model_executor/models/mamba.py``, ``jamba.py``; sizes that configs leave unsaid are those of the
families' classes in transformers 5.19.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tools.domain import Layer, Mamba
from tools.vram.dialects import Dialect, Experts, Says
from tools.vram.families import hybrid, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, flag, number

_JAMBA = Dialect(derived_head_dim=True, moe=Experts(experts=("num_experts",), width=("intermediate_size",)))


def mamba(config: Config) -> Structure:
    """Describe a model of Mamba layers alone; Falcon Mamba's norms have no weights."""
    inner = number(config, "expand", default=2) * number(config, "hidden_size")
    state = Mamba(
        version=1,
        intermediate=number(config, "intermediate_size", default=inner),
        state=number(config, "state_size", default=16),
        conv_kernel=number(config, "conv_kernel", default=4),
        time_step_rank=_rank(config, "time_step_rank"),
        conv_bias=flag(config, Says("use_conv_bias", absent=True)),
        bias=flag(config, Says("use_bias")),
        norm=False,
    )
    layer = Layer((state,), None, norms=1)
    return Structure((layer,) * hybrid.layer_count(config), tied=True, prefix="backbone.layers")


def jamba(config: Config) -> Structure:
    """Describe a Jamba: of each period of layers one attends, and one of each period has experts."""
    attends, sparse = _periodic(config, "attn_layer"), _periodic(config, "expert_layer")
    experts = number(config, "num_experts", default=1, maximum=1 << 16)
    attention = replace(regular.attention(config, _JAMBA, "full_attention"), rotary_dim=0, cache_scales=False)
    state = Mamba(
        version=1,
        intermediate=number(config, "mamba_expand", default=2) * number(config, "hidden_size"),
        state=number(config, "mamba_d_state", default=16),
        conv_kernel=number(config, "mamba_d_conv", default=4),
        time_step_rank=_rank(config, "mamba_dt_rank"),
        conv_bias=flag(config, Says("mamba_conv_bias", absent=True)),
        bias=flag(config, Says("mamba_proj_bias")),
    )

    def layer(kind: tuple[bool, bool]) -> Layer:
        routed = kind[1] and experts > 1
        mlp = regular.moe_mlp(config, _JAMBA) if routed else regular.dense_mlp(config, _JAMBA)
        return Layer((attention if kind[0] else state,), mlp)

    return Structure(hybrid.layers(list(zip(attends, sparse, strict=True)), layer))


def _rank(config: Config, field: str) -> int:
    """Rank of the time step: as stated, or a sixteenth of the hidden size, rounded up."""
    if config.get(field) in (None, "auto"):
        return -(-number(config, "hidden_size") // 16)
    return number(config, field)


def _periodic(config: Config, name: str) -> list[bool]:
    """Mark the layer at the stated place of each period."""
    step = number(config, f"{name}_period", maximum=MAX_LAYERS)
    first = number(config, f"{name}_offset", default=0, maximum=MAX_LAYERS)
    return [i % step == first for i in range(hybrid.layer_count(config))]


BUILDERS: dict[str, Callable[[Config], Structure]] = {"mamba": mamba, "falcon_mamba": mamba, "jamba": jamba}
