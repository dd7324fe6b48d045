"""Short convolutions beside attention: LFM2, dense and with experts.

Source: vLLM 0.32 ``model_executor/models/lfm2.py``, ``lfm2_moe.py``; what configs leave unsaid as in the families'
classes in transformers 5.19.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from tools.domain import DenseMlp, Layer, MoeMlp, ShortConv
from tools.errors import BadValue
from tools.vram.dialects import Dialect, Experts, Says
from tools.vram.families import hybrid, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_SIZE, Config, flag, number

_CONV, _FULL = "conv", "full_attention"
_KINDS = {_CONV: _CONV, "short_conv": _CONV, _FULL: _FULL}

_LFM2 = Dialect(
    qk_norm=True,
    derived_head_dim=True,
    moe=Experts(
        experts=("num_experts",),
        width=("moe_intermediate_size",),
        score_bias=Says("use_expert_bias", absent=True),
        router_quantised=True,
    ),
)


def lfm2(config: Config) -> Structure:
    """Describe an LFM2: convolutions, some attention, a dense block in each layer."""
    width = _feed_forward_width(config)
    return _build(config, [DenseMlp(width)] * hybrid.layer_count(config))


def lfm2_moe(config: Config) -> Structure:
    """Describe an LFM2 whose layers but the first few have a mixture of experts."""
    count = hybrid.layer_count(config)
    none = config.get("num_dense_layers") == 0
    dense = 0 if none else number(config, "num_dense_layers", "first_k_dense_replace", default=2, maximum=MAX_SIZE)
    dense = min(count, dense)
    first, rest = regular.dense_mlp(config, _LFM2), regular.moe_mlp(config, _LFM2)
    return _build(config, [first] * dense + [rest] * (count - dense))


def _build(config: Config, mlps: list[DenseMlp] | list[MoeMlp] | list[DenseMlp | MoeMlp]) -> Structure:
    kinds = hybrid.kinds_of(config, _KINDS, lambda count: _habit(config, count))
    hidden = number(config, "hidden_size")
    conv = ShortConv(
        width=number(config, "conv_dim", default=hidden),
        kernel=number(config, "conv_L_cache", default=3),
        bias=flag(config, Says("conv_bias")),
    )
    mixers = {_CONV: conv, _FULL: replace(regular.attention(config, _LFM2, _FULL), cache_scales=False)}
    tied = flag(config, Says("tie_embedding", absent=True))
    return Structure(
        hybrid.layers(list(zip(kinds, mlps, strict=True)), lambda kind: Layer((mixers[kind[0]],), kind[1])), tied=tied
    )


def _habit(config: Config, count: int) -> list[str]:
    """Layers that attend are listed by number; all of them where none is listed."""
    listed = config.get("full_attn_idxs")
    if not isinstance(listed, list):
        return [_FULL] * count
    attends = set(map(str, cast("list[Any]", listed)))
    return [_FULL if str(i) in attends else _CONV for i in range(count)]


def _feed_forward_width(config: Config) -> int:
    """Width of a dense block: two thirds of what is stated, scaled and rounded up, unless that is switched off.

    Worked example: ``block_ff_dim`` 12,288 gives 8,192 in multiples of 256.

    Raises:
        BadValue: the factor is no number of 0 to 1,000.
    """
    width = number(config, "block_ff_dim", "intermediate_size")
    if not flag(config, Says("block_auto_adjust_ff_dim", absent=True)):
        return width
    factor = config.get("block_ffn_dim_multiplier", 1.0)
    factor = 1.0 if factor is None else factor
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= 1000:
        raise BadValue("errors_vram.bad_field", field="block_ffn_dim_multiplier", value=repr(factor)[:80])
    multiple = number(config, "block_multiple_of", default=256)
    return -(-int(factor * int(2 * width / 3)) // multiple) * multiple


BUILDERS: dict[str, Callable[[Config], Structure]] = {"lfm2": lfm2, "lfm2_moe": lfm2_moe}
