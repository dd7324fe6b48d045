"""Tables before a card is chosen and of how far a model goes on one: consistent with the calculator and each other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.capacity import ladder
from tools.needs import cards_needed
from tools.rough import by_size, is_unnamed, largest
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.units import GIB

MODELS, CARDS = ModelCatalogue.load(), GpuCatalogue.load()


def test_ladder_without_a_card_gives_weights_by_format() -> None:
    rungs = {r.precision: r for r in ladder(MODELS.find("Qwen/Qwen3-30B-A3B").spec, context=8192, users=4)}
    assert rungs["bf16"].parameter_bytes == 61_064_245_248
    assert rungs["bf16"].kv_bytes_per_token == 98_304
    assert rungs["gptq-int4"].parameter_bytes / GIB == pytest.approx(15.672, rel=0.001)
    assert all(r.fits is None for r in rungs.values())
    assert not any(name.startswith(("mlx", "gguf")) for name in rungs)


def test_quantised_in_flight_is_counted_after_quantisation() -> None:
    rungs = {r.precision: r for r in ladder(MODELS.find("Qwen/Qwen3-30B-A3B").spec, context=8192, users=4)}
    assert rungs["fp8-online"].parameter_bytes < 0.6 * rungs["bf16"].parameter_bytes


@settings(deadline=None, max_examples=20)
@given(st.integers(min_value=512, max_value=32_768), st.integers(min_value=1, max_value=32))
def test_more_context_never_means_more_users(context: int, users: int) -> None:
    model, card = MODELS.find("Qwen/Qwen3-8B").spec, CARDS.find("RTX 3090").gpu
    one = {r.precision: r for r in ladder(model, (card,), context=context, users=users)}
    two = {r.precision: r for r in ladder(model, (card,), context=2 * context, users=users)}
    for precision, rung in one.items():
        assert (rung.users or 0) >= (two[precision].users or 0)
        assert (rung.context_tokens or 0) <= model.max_context


def test_two_cards_are_used_where_one_does_not_hold() -> None:
    model, card = MODELS.find("Qwen/Qwen3-14B").spec, CARDS.find("RTX 3090").gpu
    [bf16] = [r for r in ladder(model, (card, card), context=8192, users=1) if r.precision == "bf16"]
    assert (bf16.tp, bf16.fits) == (2, True)


def test_cards_needed_fall_with_memory_and_with_bits() -> None:
    model = MODELS.find("Qwen/Qwen3-32B").spec
    needs = cards_needed([(model, "any")], CARDS, context=8192, users=4)
    for precision in {n.precision for n in needs}:
        column = sorted((n for n in needs if n.precision == precision), key=lambda n: n.total_bytes)
        counts = [n.count or 99 for n in column]
        assert counts == sorted(counts, reverse=True)
    full, small = needs[0].precision, needs[-1].precision
    assert full != small
    by_card = {(n.card, n.precision): n.count or 99 for n in needs}
    assert all(by_card[card, small] <= by_card[card, full] for card, _ in by_card)


@given(st.floats(min_value=0.1, max_value=2000), st.integers(min_value=1, max_value=8))
def test_rough_weights_are_bits_times_parameters(size: float, copies: int) -> None:
    rows = by_size([{"size_b": size, "copies": copies}], ())["rows"]
    assert rows[0]["weights_bytes"] == pytest.approx(size * copies * 2e9, rel=1e-6)
    assert [r["weights_bytes"] for r in rows] == sorted((r["weights_bytes"] for r in rows), reverse=True)


def test_largest_leaves_room() -> None:
    card = CARDS.find("RTX 3090").gpu
    assert all(row["params"] * row["bits"] / 8 < card.cuda_total_bytes for row in largest((card,)))
    assert largest(()) == []


@pytest.mark.parametrize(
    ("name", "unnamed"),
    [
        ("7B model", True),
        ("LLM", True),
        ("model (38 GB)", True),
        ("", True),
        (None, True),
        ("Qwen3", False),
        ("bge-m3", False),
    ],
)
def test_unnamed_models(name: str | None, unnamed: bool) -> None:
    assert is_unnamed(name) is unnamed
