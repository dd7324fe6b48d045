"""A model is asked the questions over the wire and judged: what it calls, what it says, who answered in the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_llm import broken_off, call, say, scripted_llm

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import eval as evaluation

MODEL = {"name": "Qwen3", "size_b": 8, "variant": None, "precision": None, "copies": 1}
CARD = {"name": "RTX 3090", "memory_gb": None, "count": 1}
READ: dict[str, Any] = {
    "lang": "en", "models": [MODEL], "models_relation": None, "gpus": [CARD], "gpus_relation": None, "ram_gb": None,
    "context": None, "users": None, "nodes": None, "engine": None, "kv_cache": None, "intent": "fit", "also": [],
    "config_kind": None, "must_ask": [], "ask_strict": False, "expect": "answer", "tags": ["one"],
}  # fmt: skip
TEXT = "Will Qwen3-8B fit on an RTX 3090?"
RIGHT = call("calculate_vram", models=[{"name": "Qwen/Qwen3-8B"}], gpus=[{"name": "3090"}])
TWO = call("calculate_vram", models=[{"name": "Qwen/Qwen3-8B", "copies": 2}], gpus=[{"name": "3090"}])


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask the questions given by id, of a model where there is a URL; returns the results by id."""
    questions = tmp_path / "asked.jsonl"
    out = tmp_path / "out.jsonl"

    def run(ids: str, url: str = "", *more: str) -> dict[str, Any]:
        questions.write_text("".join(json.dumps({**READ, "id": one, "text": TEXT}) + "\n" for one in ids))
        monkeypatch.setenv("RIGFIT_LLM_URL", url)
        monkeypatch.setenv("RIGFIT_LLM_MODEL", "scripted")
        assert evaluation.main([str(questions), "--out", str(out), *more]) == 0
        return {row["id"]: row for row in map(json.loads, out.read_text().splitlines()[1:])}

    return run


def test_the_rules_are_right_about_what_they_read(ask: Any, capsys: pytest.CaptureFixture[str]) -> None:
    row = ask("a")["a"]
    assert row["tools"] is row["arguments"] is row["asks"] is row["grounded"] is row["language"] is True
    assert row["llm"] == "embedded"
    assert [one["name"] for one in row["expected"]] == ["calculate_vram"]
    assert "100.0 %" in capsys.readouterr().out


def test_a_model_is_judged_by_what_it_calls_and_says(ask: Any) -> None:
    turns = (
        *(RIGHT, say("Yes, it fits: the weights take 15.3 GiB.")),
        *(TWO, say("Yes.")),
        *(RIGHT, say("Yes, it fits: the weights take 99.1 GiB.")),
        broken_off(say("It fits on the card"), after=2),
    )
    with scripted_llm(*turns) as (url, _):
        rows = ask("abcd", url)
    assert rows["a"]["arguments"] is rows["a"]["grounded"] is True
    assert rows["b"]["tools"] is True
    assert rows["b"]["arguments"] is False
    assert rows["c"]["arguments"] is True
    assert rows["c"]["grounded"] is False
    assert [rows[key]["llm"] for key in "abcd"] == ["scripted", "scripted", "scripted", "embedded"]
    assert rows["d"]["tools"] is True
    assert rows["d"]["answer"].startswith("The model at")


def test_a_run_that_was_cut_off_asks_only_what_is_left(ask: Any, tmp_path: Path) -> None:
    with scripted_llm(RIGHT, say("Yes, it fits.")) as (url, script):
        ask("ab", url, "--parallel", "2")
        out = tmp_path / "out.jsonl"
        out.write_text("\n".join(out.read_text().splitlines()[:2])[:-3])
        before = len(script.requests)
        again = ask("ab", url)
        assert set(again) == {"a", "b"}
        assert len(script.requests) > before
        asked = len(script.requests)
        ask("ab", url)
        assert len(script.requests) == asked


def test_results_of_other_questions_are_left_alone(
    ask: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask("a")
    kept = (tmp_path / "out.jsonl").read_text()
    (tmp_path / "asked.jsonl").write_text(json.dumps({"id": "z", "text": TEXT}))
    assert evaluation.main([str(tmp_path / "asked.jsonl"), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "another" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == kept
