"""KV cache: pages, blocks, sliding windows, concurrency."""

from hypothesis import given
from hypothesis import strategies as st

from tools.domain import Attention, DenseMlp, Layer
from tools.units import GIB
from tools.vram import kv

FULL = Layer((Attention(32, 4, 128),), DenseMlp(8))
SLIDING = Layer((Attention(32, 4, 128, window=1024),), DenseMlp(8))


def kinds(full: int, sliding: int = 0, tp: int = 1, width: int = 2) -> tuple[kv.Cache, ...]:
    return kv.caches((FULL,) * full + (SLIDING,) * sliding, tp, width)


def test_qwen3_30b_takes_98304_bytes_a_token():
    assert kv.bytes_per_token(kinds(48)) == 98_304
    assert kv.bytes_per_token(kinds(48, width=1)) == 49_152
    assert kv.bytes_per_token(kinds(48, tp=2)) == 49_152
    assert kv.bytes_per_token(kinds(48, tp=8)) == 98_304 // 4, "one KV head is the least a rank holds"


def test_whole_blocks_are_taken():
    assert kv.needed_bytes(kinds(48), 1, 1, 2048) == 16 * 98_304
    assert kv.needed_bytes(kinds(48), 8192, 4, 2048) == 3 * GIB


def test_windows_make_bytes_a_token_no_constant():
    assert kv.bytes_per_token(kinds(6, 30)) is None


def test_a_window_keeps_its_tokens_those_in_flight_and_a_block_more():
    (_, sliding) = kinds(6, 30)
    assert kv.sequence_blocks(sliding, 100_000, 2048) == -(-(1023 + 2048) // 16) + 1
    assert kv.sequence_blocks(sliding, 500, 2048) == -(-500 // 16) + 1


def test_groups_are_as_large_as_the_rarest_kind():
    assert kv.group_size(kinds(10, 52)) == 10
    assert kv.group_size(kinds(12, 12)) == 12
    assert kv.group_size(kinds(13, 12)) == 13
    assert kv.group_size(kinds(48)) == 48


def test_concurrency_as_logged():
    # Qwen3-Coder-30B-A3B class: 1,000 blocks of 16 tokens hold 31.25 sequences of 512
    assert kv.concurrency(kinds(48), 1000 * 48 * 32_768, 512, 2048) == 1000 / 32


@given(
    full=st.integers(0, 40),
    sliding=st.integers(0, 40),
    tp=st.sampled_from([1, 2, 4, 8]),
    tokens=st.integers(1, 2_000_000),
    sequences=st.integers(1, 2000),
    in_flight=st.integers(1, 65_536),
)
def test_what_is_needed_is_enough(full: int, sliding: int, tp: int, tokens: int, sequences: int, in_flight: int):
    if full + sliding == 0:
        return
    found = kinds(full, sliding, tp)
    needed = kv.needed_bytes(found, tokens, sequences, in_flight)
    assert needed > 0
    assert kv.concurrency(found, needed, tokens, in_flight) >= sequences
    assert kv.concurrency(found, needed - 1, tokens, in_flight) < sequences
    assert kv.needed_bytes(found, tokens + 1, sequences, in_flight) >= needed
    assert kv.needed_bytes(found, tokens, sequences + 1, in_flight) > needed
    assert kv.needed_bytes(kinds(full + 1, sliding, tp), tokens, sequences, in_flight) > 0
