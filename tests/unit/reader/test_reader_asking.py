"""What is wanted, in many constructions: each line is an intent and a way to ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.reader import read

CASES = [
    tuple(line.split("|", 1))
    for line in Path(__file__).with_name("asking.txt").read_text(encoding="utf-8").splitlines()
    if line
]


@pytest.mark.parametrize(("intent", "text"), CASES, ids=lambda value: value[:60])
def test_hears_what_is_wanted(intent: str, text: str) -> None:
    assert read(text.split(" // ")).intent == intent
