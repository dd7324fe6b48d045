"""Gated short convolutions, whose state is their last inputs (LFM2).

Layout and state follow vLLM 0.32 ``model_executor/layers/mamba/short_conv.py`` and ``mamba_utils.py``
(``short_conv_state_shape``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.domain import Linear, ShortConv
from tools.vram.kv.specs import CacheContext, KvSpec
from tools.vram.sharding import Vectors, divide, on_rank
from tools.vram.storage import Matrix


def matrices(mixer: ShortConv, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield the projection into two gates and values, and the one out."""
    if mixer.alone:
        return
    width = mixer.width
    inputs = Linear("conv.in_proj", (width, width, width), hidden, bias=mixer.bias, split="out", plain=False)
    yield on_rank(inputs, tp)
    yield on_rank(Linear("conv.out_proj", (hidden,), width, bias=mixer.bias, split="in", plain=False), tp)


def vectors(mixer: ShortConv, _hidden: int, tp: int) -> Vectors:
    """Count the convolution."""
    return Vectors(_channels(mixer, tp) * (mixer.kernel + (1 if mixer.bias else 0)))


def kv_specs(mixer: ShortConv, context: CacheContext) -> tuple[KvSpec, ...]:
    """One state a sequence: the convolution's last inputs.

    Worked example: LFM2-1.2B, 2,048 wide, kernel 3: 2 x 2,048 x 2 B = 8,192 B.
    """
    inputs = (mixer.reach or mixer.kernel - 1) + context.drafts
    return (KvSpec("state", inputs * _channels(mixer, context.tp) * context.width),)


def _channels(mixer: ShortConv, tp: int) -> int:
    return mixer.width if mixer.alone else divide(mixer.width, tp, "conv_dim")
