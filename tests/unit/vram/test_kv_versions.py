"""Blocks, concurrency and printed tokens as fourteen versions of vLLM had them.

The answers were recorded by running each version's own ``v1/core/kv_cache_utils.py`` on specifications made by hand.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tools.vram.kv import Cache, CacheFlags, CachePlan, KvSpec, kv_rules
from tools.vram.kv.groups import grouped

RECORDED = Path(__file__).parent / "pools-by-version.jsonl.gz"
CASES = [json.loads(line) for line in gzip.decompress(RECORDED.read_bytes()).decode().splitlines()]


def spec(kind: Any, heads: int, head_dim: int, window: int, state: int) -> KvSpec:
    vectors = 1 if kind == "latent" else 2
    return KvSpec(kind, state or 16 * heads * head_dim * vectors * 2, window or None)


@pytest.mark.parametrize("version", sorted({case["version"] for case in CASES}))
def test_counts_as_that_version_did(version: str):
    number = tuple(map(int, version.split(".")))
    rules = kv_rules((number[0], number[1], number[2]))
    for case in (case for case in CASES if case["version"] == version):
        asked = [(spec(*layer[:-1]), layer[-1]) for layer in case["layers"]]
        caches = [Cache(one, (times,), case["block"], one.page_of(case["block"])) for one, times in asked]
        found = grouped(caches, rules, has_groups=rules.has_groups and case["grouping"])
        flags = CacheFlags(case["block"], prefix_caching=case["caches_states"])
        made = CachePlan(found.groups, found.block_bytes, case["block"], None, rules, flags)
        pools, length = (case["pool"],), case["length"]
        in_flight = case["step"] * (2 if rules.overlaps_batches else 1)
        assert made.blocks(pools) == case["blocks"]
        assert made.concurrency(pools, length, in_flight) == case["concurrency"]
        tokens = int(case["concurrency"] * length) if rules.prints_capacity else case["group_tokens"]
        assert made.capacity(pools, length, in_flight) == tokens
