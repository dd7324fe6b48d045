"""What is known of runs: written whole or not at all, read with care."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine_state import EngineState, Stage
from serving.processes import birth, lives
from serving.run_state import RunState
from serving.runs import EngineRecord, RunRecord, Runs
from serving.wish import Wish
from tools.errors import StorageError

ENGINE = EngineRecord(
    name="qwen3-8b",
    models=("qwen3-8b", "small"),
    stage="ready",
    since=1.5,
    port=41000,
    cards=("nvidia:0",),
    pid=77,
    born="b:1",
    ready_s=30.0,
    predicted={"weights_bytes": 10.0},
    measured={"weights_bytes": None},
)


def run_here(port: int = 8000, started: float = 100.0, **fields: object) -> RunRecord:
    """A run whose process is this one."""
    made = RunRecord(
        port=port,
        url=f"http://127.0.0.1:{port}",
        pid=os.getpid(),
        born=birth(os.getpid()) or "",
        started=started,
        option="as_asked",
        plan={"asked": {"models": [1, None, "ж"]}},
        wish=Wish(port=port, aliases=("small=qwen3-8b",), ttl_s=2.5),
        engines=(ENGINE,),
    )
    return replace(made, **fields)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.write(run_here())
    assert runs.read(8000) == run_here()
    assert runs.read(8001) is None
    assert stat.S_IMODE(runs.path(8000).stat().st_mode) == 0o600
    assert [path.name for path in runs.path(8000).parent.iterdir()] == ["8000.json"]


def test_runs_are_listed_by_when_they_began(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    for port, started in ((8000, 5.0), (8001, 9.0), (8002, 7.0)):
        runs.write(run_here(port, started))
    assert [run.port for run in runs.all()] == [8001, 8002, 8000]


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b'{"port": 8000}',
        b'{"port": "8000"}',
    ],
)
def test_a_damaged_file_says_nothing_and_spoils_nothing(tmp_path: Path, words: bytes) -> None:
    runs = Runs(tmp_path)
    runs.write(run_here(8001))
    runs.path(8000).write_bytes(words)
    assert runs.read(8000) is None
    assert [run.port for run in runs.all()] == [8001]
    assert runs.damaged() == (runs.path(8000),)
    runs.write(run_here())
    assert runs.read(8000) == run_here()


@given(cut=st.integers(0, 10_000), put=st.binary(max_size=20))
def test_any_damage_is_a_run_or_none(tmp_path_factory: pytest.TempPathFactory, cut: int, put: bytes) -> None:
    runs = Runs(tmp_path_factory.mktemp("runs"))
    runs.write(run_here())
    words = runs.path(8000).read_bytes()
    at = cut % len(words)
    runs.path(8000).write_bytes(words[:at] + put + words[at + len(put) :])
    found = runs.read(8000)
    assert found is None or found.port == 8000


def test_files_of_a_newer_rigfit_and_of_another_port_are_left_alone(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.write(run_here(version=2))
    assert runs.read(8000) is None
    runs.write(run_here())
    runs.path(8000).rename(runs.path(9000))
    assert runs.read(9000) is None


def test_a_run_ends_when_its_process_does(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = run_here(pid=child.pid, born=birth(child.pid) or "")
    runs.write(theirs)
    assert theirs.running
    assert runs.last_to_resume() is None
    child.kill()
    while birth(child.pid) is not None:  # dead, and not reaped yet
        pass
    assert child.returncode is None
    assert not theirs.running
    child.communicate()
    assert runs.last_to_resume() == theirs


def test_a_number_that_another_process_has_now_is_not_the_run() -> None:
    assert lives(os.getpid(), birth(os.getpid()))
    assert not lives(os.getpid(), "boot:1")
    assert not lives(None, None)
    assert not lives(2**22 + 5, birth(os.getpid()))


@pytest.mark.parametrize(("how", "again"), [("stopped", False), ("interrupted", True), ("failed", True)])
def test_what_its_user_stopped_is_not_resumed(tmp_path: Path, how: str, again: bool) -> None:
    runs = Runs(tmp_path)
    runs.write(run_here())
    runs.end(run_here(), how)
    ended = runs.read(8000)
    assert ended is not None
    assert (ended.ended, ended.running, ended.resumable) == (how, False, again)
    assert [(one.stage, one.pid) for one in ended.engines] == [("stopped", None)]
    assert (runs.last_to_resume() == ended) is again


def test_the_last_run_is_resumed_or_that_of_the_port_that_is_said(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    for port, started in ((8000, 1.0), (8001, 3.0), (8002, 2.0)):
        runs.write(run_here(port, started, born="gone:1"))
    runs.end(run_here(8001, 3.0, born="gone:1"), "stopped")
    assert [(runs.last_to_resume(port) or run_here(0)).port for port in (None, 8000, 8001)] == [8002, 8000, 0]


def test_the_end_of_an_older_run_does_not_touch_its_follower(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.write(run_here())
    runs.end(run_here(born="another:1"), "stopped")
    assert runs.read(8000) == run_here()


def test_engines_are_found_by_their_names() -> None:
    run = run_here()
    assert [run.engine(name) for name in ("qwen3-8b", "small", "x")] == [ENGINE, ENGINE, None]


def test_a_folder_that_cant_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    with pytest.raises(StorageError):
        Runs(tmp_path).write(run_here())


def test_an_engine_sleeps_only_while_it_is_ready(tmp_path: Path) -> None:
    def now(stage: Stage, since: float) -> EngineState:
        return EngineState("qwen3-8b", stage, since, tmp_path / "log", next_try=9.5)

    state = RunState(run_here(), Runs(tmp_path), print)
    state.changed(now(Stage.READY, 2.0))
    assert (state.record.engines[0].asleep, state.record.engines[0].since) == (False, 2.0)
    state.sleeping({"qwen3-8b"})
    asleep = state.record.engines[0]
    assert asleep.asleep
    assert asleep.since > 1e9
    state.sleeping({"qwen3-8b"})
    state.changed(now(Stage.READY, 2.0))
    assert state.record.engines[0].since == asleep.since
    state.changed(now(Stage.FAILED, 3.0))
    failed = state.record.engines[0]
    assert (failed.asleep, failed.since, failed.next_try) == (False, 3.0, 9.5)
    state.sleeping(())
    assert state.record.engines[0] == failed
