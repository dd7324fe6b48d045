"""Damaged text is mended whatever damaged it, and right text comes through as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.transcripts.mojibake import NAMES, decode, mend, oddness

RUSSIAN = [
    "Пойдут",
    "ли",
    "две",
    "модели",
    "на",
    "моём",
    "железе",
    "Ёмкость",
    "карты",
    "помещается",
    "Русский",
    "текст",
    "Ирина",
    "что",
    "я",
    "и",
    "да",
    "ещё",
    "объём",
    "ГБ",
]
ENGLISH = [
    "It’s",
    "will",
    "two",
    "models",
    "fit",
    "on",
    "my",
    "card",
    "“quoted”",
    "—",
    "24",
    "GiB",
    "15.7",
    "RTX",
    "4090?",
    "Qwen3-30B",
    "(98",
    "GB),",
    "ok…",
    "€5",
]
FRENCH = [
    "L’état",
    "déjà",
    "vu",
    "ça",
    "été",
    "où",
    "naïve",
    "Évry",
    "cœur",
    "à",
    "la",
    "carte",
    "«",
    "fenêtre",
    "»",
    "modèle",
    "août",
    "forêt",
    "garçon",
]
CODE = [
    "x",
    "=",
    "{'a':",
    "1}",
    "def",
    "f():",
    "return",
    "<b>",
    "$HOME",
    "`pip`",
    "--max-model-len",
    "≥",
    "10×",
    "±",
    "5",
    "→",
    "y",
    "😀",
    "👍🏽",
    "✓",
    "№",
    "3",
    "90°",
]
SENTENCES = (
    "Пойдут ли две модели Qwen3-30B на моём железе (98 ГБ)?",
    "а если 4090?",
    "Ёлка — «да» … 😀",
    "да",
    "Café déjà vu: ça marche?",
    "Ответ: 15.7 GiB, итого 113.7 GiB — не поместится.",
    "naïve €5 “quoted”",
    "Привет\nthe café\nещё 3×4090",
)


def damage(text: str, codec: str) -> str:
    """Read UTF-8 in another encoding, a byte without a character as its control character."""
    read = (bytes([byte]).decode(codec, "replace") for byte in text.encode())
    return "".join(chr(byte) if char == "\ufffd" else char for byte, char in zip(text.encode(), read, strict=True))


right = st.lists(st.sampled_from([*RUSSIAN, *ENGLISH, *FRENCH, *CODE]), max_size=30).map(" ".join)
russian = st.lists(st.sampled_from([*RUSSIAN, "RTX 4090", "98", "—"]), min_size=1, max_size=20).map(" ".join)


@given(right)
def test_right_text_is_left_alone(text: str) -> None:
    assert mend(text).text == text
    assert mend(text).read_as == ()


@given(
    russian.filter(lambda text: any(len(word) > 1 and word.isalpha() for word in text.split() if not word.isascii()))
)
def test_damaged_russian_is_mended(text: str) -> None:
    for codec in NAMES:
        assert mend(damage(text, codec)).text == text, codec


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize("text", SENTENCES)
def test_each_damage_is_undone(text: str, codec: str) -> None:
    assert mend(damage(text, codec)).text == text


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_damage_on_damage_is_undone(first: str, second: str) -> None:
    text = "\n".join(SENTENCES)
    mended = mend(damage(damage(text, first), second))
    assert mended.text == text
    assert mended.read_as


@pytest.mark.parametrize(
    "text",
    [
        "0–∞",
        "[1–∞) ",
        "Paris–Évry",
        "mot—école",
        "L’état",
        "уже",
        "раб",
        "СССР» и «США»",
        "ESPAÑA",
        "│ раб │",
        "λ→x",
        "日本語テキスト",
        "“Évry”",
        "©®™",
        "√2≈1.41",
        "от 0–∞",
        "Ærø",
        "",
        "і ї є ґ",
        "Љубав",
        "été–là",
    ],
)
def test_text_that_looks_odd_is_left_alone(text: str) -> None:
    assert mend(text).text == text


@given(st.text(max_size=200))
def test_mending_is_final_and_never_makes_text_odder(text: str) -> None:
    mended = mend(text)
    assert oddness(mended.text) <= oddness(text)


def test_a_file_damaged_in_part_is_mended_in_part() -> None:
    text = "Пойдут ли две модели?\n" + damage("а если на две карты?", "cp1251")
    assert mend(text).text == "Пойдут ли две модели?\nа если на две карты?"
    assert mend(text).read_as == ("Windows-1251",)


def test_lost_no_break_spaces_are_found() -> None:
    assert mend(damage("Русский и Роман", "cp1251").replace("\xa0", " ")).text == "Русский и Роман"


@pytest.mark.parametrize("codec", ["cp1251", "koi8_r", "cp866", "utf-16", "utf-8-sig", "utf-8"])
def test_files_of_other_encodings_are_read(codec: str) -> None:
    text = "Пойдут ли две модели Qwen3-30B на моей карте? А если взять две?"
    assert decode(text.encode(codec)).text == text
