"""Questions are read as their files have them, and results survive a run that is cut off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from evaluation import questions, results, summary

QUESTIONS = Path(__file__).parents[2] / "questions"
ROW = {
    "tools": True, "arguments": None, "asks": False, "grounded": True, "language": True, "seconds": 0.5,
    "llm": "embedded",
}  # fmt: skip


def about(**changes: object) -> dict[str, object]:
    return {**results.header("small", "http://127.0.0.1/v1", {"a.jsonl": "00"}, None), **changes}


def write(folder: Path, *rows: object) -> Path:
    path = folder / "asked.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def test_the_questions_of_the_tests_are_read() -> None:
    found = questions.load(sorted(QUESTIONS.glob("*.jsonl")))
    assert len({one.id for one in found}) == len(found) > 300
    assert any(len(one.turns) > 1 for one in found)
    assert {one.must_ask for one in found} == {True, False, None}


def test_a_question_needs_no_reading(tmp_path: Path) -> None:
    [one] = questions.load([write(tmp_path, {"id": 7, "text": "Will it fit?"})])
    assert one == questions.Question("7", ("Will it fit?",))


def test_a_model_without_a_name_is_called_as_the_reader_calls_it(tmp_path: Path) -> None:
    models = [{"name": "small embedding model", "size_b": None}, {"name": "13B model, Q4", "size_b": 13}]
    [one] = questions.load(
        [write(tmp_path, {"id": "a", "text": "?", "models": models, "engine": None, "ram_gb": None})]
    )
    assert [model["name"] for model in one.read["models"]] == ["model", "13B model"]
    assert "engine" not in one.read
    assert one.read["ram_gb"] is None


@pytest.mark.parametrize("row", [{"id": "a"}, {"text": "?"}, 5, None, {"id": "a", "text": "?", "models": [None]}])
def test_what_is_no_question_is_refused_with_its_line(tmp_path: Path, row: object) -> None:
    path = write(tmp_path, {"id": "b", "text": "?"}, row)
    with pytest.raises(questions.WrongQuestions, match="line 2"):
        questions.load([path])


def test_the_same_id_twice_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "b", "text": "?"})
    with pytest.raises(questions.WrongQuestions, match="there already"):
        questions.load([path, path])
    with pytest.raises(questions.WrongQuestions, match=r"gone\.jsonl"):
        questions.load([tmp_path / "gone.jsonl"])


def test_a_run_goes_on_from_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.jsonl"
    kept = results.Results(path, about())
    kept.add({"id": "a", **ROW})
    kept.add({"id": "b", **ROW})
    path.write_bytes(path.read_bytes()[:-9])
    again = results.Results(path, about())
    assert set(again.rows) == {"a"}
    assert again.about["started"] == kept.about["started"]
    again.add({"id": "b", **ROW})
    found, rows = results.read(path)
    assert found["model"] == "small"
    assert [row["id"] for row in rows] == ["a", "b"]


def test_results_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    results.Results(path, about()).add({"id": "a", **ROW})
    with pytest.raises(results.OtherRun, match="another model, questions"):
        results.Results(path, about(model="large", questions={"a.jsonl": "11"}))
    assert results.Results(path, about(model="large"), again=True).rows == {}


def test_a_summary_counts_what_could_be_judged() -> None:
    rows = [{"id": str(n), "lang": "en", "tags": ["a", "b"] if n else ["a"], **ROW} for n in range(6)]
    rows[0] |= {"lang": "ru", "tools": False, "arguments": True, "llm": "small", "seconds": 3.0}
    made = summary.section(about(started="2026-01-02T03:04:05"), rows)
    lines = {line.split(" | ")[0].strip("| "): line for line in made.splitlines() if line.startswith("| ")}
    assert set(lines) >= {"all", "en", "a", "b"}
    assert "ru" not in lines
    assert lines["all"] == "| all | 6 | 83.3 % | 100.0 % | 0.0 % | 100.0 % | 100.0 % | 16.7 % | 0.50 | 3.00 |"


def test_a_summary_takes_the_place_of_the_models_earlier_one() -> None:
    rows = [{"id": "a", "lang": "en", "tags": [], **ROW}]
    page = summary.put_in("# Page\n", about(started="2026-01-02"), rows)
    page = summary.put_in(page, about(model="large", started="2026-01-02"), rows)
    again = summary.put_in(page, about(started="2026-01-03"), rows)
    assert again.count("## small") == again.count("## large") == 1
    assert again.index("## small") < again.index("## large")
    assert "2026-01-03" in again
    assert again.startswith("# Page\n")
