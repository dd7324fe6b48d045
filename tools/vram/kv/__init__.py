"""KV cache and state memory by vLLM's block and page arithmetic."""

from tools.vram.kv.groups import (
    KV_BYTES,
    Cache,
    bytes_per_token,
    caches,
    concurrency,
    group_size,
    needed_bytes,
    pool_block_bytes,
    request_blocks,
    sequence_blocks,
)
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext, KvSpec

__all__ = [
    "BLOCK_TOKENS",
    "KV_BYTES",
    "Cache",
    "CacheContext",
    "KvSpec",
    "bytes_per_token",
    "caches",
    "concurrency",
    "group_size",
    "needed_bytes",
    "pool_block_bytes",
    "request_blocks",
    "sequence_blocks",
]
