"""How each range of vLLM versions makes blocks of a cache pool and counts them, as data.

Source: ``v1/core/kv_cache_utils.py``, ``v1/kv_cache_interface.py``, ``config/vllm.py``, ``worker/cache_engine.py`` and
``model_executor/models/config.py`` of the versions named (the source distributions on PyPI).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Packing = Literal["widest", "by size", "by pattern"]


@dataclass(frozen=True, slots=True)
class KvRules:
    """One range of versions.

    Attributes:
        until: first version it no longer holds for.
        has_groups: layers of several kinds form groups that share the pool's blocks; before, a window keeps all tokens.
        whole_blocks: a sequence counts as the blocks it takes in "Maximum concurrency", not as its tokens.
        widest: groups are as large as the commonest kind where that has less than this many times the layers of the
            rarest, else as the rarest.
        chunks_apart: layers of local attention in chunks keep a chunk only (``VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_
            HYBRID_KV_CACHE``).
        prints_capacity: "GPU KV cache size" is concurrency x length; before, the blocks of one group x their tokens.
        sums_groups: a sequence's blocks are summed group by group; before, its bytes are divided by the first group's.
        overlaps_batches: a window keeps room for the tokens of every scheduler step under way.
        caches_states: prefix caching of models with a state is on unless turned off.
        can_cache_states: it can be turned on.
        keeps_checkpoint: a state that can be saved within a prefill takes one more slot with prefix caching.
        needs_block_a_step: with prefix caching of states a block must not hold more tokens than a scheduler step.
        keeps_null_block: one block of the pool is set aside before it is checked that a sequence fits.
        latent_alignment: tokens of the blocks of latent attention beside states are a multiple of this.
        packing: what a block of pages side by side takes: its ``widest`` group; for each page size as much as the group
            with most of it (``by size``); or a page of each size of latents as often as the deepest group repeats
            (``by pattern``). Before ``widest``, pages of windows were padded to pages of latents.
        latent_row: bytes that a cached latent of one token is rounded up to.
    """

    until: tuple[int, int, int]
    has_groups: bool = True
    whole_blocks: bool = True
    widest: float = 1.5
    chunks_apart: bool = True
    prints_capacity: bool = True
    sums_groups: bool = True
    overlaps_batches: bool = True
    caches_states: bool = True
    can_cache_states: bool = True
    keeps_checkpoint: bool = True
    needs_block_a_step: bool = False
    keeps_null_block: bool = True
    latent_alignment: int = 128
    latent_row: int = 1
    packing: Packing = "widest"


_FROM_29 = KvRules((1 << 30, 0, 0))
_FROM_28 = replace(_FROM_29, until=(0, 29, 0), keeps_checkpoint=False, keeps_null_block=False)
_FROM_27 = replace(_FROM_28, until=(0, 28, 0), caches_states=False)
_FROM_26 = replace(
    _FROM_27, until=(0, 27, 0), sums_groups=False, needs_block_a_step=True, latent_alignment=64, packing="by size"
)
_FROM_23 = replace(_FROM_26, until=(0, 26, 0), overlaps_batches=False)
_FROM_21 = replace(_FROM_23, until=(0, 23, 0), packing="by pattern")
_FROM_18 = replace(_FROM_21, until=(0, 21, 0), prints_capacity=False)
_FROM_15 = replace(_FROM_18, until=(0, 18, 0), widest=1.25)
_FROM_12 = replace(_FROM_15, until=(0, 15, 0), chunks_apart=False, can_cache_states=False, needs_block_a_step=False)
_FROM_9 = replace(_FROM_12, until=(0, 12, 0), widest=1.0)
_V1_FIRST = replace(_FROM_9, until=(0, 9, 1), has_groups=False, whole_blocks=False)
_V0 = replace(_V1_FIRST, latent_row=256)

RULES = (_V1_FIRST, _FROM_9, _FROM_12, _FROM_15, _FROM_18, _FROM_21, _FROM_23, _FROM_26, _FROM_27, _FROM_28, _FROM_29)
"""From the oldest to the newest. 0.9.1 brought groups (vllm#16101), 0.21 the printed capacity (vllm#43308)."""


@lru_cache(maxsize=64)
def kv_rules(version: tuple[int, int, int], *, is_v0: bool = False) -> KvRules:
    """Choose the rules of a version; the engine's first generation counts tokens whatever its version."""
    if is_v0:
        return _V0
    return next(rules for rules in RULES if version < rules.until)
