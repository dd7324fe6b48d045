"""Answers in the wording of language models, right ones and with one fault each, over real tool results."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from grounding_scenes import refused, scene

_FOLDER = Path(__file__).with_name("written_answers")
_PLACE = re.compile(r"⟨(.*?)⟩")
HALVES = ("worked_on", "blind", "fresh", "last", "held")


def answers(half: str) -> Iterator[tuple[str, str, str]]:
    """Yield each answer of a half as (kind of fault or "", scene, text)."""
    data = tomllib.loads((_FOLDER / f"{half}.toml").read_text(encoding="utf-8"))
    for answer in data["answer"]:
        kinds = re.findall(r"\|([a-z]+):", answer["text"])
        for kind in ["", *dict.fromkeys(kinds)]:
            known = scene(answer["scene"])
            figures = {**known.now, **{f"e_{key}": said for key, said in known.before.items()}}
            yield kind, answer["scene"], with_fault(answer["text"], kind).format(**figures).strip()


def with_fault(text: str, kind: str) -> str:
    """Fill the places of a text; those of a kind with what is wrong."""

    def filled(place: re.Match[str]) -> str:
        right, *wrong = place[1].split("|")
        faults = dict(one.split(":", 1) for one in wrong)
        return faults.get(kind, right)

    return _PLACE.sub(filled, text)


def stopped(half: str) -> list[str]:
    rows = [row for row in answers(half) if not row[0]]
    return [text for _, name, text in rows if refused(text, scene(name).state)]


def missed(half: str) -> list[str]:
    rows = [row for row in answers(half) if row[0]]
    return [f"{kind}: {text}" for kind, name, text in rows if not refused(text, scene(name).state)]


def test_right_answers_are_let_through() -> None:
    found = [text for half in HALVES for text in stopped(half)]
    right = sum(not kind for half in HALVES for kind, _, _ in answers(half))
    assert len(found) <= 0.01 * right, "\n---\n".join(found)


@pytest.mark.parametrize("half", HALVES)
def test_faults_are_caught(half: str) -> None:
    found = missed(half)
    assert len(found) <= 0.02 * sum(bool(kind) for kind, _, _ in answers(half)), "\n---\n".join(found)


def test_the_corpus_is_large_enough_and_covers_every_kind_of_fault() -> None:
    rows = [row for half in HALVES for row in answers(half)]
    assert sum(bool(kind) for kind, _, _ in rows) >= 150
    assert sum(bool(re.search("[а-я]", text)) for kind, _, text in rows if kind) >= 60
    known = {"number", "swap", "gb", "earlier", "card", "percard", "copies", "users", "throughput", "thousand"}
    assert known <= {kind for kind, _, _ in rows}
