"""KV cache: pages, blocks, windows, states, groups, concurrency, by version."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.domain import (
    Attention,
    Checkpoint,
    DenseMlp,
    Deployment,
    Gpu,
    Indexer,
    Layer,
    LinearAttention,
    MlaAttention,
    ModelSpec,
)
from tools.errors import BadValue
from tools.units import GIB
from tools.vram.kv import (
    Cache,
    CacheContext,
    CacheFlags,
    CachePlan,
    KvRules,
    KvSpec,
    element_bytes,
    kv_rules,
    pair_bytes,
    plan,
)
from tools.vram.kv.deployed import cache_dtype, cache_of, tokens_in_flight
from tools.vram.kv.packed import packed

FULL = Layer((Attention(32, 4, 128),), DenseMlp(8))
SLIDING = Layer((Attention(32, 4, 128, window=1024),), DenseMlp(8))
CHUNKED = Layer((Attention(32, 4, 128, chunk=8192),), DenseMlp(8))
WIDE = Layer((Attention(32, 2, 512),), DenseMlp(8))
QWEN35_FULL = Layer((Attention(24, 4, 256),), DenseMlp(8))
QWEN35_STATE = Layer((LinearAttention("gdn", 16, 48, 128, 128, state_bytes=4),), DenseMlp(8))
NEWEST = kv_rules((0, 32, 0))


def deployment(layers: tuple[Layer, ...], **flags: Any) -> Deployment:
    spec = ModelSpec("m", "glm_moe_dsa", "M", 1, None, 512, 64, True, 4096, layers, ())
    return Deployment(spec, Checkpoint("m", "bf16"), **flags)


def card(capability: str) -> Gpu:
    return Gpu("card", "nvidia", 80 * GIB, 80 * GIB, compute_capability=capability)


def planned(
    *counts: tuple[Layer, int], rules: KvRules = NEWEST, ends: tuple[int, ...] = (), flags: Any = None, **context: Any
) -> CachePlan:
    layers = tuple(layer for layer, count in counts for _ in range(count))
    return plan(layers, ends or (len(layers),), CacheContext(**context), rules, flags)


def blocks_a_request(made: CachePlan, tokens: int, in_flight: int = 2048) -> int:
    return made.request_blocks(tokens, in_flight)


def test_qwen3_30b_takes_98304_bytes_a_token():
    assert planned((FULL, 48)).token_bytes == 98_304
    assert planned((FULL, 48), element_bytes=1, dtype="fp8").token_bytes == 49_152
    assert planned((FULL, 48), tp=2).token_bytes == 49_152
    assert planned((FULL, 48), tp=8).token_bytes == 98_304 // 4, "one KV head is the least a rank holds"


def test_whole_blocks_are_taken_and_one_is_set_aside():
    made = planned((FULL, 48))
    block = 16 * 98_304
    assert made.needed(1, 1, 2048) == (2 * block,)
    assert made.needed(8192, 4, 2048) == (3 * GIB + block,)
    assert planned((FULL, 48), rules=kv_rules((0, 20, 0))).needed(8192, 4, 2048) == (3 * GIB,)


def test_an_engine_starts_only_if_a_sequence_fits_beside_the_block_set_aside():
    for version, least in (((0, 32, 0), 33), ((0, 20, 0), 32)):
        made = planned((FULL, 48), rules=kv_rules(version))
        assert made.holds_one((least * made.block_bytes[0],), 512, 2048)
        assert not made.holds_one((least * made.block_bytes[0] - 1,), 512, 2048)


def test_windows_make_bytes_a_token_no_constant():
    assert planned((FULL, 6), (SLIDING, 30)).token_bytes is None
    assert planned((FULL, 6), (SLIDING, 30), rules=kv_rules((0, 8, 5))).token_bytes == 36 * 2048


def test_a_window_keeps_its_tokens_those_in_flight_and_a_block_more():
    made = planned((SLIDING, 30))
    assert blocks_a_request(made, 100_000) == -(-(1023 + 2048) // 16) + 1
    assert blocks_a_request(made, 500) == -(-500 // 16) + 1


def test_a_sequence_of_a_window_alone_is_logged_with_a_block_more():
    # e5-mistral-7b, vLLM 0.9.1: 547,776 tokens, "Maximum concurrency for 1,024 tokens per request: 526.71x"
    layer = Layer((Attention(32, 8, 128, window=4096),), DenseMlp(8))
    made = planned((layer, 32), rules=kv_rules((0, 9, 1)))
    pools = (547_776 // 16 * made.block_bytes[0],)
    assert made.concurrency(pools, 1024, 8192) == pytest.approx(526.71, abs=0.005)
    assert made.capacity(pools, 1024, 8192) == 547_776


@pytest.mark.parametrize(
    ("version", "full", "sliding", "size"),
    [
        ((0, 32, 0), 10, 52, 10),
        ((0, 32, 0), 12, 12, 12),
        ((0, 32, 0), 13, 12, 13),
        ((0, 32, 0), 17, 12, 17),
        ((0, 32, 0), 18, 12, 12),
        ((0, 17, 0), 17, 12, 12),
        ((0, 17, 0), 14, 12, 14),
        ((0, 11, 2), 13, 12, 12),
    ],
)
def test_groups_are_as_large_as_the_rarest_kind_or_the_commonest_if_little_larger(
    version: tuple[int, int, int], full: int, sliding: int, size: int
):
    made = planned((FULL, full), (SLIDING, sliding), rules=kv_rules(version))
    assert made.block_bytes == (size * 32_768,)
    assert [group.times for group in made.groups] == [-(-full // size), -(-sliding // size)]


def test_before_groups_a_window_kept_all_tokens():
    old = planned((FULL, 6), (SLIDING, 30), rules=kv_rules((0, 8, 5)))
    assert old.block_bytes == (36 * 32_768,)
    assert old.concurrency((1000 * old.block_bytes[0],), 1500, 2048) == 1000 * 16 / 1500
    off = planned((FULL, 6), (SLIDING, 30), flags=CacheFlags(grouping=False))
    assert off.block_bytes == (36 * 32_768,)
    assert blocks_a_request(off, 1500) == 94


def test_chunks_are_kept_apart_from_version_15():
    assert planned((FULL, 12), (CHUNKED, 36)).block_bytes == (12 * 32_768,)
    assert blocks_a_request(planned((FULL, 12), (CHUNKED, 36)), 32_768, 16_384) == 2048 + 3 * 1536
    assert planned((FULL, 12), (CHUNKED, 36), rules=kv_rules((0, 13, 0))).block_bytes == (48 * 32_768,)


def test_smaller_pages_get_more_tokens_a_block():
    # Gemma 4: 8 heads of 256 slide, 2 of 512 do not; vLLM 0.32 makes blocks of 16 and 32 tokens and 655,360 B
    small = Layer((Attention(16, 8, 256, window=1024),), DenseMlp(8))
    made = planned((small, 25), (WIDE, 5))
    assert made.block_bytes == (655_360,)
    assert {(group.spec.kind, group.block, group.times) for group in made.groups} == {
        ("sliding", 16, 5),
        ("full", 32, 1),
    }


def test_full_attention_of_several_sizes_is_one_group():
    made = planned((FULL, 10), (WIDE, 2))
    assert len(made.groups) == 1
    assert made.token_bytes == 10 * 2048 + 2 * 4096


def test_blocks_are_raised_until_a_page_is_as_large_as_a_state():
    made = planned((QWEN35_STATE, 48), (QWEN35_FULL, 16))
    assert made.block == 784
    assert made.block_bytes == (16 * 784 * 4096,)
    assert blocks_a_request(made, 32_768) == 42 + 3 * 2
    assert planned((QWEN35_STATE, 48), (QWEN35_FULL, 16), element_bytes=1, dtype="fp8").block == 1568


def test_a_state_takes_a_slot_and_one_a_draft_token_and_one_more_with_prefix_caching():
    layers = (QWEN35_STATE, 48), (QWEN35_FULL, 16)
    off = CacheFlags(prefix_caching=False)
    on = CacheFlags(prefix_caching=True)
    assert blocks_a_request(planned(*layers, flags=off), 784) == 1 + 3
    assert blocks_a_request(planned(*layers, rules=kv_rules((0, 27, 1))), 784) == 1 + 3, "off by default before 0.28"
    assert blocks_a_request(planned(*layers, rules=kv_rules((0, 27, 1)), flags=on), 784) == 1 + 3 * 2
    assert blocks_a_request(planned(*layers, drafts=5), 784) == 1 + 3 * 7


def test_a_block_had_to_fit_a_step():
    layers = (QWEN35_STATE, 48), (QWEN35_FULL, 16)
    old = planned(*layers, rules=kv_rules((0, 24, 0)), flags=CacheFlags(prefix_caching=True))
    assert not old.fits_step(783)
    assert old.fits_step(784)
    assert planned(*layers).fits_step(783)


def test_tokens_are_printed_by_group_before_21():
    # Qwen3.6-27B-AWQ on two cards with an fp8 cache of 10.65 GiB: "174,048 tokens", "4.08x" at 160,000
    layers = (QWEN35_STATE, 48), (QWEN35_FULL, 16)
    old = planned(*layers, rules=kv_rules((0, 20, 0)), flags=CacheFlags(prefix_caching=True), tp=2, element_bytes=1)
    pools = (int(10.65 * GIB),)
    assert old.capacity(pools, 160_000, 2048) == 174_048
    assert old.concurrency(pools, 160_000, 2048) == pytest.approx(4.08, abs=0.005)


V4_FLASH = [
    Cache(KvSpec("latent_sliding", 9360, 128, packed=True), (43,), 64, 37_440),
    Cache(KvSpec("latent", 2160), (21,), 256, 8_640),
    Cache(KvSpec("latent_sliding", 34_560, 8), (21,), 4, 8_640),
    Cache(KvSpec("latent", 9360), (21,), 256, 37_440),
    Cache(KvSpec("latent_sliding", 131_328, 8), (21,), 4, 32_832),
    Cache(KvSpec("latent", 432), (20,), 256, 1_728),
    Cache(KvSpec("latent_sliding", 65_664, 128), (20,), 8, 32_832),
]


def test_pages_side_by_side_are_grouped_by_type():
    # DeepSeek-V4-Flash, vLLM 0.32: blocks of 1,002,240 B; a sequence of 32,768 tokens takes 6,810 of them
    found = packed(V4_FLASH)
    assert found.block_bytes == (1_002_240,)
    made = CachePlan(found.groups, found.block_bytes, 256, None, NEWEST, CacheFlags())
    assert made.request_blocks(32_768, 16_384) == 128 + 2 * 259 + 4099 + 2065
    assert made.concurrency((40 * GIB,), 32_768, 16_384) == 6.29265785609398


def test_pages_side_by_side_were_measured_otherwise_before_23():
    # DeepSeek-V4-Flash on eight cards: 37.93 GiB, "2,497,693 tokens" and "9.76x" at 256,000
    rules = kv_rules((0, 22, 0))
    found = packed(V4_FLASH, rules.packing)
    assert found.block_bytes == (22 * (37_440 + 8_640 + 1_728),)
    made = CachePlan(found.groups, found.block_bytes, 256, None, rules, CacheFlags())
    pools = (38_724 * found.block_bytes[0],)
    assert pools[0] == pytest.approx(37.93 * GIB, rel=2e-4)
    assert made.request_blocks(256_000, 8192) == 3969
    assert made.capacity(pools, 256_000, 8192) == 2_497_693
    assert packed(V4_FLASH, "by size").block_bytes == (22 * 37_440 + 21 * 8_640 + 20 * 1_728,)


def test_the_first_generation_rounded_latents_to_256_bytes():
    # DeepSeek-Coder-V2-Lite, vLLM 0.7.3: 34,560 B a token in 27 layers
    layer = Layer((MlaAttention(16, 512, 128, 64, 128),), DenseMlp(8))
    assert planned((layer, 27), rules=kv_rules((0, 7, 3), is_v0=True)).token_bytes == 27 * 1280
    assert planned((layer, 27)).token_bytes == 27 * 1152


def test_ranks_share_a_sequence_by_position():
    flags = CacheFlags(context_ranks=4)
    assert blocks_a_request(planned((FULL, 4), flags=flags), 1000) == 16
    assert blocks_a_request(planned((FULL, 4)), 1000) == 63


@pytest.mark.parametrize(
    ("capability", "asked", "version", "found"),
    [
        ("9.0", "auto", None, "auto"),
        ("9.0", "fp8", None, "fp8_ds_mla"),
        ("10.0", "fp8", None, "fp8"),
        ("10.0", "auto", None, "fp8_e4m3"),
        ("10.0", "auto", "0.31", "auto"),
        ("10.0", "fp8", "0.13", "fp8_ds_mla"),
        ("12.0", "auto", None, "fp8_ds_mla"),
    ],
)
def test_sparse_attention_chooses_a_layout_by_card(capability: str, asked: str, version: str | None, found: str):
    sparse = MlaAttention(16, 512, 128, 64, 128, indexer=Indexer(4, 128, 64), sparse=True)
    deployed = deployment((Layer((sparse,), DenseMlp(8)),) * 2, kv_dtype=asked, engine_version=version)
    assert cache_dtype(deployed, card(capability)) == found


def test_a_draft_head_caches_a_layer_more():
    plain, drafted = deployment((FULL,) * 32), deployment((FULL,) * 32, draft="eagle")
    assert cache_of(plain, None).token_bytes == 32 * 2048
    assert cache_of(drafted, None).token_bytes == 33 * 2048


@pytest.mark.parametrize(
    ("capability", "version", "block"), [("9.0", "0.11", 64), ("9.0", None, 16), ("10.0", None, 32)]
)
def test_latent_attention_takes_blocks_of_its_backend(capability: str, version: str | None, block: int):
    layer = Layer((MlaAttention(16, 512, 128, 64, 128),), DenseMlp(8))
    assert cache_of(deployment((layer,) * 2, engine_version=version), card(capability)).block == block


def test_tokens_of_every_step_under_way_count_from_26():
    asked = {"max_num_batched_tokens": 1000}
    assert tokens_in_flight(deployment((FULL,), engine_version="0.25", **asked), None) == 1000
    assert tokens_in_flight(deployment((FULL,), engine_version="0.32", **asked), None) == 2000
    assert tokens_in_flight(deployment((FULL,) * 4, engine_version="0.32", pp=4, **asked), None) == 5000


def test_stages_of_a_pipeline_hold_a_share_of_each_group():
    made = planned((FULL, 6), (SLIDING, 30), ends=(6, 36))
    assert made.block_bytes == (6 * 32_768, 5 * 6 * 32_768 // 5)
    assert made.blocks((600 * 32_768, 60 * 32_768)) == 10


def test_a_model_without_attention_has_states_only():
    made = planned((QWEN35_STATE, 4))
    assert blocks_a_request(made, 100_000) == 1
    assert made.token_bytes is None


def test_nothing_is_cached_without_caches():
    made = planned((Layer((), DenseMlp(8)), 4))
    assert made.groups == ()
    assert made.concurrency((), 1000, 2048) is None
    assert made.holds_one((), 1000, 2048)


def test_a_head_takes_what_its_type_does():
    assert pair_bytes("auto", 128, 128, 2) == 512
    assert pair_bytes("fp8", 128, 128, 1) == 256
    assert pair_bytes("fp8_per_token_head", 128, 128, 1) == 264
    assert pair_bytes("int4_per_token_head", 128, 128, 1) == 136
    assert pair_bytes("nvfp4", 128, 128, 1) == 144
    assert pair_bytes("turboquant_k8v4", 128, 128, 1) == 196
    assert pair_bytes("turboquant_3bit_nc", 128, 128, 1) == 102
    assert element_bytes("auto", 4) == 4
    with pytest.raises(BadValue):
        element_bytes("fp9", 2)


VERSIONS = st.sampled_from([(0, 8, 5), (0, 11, 2), (0, 17, 1), (0, 20, 0), (0, 26, 0), (0, 29, 0), (0, 32, 0)])


@given(
    full=st.integers(0, 40),
    sliding=st.integers(0, 40),
    states=st.integers(0, 40),
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.integers(1, 4),
    tokens=st.integers(1, 2_000_000),
    sequences=st.integers(1, 2000),
    in_flight=st.integers(1, 65_536),
    version=VERSIONS,
)
def test_what_is_needed_is_enough(
    full: int,
    sliding: int,
    states: int,
    tp: int,
    pp: int,
    tokens: int,
    sequences: int,
    in_flight: int,
    version: tuple[int, int, int],
):
    total = full + sliding + states
    if full + states == 0 or sliding + full == 0:
        return
    ends = tuple(total * (i + 1) // pp for i in range(pp))
    made = planned((SLIDING, sliding), (QWEN35_STATE, states), (FULL, full), tp=tp, ends=ends, rules=kv_rules(version))
    needed = made.needed(tokens, sequences, in_flight)
    assert len(needed) == pp
    assert min(needed) >= 0
    assert made.holds_one(needed, tokens, in_flight)
    held = made.concurrency(needed, tokens, in_flight)
    assert held is not None
    assert held >= sequences or not made.rules.whole_blocks, "tokens were counted, not blocks"
    more = made.concurrency(tuple(size + 12_345_678 for size in needed), tokens, in_flight)
    assert more is not None
    assert more >= held
    longer = made.concurrency(needed, tokens + 1, in_flight)
    assert longer is not None
    assert longer <= held
    assert max(made.needed(tokens + 1, sequences, in_flight)) >= max(needed)
    assert max(made.needed(tokens, sequences + 1, in_flight)) > max(needed)
