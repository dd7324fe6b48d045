"""After a plan "run them" is answered with files and the command that runs what was shown; nothing is started."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from talking import FOUNDING_CARD, FOUNDING_EN, talk

from agent.events import TurnResult
from agent.smalltalk import asks_to_run


def line_of(turn: TurnResult) -> list[str]:
    [line] = re.findall(r"`(rigfit serve [^`]*)`", turn.answer_markdown)
    return shlex.split(line)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (FOUNDING_EN, "run them"),
        (FOUNDING_EN, "serve these"),
        (FOUNDING_EN, "Great, can you start both models now?"),
        (FOUNDING_CARD, "запусти их"),
        (FOUNDING_CARD, "Отлично, запускай обе модели"),
        (FOUNDING_CARD, "как их запустить?"),
    ],
)
def test_the_command_is_for_the_plan_that_was_shown(tmp_path: Path, question: str, words: str) -> None:
    asked, told = talk(tmp_path, question, words)
    assert asked.plan is not None
    assert told.plan is not None
    assert line_of(told) == ["rigfit", "serve", "2xQwen/Qwen3-30B-A3B", "--option", asked.plan.recommended]
    assert told.language == asked.language
    assert any(path.name == "compose.yaml" for path in told.artifacts)
    assert told.grounded
    assert told.asks == asked.asks


def test_what_was_said_besides_is_in_the_command(tmp_path: Path) -> None:
    question = "Qwen3-8B and Qwen3-4B in fp8 on an RTX 4090, 16k context, 2 users"
    _, told = talk(tmp_path, question, "run them")
    words = line_of(told)
    assert words[:2] == ["rigfit", "serve"]
    assert any(word.startswith("Qwen/Qwen3-4B") for word in words)
    assert words[words.index("--context") + 1] == "16384"
    assert words[words.index("--users") + 1] == "2"


@pytest.mark.parametrize("words", ["now for kubernetes", "now for llama.cpp", "теперь для slurm"])
def test_files_for_elsewhere_come_without_it(tmp_path: Path, words: str) -> None:
    _, told = talk(tmp_path, FOUNDING_EN, words)
    assert told.artifacts
    assert "rigfit serve" not in told.answer_markdown


def test_what_does_not_fit_is_not_run(tmp_path: Path) -> None:
    _, told = talk(tmp_path, "Will DeepSeek-V3 fit on one RTX 3060?", "run it")
    assert "rigfit serve" not in told.answer_markdown


def test_without_a_plan_there_is_nothing_to_run(tmp_path: Path) -> None:
    [told] = talk(tmp_path, "run them")
    assert told.plan is None
    assert "rigfit serve" not in told.answer_markdown


@pytest.mark.parametrize(
    "words", ["run them", "ok, run them please", "запусти их", "Ну давай, запускай!", "serve both"]
)
def test_a_message_that_only_asks_to_run(words: str) -> None:
    assert asks_to_run(words)


@pytest.mark.parametrize(
    "words", ["run Qwen3-8B", "and with 64k?", "запусти на 3090", "thanks", "", "run them on llama.cpp"]
)
def test_a_message_that_says_more(words: str) -> None:
    assert not asks_to_run(words)
