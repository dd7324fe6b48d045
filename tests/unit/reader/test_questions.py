"""How many of many people's questions are read whole; single phrasings have tests of their own."""

from __future__ import annotations

import pytest
from question_score import is_right, questions, turns_of

from agent.reader import read
from agent.reader.report import reading_json


@pytest.mark.parametrize(("name", "least"), [("worked-on.jsonl", 0.92), ("blind-2.jsonl", 0.67)])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_questions_are_read_whole(name: str, least: float, language: str) -> None:
    asked = [question for question in questions(name) if question["lang"] == language]
    right = [is_right(question, reading_json(read(turns_of(question)))) for question in asked]
    assert sum(right) >= least * len(asked), f"{sum(right)} of {len(asked)}"
