"""Multi-head latent attention: small projections on every rank, heads shared out, one latent a token in the cache.

Source: vLLM 0.32 ``models/deepseek_v2.py`` (``DeepseekV2MLAAttention``, ``Indexer``) for the projections,
``layers/attention/mla_attention.py`` (``get_kv_cache_spec``, ``process_weights_after_loading``) for caches and copies.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.domain import Indexer, MlaAttention
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext, KvSpec
from tools.vram.sharding import Vectors, divide
from tools.vram.storage import Matrix

PACKED_TOKEN_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
"""Bytes of a cached token in DeepSeek's packed layouts: 512 fp8 latents, 16 of scales, 64 rotary keys in 16 bits."""

INDEX_BLOCK = 128
"""Elements of an indexer's key that share one float32 scale (``Indexer.quant_block_size``)."""

POOLED_KERNEL = 32
"""Pooled keys that its kernels read at once (``models/glm5next/common/sparse_indexer.py``)."""

INDEX_KERNEL = 64
"""Tokens that the indexer's kernels read at once (``v1/attention/backends/mla/indexer.py``)."""


def matrices(mixer: MlaAttention, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield the projections down (whole on every rank), up (heads shared out) and out, then the indexer's."""
    heads = divide(mixer.heads, tp, "num_attention_heads")
    query, latent = heads * (mixer.nope_head_dim + mixer.rope_head_dim), mixer.kv_lora_rank + mixer.rope_head_dim
    if mixer.q_lora_rank is None:
        yield Matrix("self_attn.kv_a_proj_with_mqa", (latent,), hidden)
        yield Matrix("self_attn.q_proj", (query,), hidden, split="out", ranks=tp)
    else:
        yield from _down(mixer, mixer.q_lora_rank, latent, hidden)
        yield Matrix("self_attn.q_b_proj", (query,), mixer.q_lora_rank, split="out", ranks=tp)
    up = heads * (mixer.nope_head_dim + mixer.v_head_dim)
    decoded = not mixer.expanded
    yield Matrix("self_attn.kv_b_proj", (up,), mixer.kv_lora_rank, split="out", ranks=tp, decoded=decoded)
    yield Matrix("self_attn.o_proj", (hidden,), heads * mixer.v_head_dim, split="in", ranks=tp)
    if mixer.gate:
        yield Matrix("self_attn.g_proj", (heads * mixer.v_head_dim,), hidden, split="out", ranks=tp)
    if mixer.indexer:
        yield from _indexer(mixer.indexer, mixer.q_lora_rank or hidden, hidden)


def _down(mixer: MlaAttention, query: int, latent: int, hidden: int) -> Iterator[Matrix]:
    if mixer.expanded:
        yield Matrix("self_attn.q_a_proj", (query,), hidden)
        yield Matrix("self_attn.kv_a_proj_with_mqa", (latent,), hidden)
    else:
        yield Matrix("self_attn.fused_qkv_a_proj", (query, latent), hidden)


def _indexer(indexer: Indexer, query: int, hidden: int) -> Iterator[Matrix]:
    """An indexer is whole on every rank; its keys and head weights are one matrix that is never quantised."""
    yield Matrix("self_attn.indexer.wq_b", (indexer.heads * indexer.head_dim,), query)
    yield Matrix("self_attn.indexer.wk_weights_proj", (indexer.head_dim, indexer.heads), hidden, plain=True)
    if indexer.pool:
        yield Matrix("self_attn.indexer.index_kpool_compress_gate", (indexer.head_dim,), hidden, plain=True)


def vectors(mixer: MlaAttention, _hidden: int, _tp: int) -> Vectors:
    """Count the norms of the compressed query and of the latent, and the indexer's LayerNorm, kept in float32."""
    wide = (2 + mixer.indexer.pool) * mixer.indexer.head_dim if mixer.indexer else 0
    return Vectors((mixer.q_lora_rank or 0) + mixer.kv_lora_rank, wide)


def kv_specs(mixer: MlaAttention, context: CacheContext) -> tuple[KvSpec, ...]:
    """One latent a token on every rank, and in layers with an indexer its key of one byte an element and scales.

    Worked example: DeepSeek-V3 caches (512 + 64) x 2 = 1,152 B a token in each of 61 layers: 70,272 B. An indexer of
    128 adds 128 + 4 = 132 B: GLM-5's 78 layers take 78 x (1,152 + 132) = 100,152 B.
    """
    if mixer.expanded:
        heads = divide(mixer.heads, context.tp, "num_attention_heads")
        token = 2 * heads * (mixer.nope_head_dim + mixer.rope_head_dim) * context.element_bytes
        return (KvSpec("full", BLOCK_TOKENS * token),)
    token = PACKED_TOKEN_BYTES.get(context.dtype) or context.element_bytes * (mixer.kv_lora_rank + mixer.rope_head_dim)
    found = (KvSpec("latent", BLOCK_TOKENS * token),)
    if mixer.indexer is None:
        return found
    if mixer.indexer.pool:
        return (*found, *_pooled(mixer.indexer))
    return (*found, KvSpec("latent", BLOCK_TOKENS * index_bytes(mixer.indexer), kernel=INDEX_KERNEL))


def _pooled(indexer: Indexer) -> tuple[KvSpec, ...]:
    """An indexer's cache of pooled keys, and the tokens of the pool not yet full, with their gates, in 16 bits."""
    size, kernel = BLOCK_TOKENS * index_bytes(indexer), POOLED_KERNEL * indexer.pool
    keys = KvSpec("latent", size, tokens_per_entry=indexer.pool, kernel=kernel, packed=True)
    return keys, KvSpec("ring", BLOCK_TOKENS * 2 * indexer.head_dim * 2, block=indexer.pool)


def index_bytes(indexer: Indexer) -> int:
    """Bytes of one token's key in an indexer's cache: one an element, and a float32 scale a block of 128."""
    return indexer.head_dim + 4 * (indexer.head_dim // INDEX_BLOCK)
