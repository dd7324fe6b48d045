"""KV cache by vLLM's block and page arithmetic.

Source: vLLM 0.32 ``v1/kv_cache_interface.py`` (pages) and ``v1/core/kv_cache_utils.py`` (groups, concurrency).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tools.domain import Layer
from tools.errors import NotYetExact
from tools.vram import mixers
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext

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
    context = CacheContext(tp, element_bytes)
    for layer, times in _distinct(layers):
        for spec in (spec for mixer in layer.mixers for spec in mixers.kv_specs(mixer, context)):
            if spec.kind not in {"full", "sliding", "latent"}:
                raise NotYetExact("errors_vram.not_covered", architecture=spec.kind, part="cache")
            found[spec.window or 0, spec.page_bytes] += times
    return tuple(Cache(page, window or None, count) for (window, page), count in sorted(found.items()))


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


def sequence_blocks(kind: Cache, tokens: int, in_flight: int) -> int:
    """Blocks of one layer that a sequence of ``tokens`` holds at most.

    A sliding window keeps ``window - 1`` tokens beside those in flight, and one block more because the window may start
    within a block (``SlidingWindowSpec.max_admission_blocks_per_request``).

    Args:
        kind: the cache.
        tokens: length of the sequence.
        in_flight: tokens that may be scheduled and not yet settled: ``max_num_batched_tokens`` x concurrent batches.
    """
    if kind.window is None:
        return -(-tokens // BLOCK_TOKENS)
    return -(-min(kind.window - 1 + in_flight, tokens) // BLOCK_TOKENS) + 1


def pool_block_bytes(kinds: tuple[Cache, ...]) -> int:
    """Bytes of one block of the pool: a page for each layer of a group."""
    return max(kind.page_bytes for kind in kinds) * group_size(kinds)


def request_blocks(kinds: tuple[Cache, ...], tokens: int, in_flight: int) -> int:
    """Blocks of the pool that one sequence of ``tokens`` needs: each group of layers has its own block table."""
    size = group_size(kinds)
    return sum(-(-kind.layers // size) * sequence_blocks(kind, tokens, in_flight) for kind in kinds)


def needed_bytes(kinds: tuple[Cache, ...], tokens: int, sequences: int, in_flight: int) -> int:
    """Cache for ``sequences`` sequences of ``tokens`` each, in whole blocks.

    Worked example: Qwen3-30B-A3B, 4 sequences of 8,192 tokens: 4 x 512 blocks x 48 layers x 32,768 B = 3 GiB.
    """
    return sequences * request_blocks(kinds, tokens, in_flight) * pool_block_bytes(kinds)


def concurrency(kinds: tuple[Cache, ...], pool_bytes: int, tokens: int, in_flight: int) -> float:
    """How many sequences of ``tokens`` a pool holds, as vLLM prints "Maximum concurrency".

    Blocks of the pool over blocks of a sequence (``get_max_concurrency_for_kv_cache_config``).
    """
    return (pool_bytes // pool_block_bytes(kinds)) / request_blocks(kinds, tokens, in_flight)


def group_size(kinds: tuple[Cache, ...]) -> int:
    """Layers in one cache group.

    Layers of several kinds are put into groups of equal size that share the pool's blocks
    (``_get_kv_cache_groups_uniform_page_size``): as many as the rarest kind has, or as the commonest if that has less
    than half more. The last group of a kind is padded.
    """
    counts = [kind.layers for kind in kinds]
    return max(counts) if max(counts) < 1.5 * min(counts) else min(counts)
