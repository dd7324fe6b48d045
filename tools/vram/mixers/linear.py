"""Linear attention: a recurrent state and a short convolution's last inputs, of one size whatever the length.

Layouts follow vLLM 0.32 ``model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py`` and ``olmo_gdn_linear_attn.py``,
states ``layers/mamba/mamba_utils.py`` (``gated_delta_net_state_shape``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tools.domain import Linear, LinearAttention
from tools.vram.kv.specs import CacheContext, KvSpec
from tools.vram.sharding import Vectors, divide, on_rank
from tools.vram.storage import Matrix

ALIGNMENT = 16
"""Rows of Kimi K3's fused projection are a multiple of this on a rank."""

FLASH_HEAD_DIM = 128
"""Heads that FlashKDA takes; it alone saves a state within a prefill (``kda_checkpoint.py``)."""

_KIMI = ("kda", "kda_full", "kda_ling", "kda_plain")
_SAVING = ("kda_full", "kda_plain")
_NARROW = ("gptq", "awq", "auto-round")
"""Checkpoints whose kernels take no narrow projection of rates: each rank has it whole (``maybe_disable_tp``)."""


def matrices(mixer: LinearAttention, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield the projections into queries, keys, values, gate and rates, and the output projection."""
    keys, values, heads = _widths(mixer)
    match mixer.kind:
        case "gdn_fused":
            yield _out("in_proj_qkvz", (2 * keys + 2 * values,), hidden, tp)
            yield _out("in_proj_ba", (2 * heads,), hidden, tp)
        case "gdn":
            yield _out("in_proj_qkvz", (keys, keys, values, values), hidden, tp)
            yield replace(_out("in_proj_ba", (heads, heads), hidden, tp), whole_in=_NARROW)
        case "gdn_olmo":
            yield _out("in_proj_qkvg", (keys, keys, values, values), hidden, tp)
            yield _out("b_proj", (heads,), hidden, tp)
            yield _out("a_proj", (heads,), hidden, tp)
        case "lightning":
            yield from _lightning(mixer, hidden, tp)
            return
        case _:
            yield from _kimi(mixer, hidden, tp)
            return
    out = "o_proj" if mixer.kind == "gdn_olmo" else "out_proj"
    yield on_rank(Linear(f"linear_attn.{out}", (hidden,), values, split="in", plain=False), tp)


def _kimi(mixer: LinearAttention, hidden: int, tp: int) -> Iterator[Matrix]:
    """Kimi delta attention (``kimi_gdn_linear_attn.py``, ``models/kimi_k3/nvidia/kda.py``).

    Its fused projection holds the narrow one of the forget gate whole on every rank; with a gate of full rank, rows are
    rounded up to a multiple of 16.
    """
    size = mixer.value_head_dim
    heads = divide(mixer.value_heads, tp, "num_heads")
    width = heads * size
    if mixer.kind == "kda_ling":
        yield Matrix("self_attn.qkvb_proj", (width, width, width, heads), hidden, split="out", ranks=tp)
        yield Matrix("self_attn.f_proj", (width,), hidden, split="out", ranks=tp)
        yield Matrix("self_attn.g_proj", (width,), hidden, split="out", ranks=tp)
        yield Matrix("self_attn.o_proj", (hidden,), width, split="in", ranks=tp)
        return
    if mixer.kind == "kda_plain":
        outputs = (width, width, width, heads, size, size)
        yield Matrix("self_attn.in_proj_qkvbfg_a", outputs, hidden, split="out", ranks=tp, plain=True)
        yield Matrix("self_attn.f_b_proj", (width,), size, split="out", ranks=tp, plain=True)
        yield Matrix("self_attn.g_b_proj", (width,), size, split="out", ranks=tp, plain=True)
        yield Matrix("self_attn.o_proj", (hidden,), width, split="in", ranks=tp, plain=True)
        return
    if mixer.kind == "kda_full":
        outputs = (width, width, width, width, size, heads)
        padding = -sum(outputs) % ALIGNMENT
        outputs += (padding,) if padding else ()
    else:
        outputs = (width, width, width, heads, size)
    yield Matrix("self_attn.in_proj_qkvgfab", outputs, hidden, split="out", ranks=tp)
    yield Matrix("self_attn.f_b_proj", (width,), size, split="out", ranks=tp)
    if mixer.kind == "kda":
        yield Matrix("self_attn.g_a_proj", (size,), hidden)
        yield Matrix("self_attn.g_b_proj", (width,), size, split="out", ranks=tp)
    yield Matrix("self_attn.o_proj", (hidden,), width, split="in", ranks=tp)


def _lightning(mixer: LinearAttention, hidden: int, tp: int) -> Iterator[Matrix]:
    """Lightning attention (``linear/bailing_linear_attn.py``): ranks share whole groups of its last norm."""
    divide(mixer.groups, tp, "group_norm_size")
    width = divide(mixer.value_heads, tp, "num_attention_heads") * mixer.value_head_dim
    bias = 3 * width if mixer.bias else 0
    yield Matrix("self_attn.query_key_value", (width, width, width), hidden, bias=bias, split="out", ranks=tp)
    yield Matrix("self_attn.g_proj", (width,), hidden, split="out", ranks=tp)
    yield Matrix("self_attn.dense", (hidden,), width, split="in", ranks=tp)


def vectors(mixer: LinearAttention, _hidden: int, tp: int) -> Vectors:
    """Count the convolution, the norm of a value head, and the rates a head (decay rates in float32)."""
    heads = divide(mixer.value_heads, tp, "linear_num_value_heads")
    if mixer.kind == "lightning":
        return Vectors(heads * mixer.value_head_dim + (2 * mixer.value_head_dim if mixer.qk_norm else 0))
    if mixer.kind in _KIMI:
        return Vectors(
            mixer.value_head_dim, _channels(mixer, tp) * mixer.conv_kernel + heads * mixer.value_head_dim + heads
        )
    elements = _channels(mixer, tp) * mixer.conv_kernel + mixer.value_head_dim + heads
    return Vectors(elements + heads) if mixer.kind == "gdn_olmo" else Vectors(elements, heads)


def kv_specs(mixer: LinearAttention, context: CacheContext) -> tuple[KvSpec, ...]:
    """One state a sequence: the convolution's last inputs and a matrix a value head.

    Worked example: Qwen3.5-35B-A3B, 16 key heads and 32 value heads of 128: 3 x 8,192 x 2 B of inputs and
    32 x 128 x 128 x 4 B (float32) are 2,146,304 B.
    """
    heads = divide(mixer.value_heads, context.tp, "linear_num_value_heads")
    kept = mixer.conv_kernel - 1 + context.drafts if mixer.conv_kernel else 0
    inputs = kept * _channels(mixer, context.tp) * context.width
    state = heads * mixer.value_head_dim * mixer.key_head_dim * (mixer.state_bytes or context.width)
    saves = mixer.kind in _SAVING and mixer.value_head_dim == FLASH_HEAD_DIM
    return (KvSpec("state", inputs + state, checkpoints=1 if saves else 0),)


def _out(name: str, outputs: tuple[int, ...], hidden: int, tp: int) -> Matrix:
    return on_rank(Linear(f"linear_attn.{name}", outputs, hidden, split="out", plain=False), tp)


def _widths(mixer: LinearAttention) -> tuple[int, int, int]:
    """Widths of all keys, of all values, and heads."""
    return mixer.key_heads * mixer.key_head_dim, mixer.value_heads * mixer.value_head_dim, mixer.value_heads


def _channels(mixer: LinearAttention, tp: int) -> int:
    """Channels that the convolution of a rank mixes: queries, keys and values."""
    keys, values, _ = _widths(mixer)
    return divide(2 * keys + values, tp, "linear_num_key_heads")
