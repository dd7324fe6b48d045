from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.reader import read
from tools.domain import Reading

CASES = tomllib.loads((Path(__file__).parent / "paraphrases.toml").read_text(encoding="utf-8"))["case"]
LISTS = {"turns", "models", "gpus"}


def _plain(name: str | None) -> str:
    return re.sub(r"[^a-z0-9а-я+]", "", (name or "").lower())


def _models(reading: Reading) -> list[list[Any]]:
    return [
        [
            "model" if (m.name or "").startswith("model") else _plain(m.name),
            m.size_b or 0,
            (m.precision or "").lower(),
            -1 if m.copies is None else m.copies,
        ]
        for m in reading.models
    ]


def _gpus(reading: Reading) -> list[list[Any]]:
    return [[_plain(g.name), g.memory_gb or 0, -1 if g.count is None else g.count] for g in reading.gpus]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " / ".join(case["turns"])[:70])
def test_says_what_was_asked(case: dict[str, Any]) -> None:
    reading = read(case["turns"])
    assert _models(reading) == [[_plain(n), s, p.lower(), c] for n, s, p, c in case.get("models", [])]
    assert _gpus(reading) == [[_plain(n), m, c] for n, m, c in case.get("gpus", [])]
    for name, want in case.items():
        if name in LISTS:
            continue
        got = getattr(reading, name)
        if name == "must_ask":
            assert list(got) == want
        elif name == "context":
            assert (got or 0) == pytest.approx(want, rel=0.05), name
        else:
            assert (got or 0 if want == 0 and want is not False else got) == want, name
