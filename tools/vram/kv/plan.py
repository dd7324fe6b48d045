"""What an engine makes of a model's caches: groups, blocks, what a sequence takes, what a pool holds.

Source: vLLM 0.32 ``v1/core/kv_cache_utils.py`` (``get_kv_cache_configs``, ``get_max_concurrency_for_kv_cache_config``,
``get_kv_cache_capacity``) and ``v1/kv_cache_interface.py`` (``max_memory_usage_bytes`` of each kind).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tools.domain import Layer
from tools.vram import mixers
from tools.vram.kv.groups import Cache, Group, grouped
from tools.vram.kv.packed import packed
from tools.vram.kv.rules import KvRules
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext, KvSpec
from tools.vram.remembered import remembered

KEPT = 256
"""Plans kept."""

BOUNDARY_LAYERS = 2
"""First and last layers that TurboQuant leaves in 16 bits (``turboquant/config.py:get_boundary_skip_layers``)."""


@dataclass(frozen=True, slots=True)
class CacheFlags:
    """How the engine was told to keep its cache; None is its default.

    Attributes:
        block: tokens a block (``--block-size``), or what the attention backend takes.
        prefix_caching: ``--enable-prefix-caching``.
        grouping: False with ``--disable-hybrid-kv-cache-manager``.
        context_ranks: ``--decode-context-parallel-size``; each holds a share of every sequence.
    """

    block: int = BLOCK_TOKENS
    prefix_caching: bool | None = None
    grouping: bool | None = None
    context_ranks: int = 1


@dataclass(frozen=True, slots=True)
class CachePlan:
    """Groups of layers and their blocks.

    Attributes:
        groups: which share the pool.
        block_bytes: bytes of a block of the pool on each pipeline stage.
        block: tokens of a block of the engine (``cache_config.block_size``).
        state_slots: states a sequence holds in each group of states.
        token_bytes: bytes a token takes on the fullest stage, or None where that is no constant.
    """

    groups: tuple[Group, ...]
    block_bytes: tuple[int, ...]
    block: int
    token_bytes: int | None
    rules: KvRules
    flags: CacheFlags
    drafts: int = 0

    @property
    def caches_states(self) -> bool:
        """Whether states are kept for prefix caching."""
        return caches_states(self.rules, self.flags, attention=any(g.spec.kind != "state" for g in self.groups))

    def group_blocks(self, group: Group, tokens: int, in_flight: int) -> int:
        """Blocks of one group that a sequence of ``tokens`` takes at most.

        A window keeps ``window - 1`` tokens beside those in flight, and one block more because it may start within a
        block; a chunk as many as itself; a state one slot and one a draft token, two with prefix caching.

        Args:
            group: the group.
            tokens: length of the sequence.
            in_flight: tokens that may be scheduled and not yet settled.
        """
        window = group.spec.window or 0
        match group.spec.kind:
            case "full" | "latent":
                return -(-tokens // (group.block * self.flags.context_ranks))
            case "sliding" | "latent_sliding":
                return -(-min(window - 1 + in_flight, tokens) // group.block) + 1
            case "chunked":
                return -(-min(window + in_flight, tokens) // group.block)
            case "ring":
                return 1
            case "state":
                return self._slots(group.spec)

    def _slots(self, spec: KvSpec) -> int:
        if not self.caches_states:
            return 1 + self.drafts
        return 2 + self.drafts + (spec.checkpoints if self.rules.keeps_checkpoint else 0)

    def request_blocks(self, tokens: int, in_flight: int) -> int:
        """Blocks of the pool that one sequence of ``tokens`` takes: each group has its own block table.

        Before 0.27 the bytes of all groups were divided by the bytes of a block of the first one.
        """
        if self.rules.sums_groups or not self.groups:
            return sum(group.times * self.group_blocks(group, tokens, in_flight) for group in self.groups)
        pages = sum(
            group.times * self.group_blocks(group, tokens, in_flight) * group.page_bytes for group in self.groups
        )
        return -(-pages // self.groups[0].page_bytes)

    def blocks(self, pools: Sequence[int]) -> int:
        """Blocks that pools of so many bytes, one a pipeline stage, are cut into: as many as the poorest holds."""
        if not self.groups:
            return 1
        return max(0, min(pool // size for pool, size in zip(pools, self.block_bytes, strict=True) if size))

    def concurrency(self, pools: Sequence[int], tokens: int, in_flight: int) -> float | None:
        """How many sequences of ``tokens`` the pools hold, as vLLM prints "Maximum concurrency".

        None without a cache.
        """
        if not self.groups:
            return None
        blocks = self.blocks(pools)
        if not self.rules.whole_blocks:
            return blocks * self.block / tokens
        return blocks / self.request_blocks(tokens, in_flight)

    def capacity(self, pools: Sequence[int], tokens: int, in_flight: int) -> int | None:
        """Tokens that the pools hold, as vLLM prints "GPU KV cache size".

        From 0.21 concurrency x length; before, the blocks of one group times their tokens, where a block of states that
        are not cached stands for the length.
        """
        crowd = self.concurrency(pools, tokens, in_flight)
        if crowd is None:
            return None
        if self.rules.prints_capacity:
            return int(crowd * tokens)
        share = self.blocks(pools) // sum(group.times for group in self.groups)
        alone = (tokens,) if self._has_states and not self.caches_states else ()
        return share * min((*alone, *(group.block for group in self.groups))) * self.flags.context_ranks

    def fits_step(self, tokens: int) -> bool:
        """Whether the engine takes the block size: with prefix caching of states a step had to hold a whole block."""
        is_limited = self._has_states and self.rules.needs_block_a_step and self.caches_states
        return not is_limited or self.block <= tokens

    def holds_one(self, pools: Sequence[int], tokens: int, in_flight: int) -> bool:
        """Whether the engine starts: one sequence fits beside the block that is set aside."""
        if not self.groups:
            return True
        return self.blocks(pools) - self._reserved >= self.request_blocks(tokens, in_flight)

    def needed(self, tokens: int, sequences: int, in_flight: int) -> tuple[int, ...]:
        """Bytes on each stage for ``sequences`` sequences of ``tokens``, whole blocks and the one set aside.

        Worked example: Qwen3-30B-A3B, 4 sequences of 8,192 tokens: (4 x 512 + 1) blocks x 48 layers x 32,768 B.
        """
        blocks = sequences * self.request_blocks(tokens, in_flight) + self._reserved
        return tuple(blocks * size for size in self.block_bytes)

    @property
    def _has_states(self) -> bool:
        return any(group.spec.kind == "state" for group in self.groups)

    @property
    def _reserved(self) -> int:
        return int(self.rules.keeps_null_block)


def caches_states(rules: KvRules, flags: CacheFlags, *, attention: bool) -> bool:
    """Whether states are kept for prefix caching: by default or when asked, and never without attention."""
    if not attention or not rules.can_cache_states:
        return False
    return rules.caches_states if flags.prefix_caching is None else flags.prefix_caching


@remembered(KEPT, by_identity=1)
def plan(
    layers: Sequence[Layer], ends: Sequence[int], context: CacheContext, rules: KvRules, flags: CacheFlags | None = None
) -> CachePlan:
    """Group the caches of a model's layers and cut blocks.

    Args:
        layers: all layers, in order.
        ends: where each pipeline stage ends: ``(len(layers),)`` without a pipeline.
        context: ranks and types.
        rules: of the engine's version.
        flags: what the engine was told.

    Raises:
        BadValue: heads do not divide among the ranks.
        NotYetExact: a kind of mixer is not covered.
    """
    flags = flags or CacheFlags()
    specs = _row_aligned(specs_by_stage(layers, ends, context), rules)
    block = aligned_block(specs, flags.block, rules)
    caches = [Cache(spec, stages, *_block_and_page(spec, block)) for spec, stages in specs.items()]
    whole = rules.has_groups and flags.grouping is not False
    is_packed = whole and any(spec.packed for spec in specs) and len({cache.page_bytes for cache in caches}) > 1
    found = packed(caches, rules.packing) if is_packed else grouped(caches, rules, has_groups=whole)
    token_bytes = _token_bytes(found.groups, found.block_bytes, rules)
    return CachePlan(found.groups, found.block_bytes, block, token_bytes, rules, flags, context.drafts)


def specs_by_stage(
    layers: Sequence[Layer], ends: Sequence[int], context: CacheContext
) -> dict[KvSpec, tuple[int, ...]]:
    """Count how many layers ask for each cache on each pipeline stage."""
    asked: dict[tuple[int, bool], tuple[KvSpec, ...]] = {}
    found: dict[KvSpec, list[int]] = {}
    left_out = _boundary(layers, context)
    start = 0
    for stage, end in enumerate(ends):
        counts = Counter((id(layer), index in left_out) for index, layer in enumerate(layers[start:end], start))
        known = {id(layer): layer for layer in layers[start:end]}
        for key, times in counts.items():
            if key not in asked:
                asked[key] = _specs(known[key[0]], context.unquantised() if key[1] else context)
            for spec in asked[key]:
                found.setdefault(spec, [0] * len(ends))[stage] += times
        start = end
    return {spec: tuple(stages) for spec, stages in found.items()}


def _specs(layer: Layer, context: CacheContext) -> tuple[KvSpec, ...]:
    return tuple(spec for mixer in layer.mixers for spec in mixers.kv_specs(mixer, context))


def _boundary(layers: Sequence[Layer], context: CacheContext) -> frozenset[int]:
    """Numbers of the layers whose cache keeps the model's type: TurboQuant's first and last, states apart."""
    count = len(layers)
    if not context.dtype.startswith("turboquant") or _has_states(layers, context):
        return frozenset()
    left = min(BOUNDARY_LAYERS, count // 2)
    return frozenset((*range(left), *range(count - left, count)))


def _has_states(layers: Sequence[Layer], context: CacheContext) -> bool:
    distinct = {id(layer): layer for layer in layers}
    return any(spec.kind == "state" for layer in distinct.values() for spec in _specs(layer, context))


def aligned_block(specs: dict[KvSpec, tuple[int, ...]], block: int, rules: KvRules) -> int:
    """Tokens of a block: as asked, raised until a page of attention is as large as a state.

    Worked example: Qwen3.5-27B's state takes 3,207,168 B and its attention 4,096 B a token: 784 tokens.
    """
    states = [spec.page_bytes for spec in specs if spec.kind == "state"]
    tokens = [spec.page_of(BLOCK_TOKENS) / BLOCK_TOKENS for spec in specs if spec.kind in {"full", "latent"}]
    block = math.lcm(block, *(spec.kernel for spec in specs))
    if not states or not tokens:
        return block
    if all(spec.kind != "full" for spec in specs):
        block = math.lcm(block, rules.latent_alignment)
    return block * math.ceil(max(states) / (block * max(tokens)))


def _block_and_page(spec: KvSpec, block: int) -> tuple[int, int]:
    own = spec.block or block
    return own, spec.page_of(own)


def _row_aligned(specs: dict[KvSpec, tuple[int, ...]], rules: KvRules) -> dict[KvSpec, tuple[int, ...]]:
    """Round a token's latent up to whole rows where the version does; that generation pools no states."""
    row = rules.latent_row
    if row == 1:
        return specs
    return {
        replace(spec, page_bytes=-(-spec.page_bytes // (BLOCK_TOKENS * row)) * BLOCK_TOKENS * row)
        if spec.kind == "latent"
        else spec: stages
        for spec, stages in specs.items()
        if spec.kind != "state"
    }


def _token_bytes(groups: Sequence[Group], block_bytes: Sequence[int], rules: KvRules) -> int | None:
    """Bytes a token takes, where all layers keep tokens alike; windows only where they are printed that way."""
    if len(groups) != 1 or groups[0].times != 1 or groups[0].spec.kind in {"state", "ring"}:
        return None
    if groups[0].spec.kind not in {"full", "latent"} and rules.prints_capacity:
        return None
    return max(block_bytes) // groups[0].block
