"""DeepSeek-V4's attention: a window of shared keys, and behind it entries that each stand for several tokens.

Source: vLLM 0.32 ``models/deepseek_v4/`` (``attention.py``, ``compressor.py``, ``nvidia/flashmla.py``) and
``v1/attention/backends/mla/sparse_swa.py``. Its backends cache in ``fp8_ds_mla`` whatever fp8 type is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.domain import CompressedAttention
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext, KvSpec
from tools.vram.mixers.mla import index_bytes
from tools.vram.sharding import Vectors, divide
from tools.vram.storage import Matrix

ENTRY_BYTES = 584
"""Bytes of a cached entry: 448 fp8 elements, 64 rotary ones in 16 bits, 7 scales and a byte of padding."""

ALIGNMENT = 576
"""Pages are rounded up to a multiple of this (``MLAAttentionSpec.alignment``)."""

ENGINE_BLOCK = 256
"""Tokens of the engine's block that these backends ask for (``get_preferred_block_size``)."""

WINDOW_BLOCK = 64
"""Tokens of a block of the window (``DeepseekV4SWACache``)."""

STATE_BLOCK = {4: 4, 128: 8}
"""Tokens of a block of a compressor's running state, by its ratio (``CompressorStateCache``)."""

OVERLAPPING = 4
"""The ratio at which neighbouring entries overlap, so that projections and states are twice as wide."""


def matrices(mixer: CompressedAttention, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield the projections down (whole on every rank), of queries and of the output, then compressor and indexer."""
    heads, groups = divide(mixer.heads, tp, "num_attention_heads"), divide(mixer.o_groups, tp, "o_groups")
    yield Matrix("self_attn.fused_wqa_wkv", (mixer.q_lora_rank, mixer.head_dim), hidden)
    yield Matrix("self_attn.wq_b", (heads * mixer.head_dim,), mixer.q_lora_rank, split="out", ranks=tp)
    grouped = divide(mixer.heads * mixer.head_dim, mixer.o_groups, "o_groups")
    yield Matrix("self_attn.wo_a", (groups * mixer.o_lora_rank,), grouped, split="out", ranks=tp)
    yield Matrix("self_attn.wo_b", (hidden,), groups * mixer.o_lora_rank, split="in", ranks=tp)
    if mixer.ratio > 1:
        yield from _compressor("self_attn.compressor", mixer.head_dim, mixer.ratio, hidden)
    if mixer.indexer:
        width = mixer.indexer.heads * mixer.indexer.head_dim
        yield Matrix("self_attn.indexer.wq_b", (width,), mixer.q_lora_rank)
        yield Matrix("self_attn.indexer.weights_proj", (mixer.indexer.heads,), hidden, plain=True)
        yield from _compressor("self_attn.indexer.compressor", mixer.indexer.head_dim, mixer.ratio, hidden)


def _compressor(name: str, head_dim: int, ratio: int, hidden: int) -> Iterator[Matrix]:
    """Keys and gates of a compressor, never quantised, and its float32 positions."""
    width = _wide(ratio) * head_dim
    yield Matrix(f"{name}.fused_wkv_wgate", (width, width), hidden, plain=True)
    yield Matrix(f"{name}.ape", (ratio,), width, plain=True, element_bytes=4)


def vectors(mixer: CompressedAttention, _hidden: int, tp: int) -> Vectors:
    """Count norms, and one float32 sink a head, padded to the 64 or 128 heads that the kernel takes."""
    elements = mixer.q_lora_rank + mixer.head_dim
    if mixer.ratio > 1:
        elements += mixer.head_dim
    if mixer.indexer:
        elements += mixer.indexer.head_dim
    return Vectors(elements, 64 if mixer.heads // tp <= 64 else 128)


def kv_specs(mixer: CompressedAttention, _context: CacheContext) -> tuple[KvSpec, ...]:
    """A window, compressed entries of the rest with an indexer's keys, and the running states of their compressors.

    Worked example: at ratio 128 a block of 256 tokens holds 2 entries: 2 x 584 B, rounded up to 1,728.
    """
    found = [_window(ENTRY_BYTES, mixer.window, WINDOW_BLOCK)]
    if mixer.ratio > 1:
        found += [_entries(ENTRY_BYTES, mixer.ratio), _state(mixer.head_dim, mixer.ratio)]
    if mixer.indexer:
        found += [_entries(index_bytes(mixer.indexer), mixer.ratio), _state(mixer.indexer.head_dim, mixer.ratio)]
    return tuple(found)


def _window(token: int, window: int, block: int) -> KvSpec:
    return KvSpec("latent_sliding", BLOCK_TOKENS * token, window, block, alignment=ALIGNMENT, packed=True)


def _entries(entry: int, ratio: int) -> KvSpec:
    page = BLOCK_TOKENS * entry
    return KvSpec("latent", page, tokens_per_entry=ratio, alignment=ALIGNMENT, kernel=ENGINE_BLOCK, packed=True)


def _state(head_dim: int, ratio: int) -> KvSpec:
    """Sums of keys and of scores in float32 for the tokens of an entry, and of its neighbour where they overlap."""
    wide = _wide(ratio)
    return _window(4 * 2 * wide * head_dim, wide * ratio, STATE_BLOCK[ratio])


def _wide(ratio: int) -> int:
    return 2 if ratio == OVERLAPPING else 1
