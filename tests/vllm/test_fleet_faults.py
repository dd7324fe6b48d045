"""What becomes of a real engine that is killed, halted or kept from starting, and of those who ask it meanwhile."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import broken_copy, models, plan_of
from running import Running, engine_specs, running

from prompts import text
from serving.engine_state import EngineState, Stage

pytestmark = pytest.mark.timeout(600)
BROKEN = (openai.APIError, httpx.HTTPError)
"""What a client sees of an answer that is broken off."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One engine, whose log file lies on a disk that is full."""
    logs = tmp_path_factory.mktemp("logs")
    (spec,) = engine_specs(plan_of(models("tiny")[0]))
    (logs / f"{spec.name}.log").symlink_to("/dev/full")
    with running([spec], logs) as one:
        yield one


def name(one: Running) -> str:
    return one.fleet.specs[0].name


def words(state: EngineState) -> str:
    """Why an engine is as it is, as a person reads it."""
    assert state.reason is not None, state
    return text("en", state.reason.code, **state.reason.params)


def answers(one: Running) -> bool:
    asked = one.client().completions.create(model=name(one), prompt="import os", max_tokens=4)
    return bool(asked.usage and asked.usage.completion_tokens)


def comes_back(one: Running, old: list[psutil.Process]) -> EngineState:
    """Wait until an engine has failed and is ready again; nothing of the old one is left."""
    failed = one.becomes(name(one), Stage.FAILED, Stage.WAITING, Stage.CHECKING, Stage.STARTING, within_s=90)
    assert not [process for process in old if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    ready = one.becomes(name(one), Stage.READY)
    print(f"\nback after {ready.ready_s:.1f} s")
    assert ready.pid != old[0].pid
    assert answers(one)
    return next(state for state in reversed(one.told) if state.stage is Stage.FAILED) if failed else failed


def core_of(processes: list[psutil.Process]) -> psutil.Process:
    return next(process for process in processes if "EngineCore" in " ".join(process.cmdline()))


def test_a_full_disk_loses_the_log_and_not_the_engine(one: Running):
    assert answers(one)
    assert "log" in words(one.state(name(one)))


def test_killed_amid_a_stream(one: Running):
    log = one.state(name(one)).log
    log.unlink()  # the disk has room again
    processes, pieces = one.processes(name(one)), list[Any]()
    stream = one.client().completions.create(
        model=name(one), prompt="import", max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
    )
    with pytest.raises(BROKEN):  # noqa: PT012
        for piece in stream:
            pieces.append(piece)
            if len(pieces) == 10:
                processes[0].kill()
    assert 10 <= len(pieces) < 1500
    failed = comes_back(one, processes)
    assert "SIGKILL" in words(failed)
    assert failed.next_try
    assert "Application startup complete" in log.read_text()


def test_its_inner_process_is_killed(one: Running):
    processes = one.processes(name(one))
    core_of(processes).kill()
    failed = comes_back(one, processes)
    assert failed.reason
    assert failed.reason.code == "fleet.ended"  # nobody sees which signal ended it
    assert failed.next_try


@pytest.mark.parametrize("which", ["outer", "inner"])
def test_halted(one: Running, which: str):
    processes = one.processes(name(one))
    halted = processes[0] if which == "outer" else core_of(processes)
    halted.send_signal(signal.SIGSTOP)
    assert "6" in words(comes_back(one, processes))


def test_its_port_is_taken(one: Running):
    one.do(one.fleet.stop(name(one)))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", one.fleet.specs[0].port))
        other.listen()
        assert not one.do(one.fleet.start(name(one)))
        refused = one.state(name(one))
        assert str(one.fleet.specs[0].port) in words(refused)
        assert refused.pid is None


def test_weights_that_cannot_be_read(tmp_path: Path):
    broken = broken_copy(models("tiny")[0], "rigfit/tiny-broken")
    with running(engine_specs(plan_of(broken)), tmp_path, start=False) as one:
        assert not one.do(one.fleet.start(name(one)))
        state = one.state(name(one))
        assert state.stage is Stage.GAVE_UP
        assert state.reason
        assert state.reason.code == "logs.weights_broken"
        assert one.processes(name(one)) == []
        with pytest.raises(openai.InternalServerError):
            answers(one)


def test_a_cache_too_small_for_one_request(tmp_path: Path):
    """The engine says so itself, and trying again would not help."""
    small = engine_specs(plan_of(models("tiny")[0]), "--kv-cache-memory-bytes", "1M")
    with running(small, tmp_path, start=False) as one:
        assert not one.do(one.fleet.start(name(one)))
        state = one.state(name(one))
        assert state.stage is Stage.GAVE_UP
        assert state.next_try is None
        assert state.reason
        assert state.reason.code.startswith("logs.kv_too_small")
