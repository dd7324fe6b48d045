"""``start-all.sh`` run for real: order, waiting, sleep, a crash, Ctrl-C. A small server stands in for the engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import (  # pyright: ignore[reportMissingImports]
    make_checkpoint,
    make_instance,
    make_plan,
)

from tools.domain import Plan
from tools.launch import job
from tools.launch.choices import DEFAULT, Choices
from tools.launch.generate import generate, write

pytestmark = pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")

ENGINE = '''\
#!{python}
"""Answers like `vllm serve MODEL ... --port N`: /health after half a second, sleep routes in developer mode; and like
`vllm preload --model MODEL ... --weight-cache-health-port N`."""
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

flag = "--port" if sys.argv[1] == "serve" else "--weight-cache-health-port"
port, began = int(sys.argv[sys.argv.index(flag) + 1]), time.time()
name = sys.argv[2] if sys.argv[1] == "serve" else "weights"

def log(event):
    with open({journal!r}, "a") as journal:
        row = [event, name, time.time(), os.environ.get("HF_HUB_OFFLINE"), os.getpid()]
        print(json.dumps(row), file=journal)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.time() - began > 0.5 else 503)
        self.end_headers()

    def do_POST(self):
        log(self.path)
        self.send_response(200 if os.environ.get("VLLM_SERVER_DEV_MODE") else 404)
        self.end_headers()

    def log_message(self, *args):
        pass

def stop(*_):
    log("stop")
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
log("start")
if "broken" in name:
    sys.exit("CUDA out of memory")
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
'''


class Stage:
    """A folder with the files of a plan and a path where ``vllm`` and ``python3`` are stand-ins."""

    def __init__(self, folder: Path, plan: Plan, choices: Choices = DEFAULT) -> None:
        self.folder, self.journal = folder / "files", folder / "journal"
        self.process: subprocess.Popen[str] | None = None
        write(generate(plan, target="vllm", choices=choices, checked=False), self.folder)
        tools = folder / "bin"
        tools.mkdir()
        (tools / "vllm").write_text(ENGINE.format(python=sys.executable, journal=str(self.journal)))
        # the download and the look at the cards have tests of their own; the latter may fail here
        (tools / "python3").write_text("#!/bin/sh\ncase $1 in *preflight.py) exit ${CARDS_FULL:-0} ;; esac\n")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self.env = {"PATH": f"{tools}:{os.environ['PATH']}"}

    def start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            ["./start-all.sh"], cwd=self.folder, env=self.env, stdout=pipe, stderr=pipe, text=True, process_group=0
        )
        return self.process

    def clear(self) -> None:
        """End what is left after a failed test: engines share the script's process group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=20)

    def events(self) -> list[tuple[str, str]]:
        if not self.journal.exists():
            return []
        return [(event, model) for event, model, *_ in map(json.loads, self.journal.read_text().splitlines())]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The first of two free ports, where the plan's engines are to listen."""
    base = next(port for port in range(21000, 29000, 2) if not is_open(port) and not is_open(port + 1))
    monkeypatch.setattr(job, "FIRST_PORT", base)
    return base


Stages = Callable[..., Stage]


@pytest.fixture
def stages(tmp_path: Path, port: int) -> Iterator[Stages]:
    made: list[Stage] = []

    def make(plan: Plan, choices: Choices = DEFAULT) -> Stage:
        made.append(Stage(tmp_path, plan, choices))
        return made[-1]

    yield make
    for stage in made:
        stage.clear()


def pair(first: str = "Org/First", second: str = "Org/Second", **more: bool) -> Plan:
    return make_plan(
        make_instance("a", checkpoint=make_checkpoint(first), order=0),
        make_instance("b", checkpoint=make_checkpoint(second), order=1, **more),
    )


def wait_for(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdout
    seen = ""
    for text in process.stdout:
        seen += text
        if line in text:
            return seen
    raise AssertionError(seen + (process.stderr.read() if process.stderr else ""))


def test_engines_start_in_order_answer_and_stop_on_ctrl_c(stages: Stages, port: int):
    stage = stages(pair())
    process = stage.start()
    wait_for(process, f"b: http://127.0.0.1:{port + 1}/v1")
    rows = [json.loads(line) for line in stage.journal.read_text().splitlines()]
    assert [row[:2] for row in rows] == [["start", "Org/First"], ["start", "Org/Second"]]
    assert rows[1][2] - rows[0][2] > 0.5  # the second waited until the first was ready
    assert [row[3] for row in rows] == ["1", "1"]
    for number in (port, port + 1):
        assert urlopen(f"http://127.0.0.1:{number}/health", timeout=5).status == 200
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert sorted(stage.events()[2:]) == [("stop", "Org/First"), ("stop", "Org/Second")]
    assert not is_open(port)
    assert not is_open(port + 1)


def test_a_sleeper_sleeps_before_the_next_starts_and_swap_wakes_it(stages: Stages, port: int):
    stage = stages(pair(awake=False))
    process = stage.start()
    wait_for(process, f"a: http://127.0.0.1:{port + 1}/v1")
    nap = "/sleep?level=1&mode=wait"
    assert stage.events() == [("start", "Org/Second"), (nap, "Org/Second"), ("start", "Org/First")]
    subprocess.run(["./swap.sh", "b"], cwd=stage.folder, check=True, timeout=20)
    assert stage.events()[3:] == [(nap, "Org/First"), ("/wake_up", "Org/Second")]
    unknown = subprocess.run(["./swap.sh", "x"], cwd=stage.folder, capture_output=True, timeout=20, check=False)
    assert unknown.returncode == 2
    process.terminate()
    process.communicate(timeout=20)
    assert not is_open(port)
    assert not is_open(port + 1)


def test_an_engine_that_dies_stops_everything_and_shows_its_log(stages: Stages, port: int):
    stage = stages(pair(second="Org/broken"))
    out, err = stage.start().communicate(timeout=30)
    assert "CUDA out of memory" in err
    assert "logs/b.log" in err
    assert stage.events()[-1] == ("stop", "Org/First")
    assert "Ready" not in out


def test_an_engine_that_dies_later_ends_the_script(stages: Stages, port: int):
    stage = stages(pair())
    process = stage.start()
    wait_for(process, f"b: http://127.0.0.1:{port + 1}/v1")
    os.kill(json.loads(stage.journal.read_text().splitlines()[0])[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "stopped" in err
    assert not is_open(port)
    assert not is_open(port + 1)


def test_a_port_in_use_is_said(stages: Stages, port: int):
    stage = stages(pair())
    other = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not is_open(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        process = stage.start()
        _, err = process.communicate(timeout=20)
    finally:
        other.terminate()
        other.wait()
    assert process.returncode == 1
    assert f"port {port}" in err
    assert stage.events() == []


def test_a_full_card_stops_the_start(stages: Stages, port: int):
    stage = stages(pair())
    stage.env["CARDS_FULL"] = "1"
    process = stage.start()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "logs/a.log" in err
    assert stage.events() == []


def test_what_holds_the_weights_starts_first_and_stops_last(stages: Stages, port: int):
    plan = make_plan(make_instance("a", ("x", "y"), gpu_memory_utilization=0.6))
    stage = stages(plan, Choices(share="weights"))
    process = stage.start()
    wait_for(process, f"a-2: http://127.0.0.1:{port + 1}/v1")
    repo = "Org/Model-8B"
    assert stage.events() == [("start", "weights"), ("start", repo), ("start", repo)]
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert stage.events()[3:] == [("stop", repo), ("stop", repo), ("stop", "weights")]


def test_ctrl_c_while_the_weights_load_ends_it(stages: Stages, port: int):
    """There is no engine yet to stop before them."""
    stage = stages(make_plan(make_instance("a", ("x", "y"), gpu_memory_utilization=0.6)), Choices(share="weights"))
    process = stage.start()
    wait_for(process, "logs/weights.log")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert not is_open(port + 2)


def test_a_service_manager_waits_for_an_engine_and_puts_it_to_sleep(stages: Stages, port: int):
    stage = stages(pair(awake=False))
    engine = subprocess.Popen(["./serve-b.sh"], cwd=stage.folder, env=stage.env, stderr=subprocess.DEVNULL)
    try:
        wait = ["./wait-ready.sh", str(port), "20", "sleep"]
        subprocess.run(wait, cwd=stage.folder, env=stage.env, timeout=30, check=True)
        assert stage.events() == [("start", "Org/Second"), ("/sleep?level=1&mode=wait", "Org/Second")]
    finally:
        engine.terminate()
        engine.wait(timeout=20)
    late = subprocess.run(["./wait-ready.sh", str(port), "1"], cwd=stage.folder, env=stage.env, timeout=30, check=False)
    assert late.returncode == 1
