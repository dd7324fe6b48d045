"""Zamba2: Mamba-2 layers, some of which run a transformer block first that they share, each with adapters of its own.

Source: vLLM 0.32 ``model_executor/models/zamba2.py``; what configs leave unsaid as in the family's class in
transformers 5.19.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from tools.domain import Attention, Layer, Linear, Mamba
from tools.errors import BadValue, NotYetExact
from tools.vram.dialects import Says
from tools.vram.families import hybrid
from tools.vram.families.structure import Structure
from tools.vram.fields import Config, flag, number

_STATE, _HYBRID = "linear_attention", "hybrid"
_KINDS = {"mamba": _STATE, "mamba2": _STATE, _STATE: _STATE, _HYBRID: _HYBRID}
_USUAL = (6, 5, 5, 5, 5, 5, 5, 4, 3)
"""Layers before each hybrid one where the config is silent; two more follow the last."""


def zamba2(config: Config) -> Structure:
    """Describe a Zamba2: a shared block's weights are in the first layer that runs it, adapters in every such layer."""
    kinds = _kinds(config)
    sizes = _sizes(config)
    state = Layer((_state(config, sizes),), None, norms=1)
    blocks = number(config, "num_mem_blocks", default=1, maximum=1024)
    owner, borrower = _hybrid(config, sizes, state, owns=True), _hybrid(config, sizes, state, owns=False)
    made: list[Layer] = []
    runs = 0
    for kind in kinds:
        if kind == _HYBRID:
            made.append(owner if runs < blocks else borrower)
            runs += 1
        else:
            made.append(state)
    return Structure(tuple(made), tied=True)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Widths of the shared block: its attention sees a layer's input beside the embeddings, twice the hidden size."""

    hidden: int
    heads: int
    seen: int
    inner: int
    rank: int


def _sizes(config: Config) -> _Sizes:
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    if 2 * hidden % heads:
        raise BadValue("errors_vram.bad_field", field="num_attention_heads", value=str(heads))
    inner = number(config, "intermediate_size", default=4 * hidden)
    return _Sizes(hidden, heads, 2 * hidden, inner, number(config, "adapter_rank", default=128))


def _kinds(config: Config) -> list[str]:
    said = config.get("layers_block_type") or config.get("layer_types")
    count = hybrid.layer_count(config)
    if isinstance(said, list):
        kinds = [str(kind)[:80] for kind in cast("list[Any]", said)]
    else:
        kinds = [kind for run in _USUAL for kind in (*[_STATE] * run, _HYBRID)] + [_STATE] * 2
    for kind in kinds:
        if kind not in _KINDS:
            raise NotYetExact("errors_vram.not_covered", architecture="zamba2", part=kind)
    if len(kinds) != count:
        raise BadValue("errors_vram.bad_field", field="num_hidden_layers", value=str(count))
    return [_KINDS[kind] for kind in kinds]


def _state(config: Config, sizes: _Sizes) -> Mamba:
    inner, heads = number(config, "mamba_expand", default=2) * sizes.hidden, number(config, "n_mamba_heads", default=8)
    return Mamba(
        version=2,
        intermediate=inner,
        state=number(config, "mamba_d_state", default=64),
        conv_kernel=number(config, "mamba_d_conv", default=4),
        heads=heads,
        head_dim=inner // heads,
        groups=number(config, "mamba_ngroups", default=1),
        conv_bias=flag(config, Says("use_conv_bias", absent=True)),
        bias=flag(config, Says("add_bias_linear")),
    )


def _hybrid(config: Config, sizes: _Sizes, state: Layer, *, owns: bool) -> Layer:
    size = sizes.seen // sizes.heads
    rotary = None if config.get("use_mem_rope") else 0
    attention = Attention(sizes.heads, sizes.heads, size, rotary_dim=rotary, borrowed=True, cache_scales=False)
    extras = [
        Linear("linear", (sizes.hidden,), sizes.hidden, plain=False),
        *_adapter("feed_forward", sizes, sizes.hidden),
    ]
    if config.get("use_shared_attention_adapter"):
        extras += 3 * _adapter("self_attn", sizes, sizes.seen)
    if owns:
        extras += _block(sizes, bias=flag(config, Says("add_bias_linear")))
    norms = 3 * sizes.hidden if owns else 0
    return Layer((attention, *state.mixers), None, norms=1, extras=tuple(extras), extra_elements=norms)


def _adapter(name: str, sizes: _Sizes, inputs: int) -> list[Linear]:
    """A narrow pair of projections that lets a layer differ from others of the same block."""
    outputs = (sizes.inner, sizes.inner) if name == "feed_forward" else (sizes.seen,)
    return [
        Linear(f"{name}.adapter.A", (sizes.rank,), inputs, split="out", plain=False),
        Linear(f"{name}.adapter.B", outputs, sizes.rank, split="out", plain=False),
    ]


def _block(sizes: _Sizes, *, bias: bool) -> list[Linear]:
    return [
        Linear("self_attn.qkv_proj", (sizes.seen,) * 3, sizes.seen, split="out", plain=False),
        Linear("self_attn.o_proj", (sizes.hidden,), sizes.seen, split="in", plain=False),
        Linear("feed_forward.gate_up_proj", (sizes.inner,) * 2, sizes.hidden, bias, split="out", plain=False),
        Linear("feed_forward.down_proj", (sizes.hidden,), sizes.inner, bias, split="in", plain=False),
    ]


BUILDERS: dict[str, Callable[[Config], Structure]] = {"zamba2": zamba2}
