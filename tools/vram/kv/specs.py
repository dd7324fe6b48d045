"""What one layer asks of the cache manager, as vLLM's ``v1/kv_cache_interface.py`` has it (0.32)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tools.vram.kv.types import pair_bytes

BLOCK_TOKENS = 16
"""Tokens a block on CUDA (``config/cache.py`` ``DEFAULT_BLOCK_SIZE``)."""

Kind = Literal["full", "sliding", "chunked", "latent", "latent_sliding", "state", "ring"]


@dataclass(frozen=True, slots=True)
class CacheContext:
    """What decides the size of a layer's pages beside the layer.

    Attributes:
        tp: tensor-parallel ranks; KV heads are shared out, or replicated when there are fewer.
        element_bytes: bytes of a cached element of attention (1 for fp8, else 2).
        width: bytes of an element of the model's type, which states follow.
        dtype: the cache's type as the engine's flag names it.
        drafts: tokens drafted ahead a step; convolutions keep as many inputs more.
    """

    tp: int = 1
    element_bytes: int = 2
    width: int = 2
    dtype: str = "auto"
    drafts: int = 0

    def unquantised(self) -> CacheContext:
        """The same with a cache of the model's type."""
        return replace(self, element_bytes=self.width, dtype="auto")

    def pair_bytes(self, key_dim: int, value_dim: int) -> int:
        """Bytes of one head's key and value of one token, scales included."""
        return pair_bytes(self.dtype, key_dim, value_dim, self.element_bytes)


@dataclass(frozen=True, slots=True)
class KvSpec:
    """One cache of one layer on a rank.

    Attributes:
        kind: ``full`` attention, ``sliding`` window, ``chunked`` local attention, ``latent`` (MLA, and indexers' keys),
            ``latent_sliding`` (latents of a window), ``state`` (linear attention, Mamba, convolutions) or ``ring`` (one
            block a sequence whatever its length).
        page_bytes: bytes of ``BLOCK_TOKENS`` entries; of one sequence's state for ``state``.
        window: tokens of a sliding window or of a chunk.
        block: tokens of a block of this cache where it does not follow the engine's.
        tokens_per_entry: tokens that one cached entry stands for (DeepSeek-V4's compression).
        alignment: a page is rounded up to a multiple of this many bytes.
        checkpoints: slots that prefix caching adds because a state can be saved within a prefill (Mamba-2).
        kernel: blocks hold a multiple of this many tokens, which is what the layer's kernels read at once.
        packed: the backend wants the pages of all layers of a block side by side.
    """

    kind: Kind
    page_bytes: int
    window: int | None = None
    block: int | None = None
    tokens_per_entry: int = 1
    alignment: int = 1
    checkpoints: int = 0
    kernel: int = 1
    packed: bool = False

    def page_of(self, block: int) -> int:
        """Bytes of a block of ``block`` tokens; of a state whatever the block."""
        if self.kind == "state":
            return self.page_bytes
        size = self.page_bytes * (block // self.tokens_per_entry) // BLOCK_TOKENS
        return -(-size // self.alignment) * self.alignment
