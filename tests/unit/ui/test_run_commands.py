"""Which run rigfit ps, logs and stop mean."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.processes import birth
from serving.runs import STOPPED, EngineRecord, RunRecord, Runs
from serving.wish import Wish
from tools.errors import BadValue
from ui.cli import run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("RIGFIT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RIGFIT_LANG", "en")
    return Runs(tmp_path)


def keep(runs: Runs, port: int, model: str, *, running: bool = True, ended: str = "", **changes: Any) -> None:
    """Keep a run with one engine, whose log has one line."""
    runs.logs.mkdir(exist_ok=True)
    log = runs.logs / f"{port}.log"
    log.write_text(f"of {port}\n", encoding="utf-8")
    engine = EngineRecord(model, (model, f"org/{model}"), stage="ready", since=5.0, log=str(log))
    engine = replace(engine, **changes)
    born = (birth(os.getpid()) or "") if running else "gone"
    url = f"http://127.0.0.1:{port}"
    ended_at = 9.0 if ended else None
    runs.write(
        RunRecord(
            port, url, os.getpid(), born, float(port), "as_asked", {}, Wish(), (engine,), ended=ended, ended_at=ended_at
        )
    )


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ps_lists_what_runs_and_what_was_lost(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "ps") == {"runs": [], "damaged": []}
    keep(runs, 8000, "a")
    keep(runs, 8001, "b", running=False)
    keep(runs, 8002, "c", running=False, ended=STOPPED)
    runs.path(8003).write_text("{", encoding="utf-8")
    listed = said(capsys, "ps")
    assert [(one["port"], one["state"]) for one in listed["runs"]] == [(8001, "gone"), (8000, "running")]
    assert listed["damaged"] == [str(runs.path(8003))]
    assert [one["port"] for one in said(capsys, "ps", "--all")["runs"]] == [8002, 8001, 8000]
    assert run(["ps", "--lang", "ru"]) == 0
    text = capsys.readouterr().out
    assert "rigfit serve --resume --port 8001" in text
    assert str(runs.path(8003)) in text


def test_ps_tells_who_sleeps(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    keep(runs, 8000, "a", asleep=True)
    assert [one["stage"] for one in said(capsys, "ps")["runs"][0]["engines"]] == ["asleep"]
    assert run(["ps", "--lang", "ru"]) == 0
    assert "спит" in capsys.readouterr().out
    keep(runs, 8000, "a", asleep=True, stage="stopping")
    assert [one["stage"] for one in said(capsys, "ps")["runs"][0]["engines"]] == ["stopping"]


def test_ps_tells_when_what_failed_is_started_again(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    keep(runs, 8000, "a", stage="failed", reason="It broke.", next_try=time.time() + 200)
    assert said(capsys, "ps")["runs"][0]["engines"][0]["next_try"] > time.time()
    assert run(["ps"]) == 0
    assert re.search(r"  a: It broke\. It is started again in 3m\d\ds\.", capsys.readouterr().out)
    keep(runs, 8000, "a", stage="ready", reason="It broke.", next_try=None)
    assert run(["ps"]) == 0
    assert "started again" not in capsys.readouterr().out


def test_stop_asks_which_where_several_run(runs: Runs) -> None:
    keep(runs, 8000, "a")
    keep(runs, 8001, "b")
    with pytest.raises(BadValue) as refused:
        run(["stop"])
    assert refused.value.params["ports"] == "8001, 8000"
    with pytest.raises(BadValue):
        run(["stop", "--port", "9000"])


def test_stop_clears_away_what_was_lost(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    keep(runs, 8001, "b", running=False)
    assert said(capsys, "stop")["runs"] == [{"port": 8001, "stopped": False, "left_over": []}]
    assert said(capsys, "ps")["runs"] == []
    assert said(capsys, "stop")["runs"] == []


def test_logs_are_of_the_run_that_runs_or_has_the_model(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadValue):
        run(["logs"])
    keep(runs, 8000, "a")
    keep(runs, 8001, "b", running=False)
    for words, line in (([], "of 8000"), (["b"], "of 8001"), (["org/a"], "of 8000"), (["--port", "8001"], "of 8001")):
        assert [one["lines"] for one in said(capsys, "logs", *words)["engines"]] == [[line]]
    for words in (["c"], ["--port", "8001", "a"], ["--port", "9000"]):
        with pytest.raises(BadValue):
            run(["logs", *words])
