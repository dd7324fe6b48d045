"""What one layer asks of the cache manager, as vLLM's ``v1/kv_cache_interface.py`` has it (0.32)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BLOCK_TOKENS = 16
"""Tokens a block on CUDA (``config/cache.py`` ``DEFAULT_BLOCK_SIZE``)."""


@dataclass(frozen=True, slots=True)
class CacheContext:
    """What decides the size of a layer's pages beside the layer.

    Attributes:
        tp: tensor-parallel ranks; KV heads are shared out, or replicated when there are fewer.
        element_bytes: bytes of a cached element of attention (1 for fp8, else 2).
        width: bytes of an element of the model's type, which states follow.
        dtype: the cache's type as the engine's flag names it.
    """

    tp: int = 1
    element_bytes: int = 2
    width: int = 2
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class KvSpec:
    """One cache of one layer on a rank.

    Attributes:
        kind: ``full`` attention, ``sliding`` window, ``chunked`` local attention, ``latent`` (MLA, and indexers' keys),
            or ``state`` (linear attention, Mamba, convolutions).
        page_bytes: bytes of a block of ``BLOCK_TOKENS`` tokens; of one sequence's state for ``state``.
        window: tokens of a sliding window or of a chunk.
    """

    kind: Literal["full", "sliding", "chunked", "latent", "state"]
    page_bytes: int
    window: int | None = None
