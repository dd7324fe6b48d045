"""Ending runs from another process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from serving.ending import end_run
from serving.processes import birth
from serving.runs import EngineRecord, RunRecord, Runs
from serving.wish import Wish

WAIT = [sys.executable, "-c", "input()"]


def run_of(pid: int, born: str | None, *engines: EngineRecord) -> RunRecord:
    return RunRecord(8000, "http://127.0.0.1:8000", pid, born or "", time.time(), "as_asked", {}, Wish(), engines)


def test_what_a_crashed_run_left_behind_is_ended_and_not_resumed(tmp_path: Path) -> None:
    engine = subprocess.Popen(WAIT, stdin=subprocess.PIPE)
    runs = Runs(tmp_path)
    run = run_of(os.getpid(), "gone", EngineRecord("a", stage="ready", pid=engine.pid, born=birth(engine.pid)))
    runs.write(run)
    ended = end_run(runs, run)
    assert (ended.stopped, ended.left_over) == (False, (engine.pid,))
    assert engine.wait(5) < 0
    assert runs.last_to_resume() is None


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(WAIT, stdin=subprocess.PIPE)
    runs = Runs(tmp_path)
    run = run_of(other.pid, "gone", EngineRecord("a", stage="ready", pid=other.pid, born="gone"))
    runs.write(run)
    ended = end_run(runs, run)
    assert (ended.stopped, ended.left_over) == (False, ())
    assert other.poll() is None
    other.kill()
    other.communicate()


def test_a_run_is_asked_to_end_and_waited_for(tmp_path: Path) -> None:
    process = subprocess.Popen(WAIT, stdin=subprocess.PIPE)
    runs = Runs(tmp_path)
    run = run_of(process.pid, birth(process.pid))
    runs.write(run)
    assert end_run(runs, run).stopped
    assert birth(process.pid) is None
    process.communicate()
    kept = runs.read(8000)
    assert kept is not None
    assert kept.ended == "stopped"
