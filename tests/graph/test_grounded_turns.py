"""What the templates write is grounded turn by turn, whatever changes between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from talking import talk


@pytest.mark.parametrize(
    "questions",
    [
        ("Пойдут ли две модели Qwen3-30B на RTX PRO 6000?", "а если 4090?", "а на двух 3090?"),
        ("Will Qwen3-14B and gemma-3-27b fit on a 3090?", "and on two of them?", "what about 32k context?"),
        ("How many users can Qwen3-8B serve on a 4090 at 16k?", "and on an L40S?"),
    ],
)
def test_every_turn_is_grounded(tmp_path: Path, questions: tuple[str, ...]) -> None:
    turns = talk(tmp_path, *questions)
    assert [turn.grounded for turn in turns] == [True] * len(questions)
    assert all("GiB" in turn.answer_markdown for turn in turns)
