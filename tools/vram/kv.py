"""KV cache by vLLM's block and page arithmetic.

Source: vLLM 0.32 ``v1/kv_cache_interface.py`` (pages) and ``v1/core/kv_cache_utils.py`` (groups, concurrency).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tools.domain import Attention, Layer
from tools.vram.weights import kv_heads_on_rank

BLOCK_TOKENS = 16
"""Tokens a block on CUDA (``config/cache.py`` ``DEFAULT_BLOCK_SIZE``)."""

KV_BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


@dataclass(frozen=True, slots=True)
class Cache:
    """One kind of cache: ``layers`` layers whose page of ``BLOCK_TOKENS`` tokens takes ``page_bytes`` on a rank."""

    page_bytes: int
    window: int | None
    layers: int


def caches(layers: tuple[Layer, ...], tp: int, element_bytes: int) -> tuple[Cache, ...]:
    """Group layers by page size and window, full attention first.

    Args:
        layers: the model's layers (of one pipeline stage).
        tp: tensor-parallel ranks; KV heads are shared out, or replicated when there are fewer.
        element_bytes: bytes of a cached element (1 for fp8, else 2).
    """
    found: Counter[tuple[int, int]] = Counter()
    for layer, times in _distinct(layers):
        page = page_bytes(layer.mixer, tp, element_bytes)
        found[layer.mixer.window or 0, page] += times
    return tuple(Cache(page, window or None, count) for (window, page), count in sorted(found.items()))


def page_bytes(attention: Attention, tp: int, element_bytes: int) -> int:
    """Bytes of one layer's block on a rank: keys and values of 16 tokens.

    Worked example: 4 KV heads of 128 in bfloat16 are 16 x 2 x 4 x 128 x 2 = 32,768 B.
    """
    return BLOCK_TOKENS * 2 * kv_heads_on_rank(attention, tp) * attention.head_dim * element_bytes


def _distinct(layers: tuple[Layer, ...]) -> list[tuple[Layer, int]]:
    counts, seen = Counter(map(id, layers)), {id(layer): layer for layer in layers}
    return [(layer, counts[key]) for key, layer in seen.items()]


def bytes_per_token(kinds: tuple[Cache, ...]) -> int | None:
    """Bytes one token takes on a rank in all layers; None where some layers forget tokens.

    Worked example: Qwen3-30B-A3B, 48 layers x 32,768 B / 16 tokens = 98,304 B.
    """
    if any(kind.window for kind in kinds):
        return None
    return sum(kind.page_bytes * kind.layers for kind in kinds) // BLOCK_TOKENS


def sequence_blocks(kind: Cache, tokens: int, batched_tokens: int) -> int:
    """Blocks of one layer that a sequence of ``tokens`` needs at most.

    A sliding window keeps ``window - 1`` tokens beside those of one scheduler step, and one block more because the
    window may start within a block (``SlidingWindowSpec.max_memory_usage_bytes``).
    """
    if kind.window is None:
        return -(-tokens // BLOCK_TOKENS)
    return -(-min(kind.window - 1 + batched_tokens, tokens) // BLOCK_TOKENS) + 1


def needed_bytes(kinds: tuple[Cache, ...], tokens: int, sequences: int, batched_tokens: int) -> int:
    """Cache for ``sequences`` sequences of ``tokens`` each, in whole blocks."""
    blocks = sum(sequence_blocks(kind, tokens, batched_tokens) * kind.page_bytes * kind.layers for kind in kinds)
    return sequences * blocks


def concurrency(kinds: tuple[Cache, ...], pool_bytes: int, tokens: int, batched_tokens: int) -> float:
    """How many sequences of ``tokens`` a pool holds, as vLLM prints "Maximum concurrency".

    Blocks of the pool over blocks of a sequence. Layers of several kinds are put into groups of equal size that share
    the pool's pages (``_get_kv_cache_groups_uniform_page_size``); the group size is the smallest kind's layer count,
    or the largest's where the kinds differ by less than half.
    """
    size = group_size(kinds)
    page = max(kind.page_bytes for kind in kinds) * size
    per_sequence = sum(-(-kind.layers // size) * sequence_blocks(kind, tokens, batched_tokens) for kind in kinds)
    return (pool_bytes // page) / per_sequence


def group_size(kinds: tuple[Cache, ...]) -> int:
    """Layers in one cache group."""
    counts = [kind.layers for kind in kinds]
    return max(counts) if max(counts) < 1.5 * min(counts) else min(counts)
