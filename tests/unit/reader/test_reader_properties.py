from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.reader import read
from agent.reader.flags import tokens
from agent.reader.lexicon import languages
from agent.reader.normalise import lower, normalise
from tools.domain import GpuAsk, ModelAsk

WORDS = st.sampled_from(
    [
        "qwen",
        "квен",
        "llama",
        "лама",
        "30b",
        "70б",
        "4090",
        "2x",
        "x2",
        "на",
        "on",
        "в",
        "fp8",
        "int4",
        "24gb",
        "24",
        "гб",
        "RAM",
        "озу",
        "контекст",
        "32k",
        "64к",
        "и",
        "or",
        "или",
        "две",
        "two",
        "--max-model-len",
        "=",
        "A100",
        "80",
        "H100s",
        "м2",
        "ультра",
        "🦙",
        "\u200b",
        "-5",
        "?",
        ".",
        ",",
        "(",
        ")",
        "1e9",
        "nodes",
        "узла",
        "по",
        "each",
        "RTX",
        "PRO",
        "6000",
        "kv",
        "в",
        "q8",
    ]
)
DATA = Path(__file__).parents[3] / "agent" / "reader" / "data"


@settings(max_examples=120, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_text_is_read(turns: list[str]) -> None:
    reading = read(turns)
    assert reading.language in {"en", "ru"}
    assert reading.expect in {"answer", "ask", "correct", "scope"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=14).map(" ".join), min_size=1, max_size=3))
def test_any_words_of_the_field_are_read(turns: list[str]) -> None:
    reading = read(turns)
    for model in reading.models:
        assert model.copies is None or model.copies >= 1
    for gpu in reading.gpus:
        assert gpu.memory_gb is None or gpu.memory_gb > 0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_normalising_twice_changes_no_length_of_lower_case(text: str) -> None:
    plain = normalise(text)
    assert len(lower(plain)) == len(plain)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 16),
    card=st.sampled_from(["3090", "4090", "5090"]),
    times=st.sampled_from(["x", "х", " x ", " х ", "*", "×", "X", "Х"]),
    space=st.sampled_from([" ", "  ", "\t", "\n", "\u00a0", " \u200b "]),
)
def test_signs_of_multiplication_and_spaces_are_one(count: int, card: str, times: str, space: str) -> None:
    reading = read([f"Qwen3-8B{space}on{space}{count}{times}{card}"])
    assert reading.gpus == (GpuAsk(f"RTX {card}", None, count),)
    assert reading.models == (ModelAsk("Qwen3", 8),)


@settings(max_examples=40, deadline=None)
@given(thousands=st.integers(1, 999), rest=st.integers(0, 999), mark=st.sampled_from([" ", ",", "_", "'", "\u00a0"]))
def test_digits_with_separators_are_one_number(thousands: int, rest: int, mark: str) -> None:
    grouped = f"{thousands}{mark}{rest:03d}"
    assert read([f"qwen3 8b on a 4090, context {grouped}"]).context == thousands * 1000 + rest


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["Will Qwen3-32B-AWQ fit on 2x RTX 4090 24GB?", "влезет ли квен3 32б awq на две rtx 4090?"]),
    st.booleans(),
)
def test_case_does_not_matter(text: str, upper: bool) -> None:
    other = text.upper() if upper else text.lower()
    plain, cased = read([text]), read([other])
    assert replace(plain, models=()) == replace(cased, models=())
    assert [(m.name, m.size_b, (m.precision or "").lower()) for m in plain.models] == [
        (m.name, m.size_b, (m.precision or "").lower()) for m in cased.models
    ]


@given(st.integers(1, 10**6))
def test_tokens(number: int) -> None:
    assert tokens(str(number), "") == number
    assert abs(tokens(str(number), "k") - number * 1000) <= number * 24
    assert tokens(str(number), "m") == number * 1_000_000


def test_each_language_has_the_same_lists() -> None:
    tables = [json.loads((DATA / "languages" / f"{language}.json").read_bytes()) for language in languages()]
    for section in ("words", "phrases", "kinds"):
        assert set(tables[0][section]) == set(tables[1][section]), section
