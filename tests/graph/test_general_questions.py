"""General questions: answered from the knowledge base with sources, or said to be unknown; plans are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from talking import names, talk


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("what is AWQ?", "15.6 GiB"),
        ("why does tp 3 fail?", "--pipeline-parallel-size 3"),
        ("what is sleep level 2?", "--enable-sleep-mode"),
        ("why is GB not GiB?", "22.4 GiB"),
        ("что такое AWQ?", "квантование весов"),
        ("почему tp 3 не работает?", "по головам внимания"),
        ("а чем swap отличается от together?", "ждёт переключения"),
    ],
)
def test_a_term_is_explained_with_sources(tmp_path: Path, question: str, said: str) -> None:
    [turn] = talk(tmp_path, question)
    assert names(turn) == ["explain_term"]
    assert said in turn.answer_markdown
    assert turn.sources
    assert all(source["url"] in turn.answer_markdown for source in turn.sources)
    assert turn.grounded
    assert turn.plan is None


@pytest.mark.parametrize(
    ("question", "said"), [("what is a flux capacitor?", "don't know"), ("что такое осень?", "не знаю")]
)
def test_what_is_unknown_is_said_to_be(tmp_path: Path, question: str, said: str) -> None:
    [turn] = talk(tmp_path, question)
    assert said in turn.answer_markdown
    assert turn.sources == ()


def test_a_term_in_the_midst_of_a_plan_leaves_the_plan(tmp_path: Path) -> None:
    planned, explained, again = talk(tmp_path, "Qwen3-14B on a 4090?", "what is AWQ?", "and with 16k context?")
    assert names(explained) == ["explain_term"]
    assert planned.plan is not None
    assert again.plan is not None
    assert again.plan.request.instances[0].context == 16 * 1024


@pytest.mark.parametrize(
    "question",
    [
        "which quant for Qwen3-32B on a 3090?",
        "какой квант взять для qwen3 32b на 3090?",
        "Qwen3-32B AWQ on 3x3090 with tp 3?",
        "почему llama 70b не влезает на 4090?",
    ],
)
def test_what_has_to_be_computed_is_computed(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    assert "calculate_vram" in names(turn)
    assert "explain_term" not in names(turn)
