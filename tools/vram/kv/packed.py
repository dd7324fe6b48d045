"""Groups of caches whose pages lie side by side in a block, whatever their sizes (DeepSeek-V4).

Source: vLLM 0.32 ``v1/core/kv_cache_utils.py`` (``_get_packed_kv_cache_groups``, ``_approximate_gcd``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tools.vram.kv.groups import Cache, Group, Grouping, in_turn
from tools.vram.kv.rules import Packing

SPLITTABLE = frozenset({"state", "ring"})
"""Kinds of which a group may hold as few layers as one."""
WINDOWED = frozenset({"sliding", "latent_sliding"})


@dataclass(frozen=True, slots=True)
class Bucket:
    """Caches of one type: of one kind, window and block, of any sizes."""

    caches: tuple[Cache, ...]

    @property
    def deepest(self) -> int:
        """Layers of the page size that has most."""
        return max(cache.layers for cache in self.caches)

    @property
    def layers(self) -> int:
        """Layers in all."""
        return sum(cache.layers for cache in self.caches)

    @property
    def is_balanced(self) -> bool:
        """Whether each page size has as many layers, so that they are a pattern that repeats."""
        return len({cache.layers for cache in self.caches}) == 1

    def size(self, groups: int, index: int) -> int:
        """Bytes of one of so many groups."""
        return sum(cache.page_bytes * in_turn(0, cache.layers, groups, index) for cache in self.caches)

    def widest(self, groups: int) -> int:
        """Bytes of the largest of so many groups."""
        return sum(-(-cache.layers // groups) * cache.page_bytes for cache in self.caches)


def packed(caches: Sequence[Cache], packing: Packing = "widest") -> Grouping:
    """Group caches by type, and split patterns that repeat into groups of about as many repeats.

    Worked example: DeepSeek-V4-Flash's 43 windows, 21 compressors and 20 others are split by 22, which wastes least:
    two groups of windows, one of each compressor, and all latents in one, whose pages take 1,002,240 B.

    Args:
        caches: kinds in the order in which layers first ask for them, of more than one page size.
        packing: how the version measures a block (``KvRules.packing``).
    """
    caches = caches if packing == "widest" else _padded(caches)
    buckets = _buckets(caches)
    patterns = [bucket.deepest for bucket in buckets if bucket.is_balanced and len(bucket.caches) > 1]
    repeats = _least_padding([b.deepest for b in buckets if b.is_balanced], max(patterns)) if patterns else None
    splits = [_split(bucket, repeats) for bucket in buckets]
    anchor = max(
        bucket.widest(bucket.layers if _may_split(bucket, repeats) else times)
        for bucket, times in zip(buckets, splits, strict=True)
    )
    groups: list[Group] = []
    split: list[tuple[Bucket, int]] = []
    for bucket, least in zip(buckets, splits, strict=True):
        first, times = bucket.caches[0], least
        if _may_split(bucket, repeats):
            times = max(least, -(-bucket.layers // max(anchor // first.page_bytes, 1)))
        sizes = Counter(bucket.size(times, index) for index in range(times))
        groups += [Group(first.spec, first.block, alike, size) for size, alike in sizes.items()]
        split.append((bucket, times))
    stages = range(len(caches[0].stages))
    block_bytes = tuple(_block_bytes([_pages(*one, stage) for one in split], packing, buckets) for stage in stages)
    groups.sort(key=lambda group: group.spec.kind != "latent")
    return Grouping(tuple(groups), block_bytes)


def _padded(caches: Sequence[Cache]) -> tuple[Cache, ...]:
    """Pad pages of windows to the next larger page of latents."""
    pages = sorted({cache.page_bytes for cache in caches if cache.spec.kind == "latent"})
    return tuple(
        replace(cache, page_bytes=next((page for page in pages if page >= cache.page_bytes), cache.page_bytes))
        for cache in caches
    )


def _buckets(caches: Sequence[Cache]) -> tuple[Bucket, ...]:
    found: dict[tuple[object, ...], list[Cache]] = {}
    for cache in caches:
        kind = "full" if cache.spec.kind == "latent" else cache.spec.kind
        size = cache.page_bytes if kind == "state" else 0
        found.setdefault((kind, cache.window, cache.block, size), []).append(cache)
    return tuple(Bucket(tuple(bucket)) for bucket in found.values())


def _split(bucket: Bucket, repeats: int | None) -> int:
    return -(-bucket.deepest // repeats) if bucket.is_balanced and repeats else 1


def _may_split(bucket: Bucket, repeats: int | None) -> bool:
    kind = bucket.caches[0].spec.kind
    return kind in SPLITTABLE or (repeats is None and kind in WINDOWED)


def _least_padding(counts: Sequence[int], least: int) -> int:
    """The size of ``least`` or more whose multiples exceed the counts by least in all; the largest of such."""
    sizes = range(least, max(max(counts), least) + 1)
    return min(sizes, key=lambda size: (sum(-count % size for count in counts), -size))


def _pages(bucket: Bucket, groups: int, stage: int) -> list[Counter[int]]:
    """Count pages by size in each group of a bucket on one pipeline stage."""
    found = [Counter[int]() for _ in range(groups)]
    for cache in bucket.caches:
        start, layers = sum(cache.stages[:stage]), cache.stages[stage]
        for index, pages in enumerate(found):
            pages[cache.page_bytes] += in_turn(start, layers, groups, index)
    return found


def _block_bytes(buckets: Sequence[Sequence[Counter[int]]], packing: Packing, asked: Sequence[Bucket]) -> int:
    """Bytes of a block on one pipeline stage."""
    groups = [pages for bucket in buckets for pages in bucket]
    if packing == "widest":
        return max(sum(size * times for size, times in pages.items()) for pages in groups)
    if packing == "by size":
        return sum(size * max(pages[size] for pages in groups) for size in {size for pages in groups for size in pages})
    latents = {cache.page_bytes for bucket in asked for cache in bucket.caches if cache.spec.kind == "latent"}
    return sum(latents) * max(max(pages.values()) for pages in groups)
