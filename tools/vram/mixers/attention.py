"""Attention with keys and values by heads: full, sliding, chunked.

Sharding follows vLLM 0.32 ``model_executor/layers/linear.py`` (``QKVParallelLinear`` replicates KV heads when there are
more ranks than heads); caches ``v1/kv_cache_interface.py`` (``FullAttentionSpec``, ``SlidingWindowSpec``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.domain import Attention, Indexer
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext, KvSpec
from tools.vram.sharding import Vectors, divide
from tools.vram.storage import Matrix


def kv_heads_on_rank(attention: Attention, tp: int) -> int:
    """KV heads a rank holds: a share of them, or one, replicated, when there are more ranks than heads."""
    if attention.kv_heads >= tp:
        return divide(attention.kv_heads, tp, "num_key_value_heads")
    divide(tp, attention.kv_heads, "tensor_parallel_size")
    return 1


def matrices(mixer: Attention, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield the fused query, key and value projection, the output projection, and the gate where there is one."""
    if mixer.borrowed:
        return
    heads, kv_heads = divide(mixer.heads, tp, "num_attention_heads"), kv_heads_on_rank(mixer, tp)
    value_dim = mixer.v_head_dim or mixer.head_dim
    queries = heads * mixer.head_dim * (2 if mixer.q_gate else 1)
    qkv = (queries,) if mixer.shares_kv else (queries, kv_heads * mixer.head_dim, kv_heads * value_dim)
    if mixer.index_dim:
        qkv = (*qkv, kv_heads * mixer.index_dim, mixer.index_dim)
    if mixer.indexer:
        qkv = (*qkv, (mixer.indexer.heads + 1) * mixer.indexer.head_dim)
    name = "self_attn.q_proj" if mixer.shares_kv else "self_attn.qkv_proj"
    yield Matrix(name, qkv, hidden, bias=sum(qkv) if mixer.qkv_bias else 0, split="out", ranks=tp)
    o_bias = hidden if mixer.o_bias else 0
    yield Matrix("self_attn.o_proj", (hidden,), heads * value_dim, bias=o_bias, split="in", ranks=tp)
    if mixer.gate_width:
        yield Matrix("self_attn.gate_proj", (heads * mixer.gate_width,), hidden, split="out", ranks=tp)


def vectors(mixer: Attention, _hidden: int, tp: int) -> Vectors:
    """Count q/k norms and attention sinks."""
    elements = (mixer.heads // tp if mixer.sinks else 0) + 2 * mixer.index_dim
    elements += 2 * mixer.indexer.head_dim if mixer.indexer else 0
    if mixer.qk_norm:
        spans = {
            "head": 1 if mixer.shares_kv else 2,
            "rank": mixer.heads // tp + kv_heads_on_rank(mixer, tp),
            "all": mixer.heads + mixer.kv_heads,
        }
        elements += spans[mixer.qk_norm_span] * mixer.head_dim * (2 if mixer.qk_norm_bias else 1)
    return Vectors(elements)


def kv_specs(mixer: Attention, context: CacheContext) -> tuple[KvSpec, ...]:
    """One cache: keys and values of a rank's heads; another for the keys of an index.

    Worked example: 4 KV heads of 128 in bfloat16 are 16 x 2 x 4 x 128 x 2 = 32,768 B a block of 16 tokens.
    """
    if mixer.shares_kv:
        return ()
    pair = context.pair_bytes(mixer.head_dim, mixer.v_head_dim or mixer.head_dim)
    page = BLOCK_TOKENS * kv_heads_on_rank(mixer, context.tp) * pair
    if mixer.window:
        return (KvSpec("sliding", page, mixer.window),)
    if mixer.index_dim:
        return KvSpec("full", page), KvSpec("latent", BLOCK_TOKENS * mixer.index_dim * context.width)
    if mixer.indexer:
        return KvSpec("full", page), *_pooled(mixer.indexer, context.drafts)
    return (KvSpec("chunked", page, mixer.chunk),) if mixer.chunk else (KvSpec("full", page),)


def _pooled(indexer: Indexer, drafts: int) -> tuple[KvSpec, ...]:
    """An indexer's caches in 16 bits: pooled keys, and the tokens of a pool not yet full, drafted ones among them.

    Source: vLLM 0.32 ``models/qwen4_exp/common/qsa_cache.py``.
    """
    keys = KvSpec("latent", BLOCK_TOKENS * indexer.head_dim * 2, tokens_per_entry=indexer.pool, packed=True)
    waiting = indexer.pool * -(-(indexer.pool + drafts) // indexer.pool)
    return keys, KvSpec("ring", BLOCK_TOKENS * indexer.waiting * 2, block=waiting)
