"""Figures of pages: what they are of, what they may mean, and what is set beside what Rigfit knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.search.compare import Known, compared, is_about
from tools.search.figures import QUOTE_CHARS, figures_in

QWEN = Known("Qwen/Qwen3-8B", "model", {"params": (8.19e9,), "context": (40960.0,), "weights": (16.38e9, 8.2e9)})
CARD = Known("GeForce RTX 3090", "card", {"memory": (24 * 2.0**30,), "bandwidth": (936.2e9,)})


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("Number of Parameters: 8.2B", "params", 8.2e9),
        ("Qwen3-30B-A3B has 30.5 billion parameters", "params", 30.5e9),
        ("У модели 8,2 млрд параметров", "params", 8.2e9),
        ("671B total params, 37B activated params", "active", 37e9),
        ("30.5B parameters, 3.3B active", "active", 3.3e9),
        ("| Context Length | 32,768 |", "context", 32768),
        ("Context length: 128K", "context", 131072),
        ("Контекст 32 тыс. токенов", "context", 32000),
        ("24 GB of GDDR6X memory", "memory", 24 * 2.0**30),
        ("Видеопамять: 32 ГБ GDDR7", "memory", 32e9),
        ("The weights take 61.1 GB", "weights", 61.1e9),
        ("bandwidth of 936 GB/s", "bandwidth", 936e9),
        ("You need at least 24GB VRAM to run it", "needed", 24e9),
    ],
)
def test_a_figure_is_of_what_its_words_say(text: str, quantity: str, value: float) -> None:
    found = [f for f in figures_in(text) if f.quantity == quantity]
    assert any(abs(v - value) <= 1e-6 * value for f in found for v in f.values), figures_in(text)


@pytest.mark.parametrize(
    "text", ["Qwen3-8B", "24 GB", "Non-embedding parameters: 6.95B", "version 3.10.12", "in 2025", "step 8192 of 10000"]
)
def test_figures_without_words_are_no_facts(text: str) -> None:
    assert figures_in(text) == ()


@given(st.text(max_size=600))
def test_any_page_is_read(text: str) -> None:
    for figure in figures_in(text):
        assert figure.values
        assert len(figure.quote) <= 2 * QUOTE_CHARS
        assert "\n" not in figure.quote


def test_a_long_hostile_page_is_read_in_linear_time() -> None:
    assert len(figures_in("8.2B parameters " * 20 + "9" * 200_000 + "1,111" * 40_000)) <= 60


def page(text: str, title: str = "Qwen/Qwen3-8B · Hugging Face", url: str = "https://h.example/") -> dict[str, Any]:
    figures = [
        {"quantity": f.quantity, "values": f.values, "quote": f.quote, "piece": f.piece} for f in figures_in(text)
    ]
    return {"title": title, "url": url, "date": "2025-04-28", "figures": figures}


def judged(text: str, *known: Known, title: str = "Qwen/Qwen3-8B · Hugging Face") -> dict[str, bool | None]:
    return {row["quantity"]: row["agrees"] for row in compared([page(text, title)], known)}


def test_what_agrees_and_what_differs_is_told_apart() -> None:
    text = "Number of Parameters: 8.2B\nContext Length: 131,072 tokens\nThe weights take 16.4 GB"
    assert judged(text, QWEN) == {"params": True, "context": False, "weights": True}
    assert judged("Parameters: 14.8B", QWEN) == {"params": False}


def test_a_difference_comes_first_and_names_what_is_known() -> None:
    [first, _] = compared([page("Parameters: 8.2B\nContext length: 16K")], [QWEN])
    assert first["agrees"] is False
    assert first["known"] == 40960
    assert first["about"] == "Qwen/Qwen3-8B"
    assert (first["title"], first["date"]) == ("Qwen/Qwen3-8B · Hugging Face", "2025-04-28")


def test_one_of_several_figures_that_agrees_is_enough() -> None:
    assert judged("Context Length: 40,960 natively\nContext length 131,072 with YaRN", QWEN) == {"context": True}


def test_another_models_figure_on_the_page_is_not_held_against_it() -> None:
    assert judged("Qwen3-32B has 32.8B parameters.", QWEN) == {"params": None}


@pytest.mark.parametrize(
    ("title", "about"),
    [
        ("Qwen/Qwen3-8B", True), ("Qwen3 8B model card", True), ("Qwen3-8B-AWQ", False), ("Qwen3-80B", False),
        ("Qwen3-8B vs Llama 3.1 8B", False), ("Best models of 2026", False), ("Qwen3-8B-Base", False),
    ],
)  # fmt: skip
def test_whose_page_it_is(title: str, about: bool) -> None:
    assert is_about({"title": title, "url": ""}, QWEN) is about


def test_cards_are_compared_as_they_are_sold() -> None:
    title = "NVIDIA GeForce RTX 3090 Specs"
    assert judged("Memory Size: 24 GB\nBandwidth: 936.2 GB/s", CARD, title=title) == {"memory": True, "bandwidth": True}
    assert judged("Memory Size: 48 GB", CARD, title=title) == {"memory": False}
    assert judged("Memory Size: 48 GB", CARD, title="NVIDIA GeForce RTX 3090 Ti") == {"memory": None}


def test_where_nothing_is_known_it_is_only_quoted() -> None:
    [row] = compared([page("Zorblax-13B has 13.1B parameters", "Zorblax-13B")], [])
    assert row["agrees"] is None
    assert row["quote"] == "Zorblax-13B has 13.1B parameters"
