"""What a message asks to remember, in both languages; what only sounds like it is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.memory import MAX_NAME_CHARS, clean_name
from agent.recall.wishes import wish_in
from tools.errors import BadValue


@pytest.mark.parametrize(
    ("text", "language", "name"),
    [
        ("remember this as home", "en", "home"),
        ("Remember my 2x 3090 as my attic box, please", "en", "attic box"),
        ("my home box has 2x3090, remember it", "en", "home"),
        ("call it apollo", "en", "apollo"),
        ('save this rig as "Ada\'s box"', "en", "Ada's box"),
        ("remember my hardware: RTX 4090", "en", "my hardware"),
        ("запомни как домашний", "ru", "домашний"),
        ("запомни: дома 2x3090", "ru", "домашний"),
        ("Запомни эту карту как «work server»", "ru", "work server"),
        ("сохрани мой сервер: 4x H100", "ru", "сервер"),
        ("назови это домашним", "ru", "домашний"),
        ("запомни моё железо: RTX 4090", "ru", "моё железо"),
    ],
)
def test_hardware_gets_the_name_that_was_said(text: str, language: str, name: str) -> None:
    wish = wish_in(text, language)
    assert wish
    assert (wish.kind, wish.name) == ("rig", name)


@pytest.mark.parametrize(
    "text",
    [
        "I remember that a 3090 has 24 GB, will Qwen3-8B fit?",
        "Will Qwen3-30B fit on my hardware?",
        "сохрани это в файл",
        "save this as a docker-compose",
        "как назвать модель?",
        "не забудь про контекст 32k, Qwen3-8B на 3090",
        "",
    ],
)
def test_other_messages_ask_for_nothing(text: str) -> None:
    assert wish_in(text, "ru") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("what do you remember about me?", "list"),
        ("что ты обо мне помнишь?", "list"),
        ("forget my home rig", "forget"),
        ("забудь домашний", "forget"),
        ("remember: I use llama.cpp", "prefer"),
        ("запомни, отвечай по-русски", "prefer"),
    ],
)
def test_other_wishes(text: str, kind: str) -> None:
    wish = wish_in(text, "en")
    assert wish
    assert wish.kind == kind


def test_preferences_that_are_stated() -> None:
    wish = wish_in("запомни: vLLM, контекст 16k, AWQ, отвечай по-русски", "ru")
    assert wish
    assert wish.liked == {"engine": "vllm", "context": 16384, "precision": "awq", "language": "ru"}


@settings(max_examples=40)
@given(st.text(max_size=600))
def test_any_text_is_survived(text: str) -> None:
    wish = wish_in(text, "en")
    assert wish is None or wish.kind in {"rig", "prefer", "forget", "list"}


@given(st.text(max_size=80))
def test_names_are_one_printable_line_or_refused(text: str) -> None:
    try:
        name = clean_name(text)
    except BadValue:
        return
    assert name.isprintable()
    assert 1 <= len(name) <= MAX_NAME_CHARS
    assert clean_name(name) == name
