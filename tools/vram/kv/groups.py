"""From layers to groups: which layers share block tables, in blocks of how many tokens and bytes.

Source: vLLM 0.32 ``v1/core/kv_cache_utils.py`` (``get_kv_cache_groups``, ``unify_kv_cache_spec_page_size``,
``_get_kv_cache_groups_uniform_page_size``) and ``platforms/interface.py`` (``_align_hybrid_block_size``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tools.vram.kv.rules import KvRules
from tools.vram.kv.specs import KvSpec

ATTENTION = frozenset({"full", "latent"})
"""Kinds that keep every token."""
PROMOTED = {"sliding": "full", "chunked": "full", "latent_sliding": "latent"}
"""What a kind that forgets tokens becomes where there are no groups."""


@dataclass(frozen=True, slots=True)
class Cache:
    """One kind of cache of a model.

    Attributes:
        spec: what its layers ask for.
        stages: how many layers ask for it on each pipeline stage.
        block: tokens of a block.
        page_bytes: bytes of one layer's page of a block.
    """

    spec: KvSpec
    stages: tuple[int, ...]
    block: int
    page_bytes: int

    @property
    def layers(self) -> int:
        """Layers on all stages."""
        return sum(self.stages)

    @property
    def window(self) -> int | None:
        """Tokens of a window or chunk."""
        return self.spec.window


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a block table, of which a sequence takes the same blocks.

    Attributes:
        spec: of its layers (of the first, where they differ in size only).
        block: tokens of a block.
        times: how many equal groups there are.
        page_bytes: bytes of a block in all its layers, on the stage where that is most (for counting, not for size).
    """

    spec: KvSpec
    block: int
    times: int
    page_bytes: int


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups, and what one block of the pool takes on each pipeline stage."""

    groups: tuple[Group, ...]
    block_bytes: tuple[int, ...]


def grouped(caches: Sequence[Cache], rules: KvRules, *, has_groups: bool) -> Grouping:
    """Put caches into groups as the cache manager does.

    Args:
        caches: kinds in the order in which layers first ask for them; none for a model without attention.
        rules: of the engine's version.
        has_groups: False where the hybrid cache manager is off.
    """
    if not has_groups:
        caches = promoted(caches)
    elif not rules.chunks_apart:
        caches = promoted(caches) if any(cache.spec.kind == "chunked" for cache in caches) else caches
    if is_one_type(caches):
        return _one_group(caches)
    equal = equal_pages(caches)
    if equal is None:
        return _one_group(promoted(caches))
    return _equal_groups(_merged(equal), rules)


def promoted(caches: Iterable[Cache]) -> tuple[Cache, ...]:
    """Let windows and chunks keep every token where some layers do anyway."""
    caches = tuple(caches)
    if not any(cache.spec.kind in ATTENTION for cache in caches):
        return caches
    changed = (
        replace(cache, spec=replace(cache.spec, kind=PROMOTED.get(cache.spec.kind, cache.spec.kind), window=None))
        for cache in caches
    )
    return _merged(changed)


def is_one_type(caches: Sequence[Cache]) -> bool:
    """Whether all layers need the same blocks of a sequence: one kind, one window, blocks of one size."""
    kinds = {"full" if cache.spec.kind == "latent" else cache.spec.kind for cache in caches}
    return len(kinds) < 2 and len({(cache.spec.window, cache.block) for cache in caches}) < 2


def equal_pages(caches: Sequence[Cache]) -> tuple[Cache, ...] | None:
    """Make all pages as large as the largest: by more tokens a block where that divides, else by padding.

    None where a latent cache can do neither.
    """
    largest = max(cache.page_bytes for cache in caches)
    found: list[Cache] = []
    for cache in caches:
        ratio, rest = divmod(largest, cache.page_bytes)
        if cache.spec.kind == "state" or (rest and cache.spec.kind != "latent"):
            found.append(replace(cache, page_bytes=largest))
        elif rest:
            return None
        else:
            found.append(replace(cache, page_bytes=largest, block=cache.block * ratio))
    return tuple(found)


def _merged(caches: Iterable[Cache]) -> tuple[Cache, ...]:
    """Put kinds together that have become alike."""
    found: dict[tuple[object, ...], Cache] = {}
    for cache in caches:
        spec = cache.spec
        key = (spec.kind, spec.window, spec.checkpoints, cache.block, cache.page_bytes)
        other = found.get(key)
        stages = cache.stages if other is None else tuple(map(sum, zip(other.stages, cache.stages, strict=True)))
        found[key] = replace(other or cache, stages=stages)
    return tuple(found.values())


def _one_group(caches: Sequence[Cache]) -> Grouping:
    if not caches:
        return Grouping((), ())
    pages = (tuple(cache.page_bytes * layers for layers in cache.stages) for cache in caches)
    block_bytes = tuple(map(sum, zip(*pages, strict=True)))
    first = caches[0]
    return Grouping((Group(first.spec, first.block, 1, max(block_bytes)),), block_bytes)


def _equal_groups(caches: Sequence[Cache], rules: KvRules) -> Grouping:
    """Split each kind into groups of as many layers as the rarest kind has, or all into groups of the commonest.

    A kind's layers go to its groups in turn, so that each group has about as many on every pipeline stage.
    """
    counts = [cache.layers for cache in caches]
    size = max(counts) if max(counts) < rules.widest * min(counts) else min(counts)
    groups: list[Group] = []
    widest = [0] * len(caches[0].stages)
    for cache in caches:
        times, start = -(-cache.layers // size), 0
        groups.append(Group(cache.spec, cache.block, times, cache.page_bytes * size))
        for stage, layers in enumerate(cache.stages):
            widest[stage] = max(widest[stage], *(in_turn(start, layers, times, i) for i in range(times)))
            start += layers
    return Grouping(tuple(groups), tuple(caches[0].page_bytes * layers for layers in widest))


def in_turn(start: int, layers: int, groups: int, group: int) -> int:
    """How many of ``layers`` layers, the first being number ``start`` of its kind, go to one of the groups."""
    return (start + layers - group + groups - 1) // groups - (start - group + groups - 1) // groups
