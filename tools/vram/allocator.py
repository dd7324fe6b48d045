"""PyTorch's caching allocator: how much of a card a run of tensors takes, and how much of that counts as allocated.

Source: PyTorch ``c10/cuda/CUDACachingAllocator.cpp`` (``kSmallSize``, ``kMinLargeAlloc``, ``should_split``).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tools.units import MIB

BLOCK = 512
"""Bytes that every tensor's memory is a multiple of."""
SMALL = MIB
"""Up to here tensors are cut out of segments of 2 MiB, all of which can be given to others."""
LARGE = 10 * MIB
"""From here a tensor gets a segment of its own, in multiples of 2 MiB, unless what another left is large enough."""
SMALL_SEGMENT, SEGMENT = 2 * MIB, 20 * MIB
"""What is asked of the driver for small tensors, and for those between small and large."""


class Taken(NamedTuple):
    """Bytes of a run of tensors: ``allocated`` as vLLM logs on CUDA, ``reserved`` as the card misses them."""

    allocated: int
    reserved: int


def allocated(size_bytes: int) -> int:
    """Bytes that count as allocated for a tensor by itself.

    What is left of its segment counts as its own if it is no more than 1 MiB.

    Worked example: Qwen2-7B's fused gate and up projection takes 259 MiB; it gets 260, of which 1 MiB can't be given to
    others, so 260 MiB count. Over all its tensors that is 57 MiB, and with a rotary table of 8 MiB the 14.1852 GiB it
    registers are 14.2487 GiB, as vLLM logs.
    """
    size = _up(size_bytes, BLOCK)
    if size < LARGE:
        return size
    whole = _up(size, SMALL_SEGMENT)
    return whole if whole - size <= SMALL else size


Run = tuple[Sequence[int], int]
"""Bytes of tensors that are made one after another, and how often the row of them is made."""


def taken(runs: Iterable[Run]) -> Taken:
    """Lay out tensors one after another, each in the smallest free block that holds it.

    Worked example: OPT-125m's layers have tensors of 3.375, 1.125, 4.5 and 4.5 MiB. The fifth and sixth still fit
    beside them into 20 MiB; the next projection does not, and of the 2 MiB left a tensor of 1.125 MiB takes all.
    With embeddings that is 0.2389 GiB where 0.2336 are registered; OPT-350m takes 0.6178 GiB.

    Args:
        runs: every tensor, in the order in which they are made: a layer's, so many times.
    """
    small_bytes = large_bytes = reserved = 0
    free: list[int] = []
    for exact, times in runs:
        sizes = [_up(size, BLOCK) for size in exact]
        small_bytes += times * sum(size for size in sizes if size <= SMALL)
        for size in [size for size in sizes if size > SMALL] * times:
            place = bisect_left(free, size)
            if place < len(free):
                block = free.pop(place)
            else:
                block = SEGMENT if size < LARGE else _up(size, SMALL_SEGMENT)
                reserved += block
            if block - size > SMALL:
                insort(free, block - size)
                block = size
            large_bytes += block
    return Taken(large_bytes + small_bytes, reserved + _up(small_bytes, SMALL_SEGMENT))


def between(size_bytes: int) -> bool:
    """Whether a tensor shares a segment with others, so that what counts depends on its neighbours."""
    return SMALL < size_bytes < LARGE


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
