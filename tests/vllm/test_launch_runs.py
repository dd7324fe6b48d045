"""The files of the target ``vllm``, for the processor, started as they are generated: two tiny models, three names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from tools.domain import Gpu, InstanceRequest, ModelSpec, Plan, PlanRequest, Rig
from tools.launch import job
from tools.launch.choices import Choices
from tools.launch.generate import LaunchFiles, generate, write
from tools.plan.planner import make_plan
from tools.units import GIB
from tools.vram.architecture import spec_from_config

pytestmark = pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")

TINY_MODELS = Path(__file__).with_name("tiny_models.py")
CARD = Gpu("NVIDIA GeForce RTX 3060", "nvidia", 12 * GIB, 12 * GIB, compute_capability="8.6")
KEY = "only-for-this-test"


@pytest.fixture(scope="module")
def engine_bin() -> Path:
    """The folder with vLLM's commands."""
    return Path(os.environ["RIGFIT_VLLM_PYTHON"]).absolute().parent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def plan(engine_bin: Path, home: Path) -> Plan:
    """One model under two names and another one beside it, on a small card."""
    command = [str(engine_bin / "python"), str(TINY_MODELS), str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    dense, sparse = (spec_from_config(config, name=repo) for repo, config in json.loads(done.stdout).items())
    return make_plan(PlanRequest(tuple(map(asked, (dense, dense, sparse))), Rig((CARD,)), same_model=True))


def asked(model: ModelSpec) -> InstanceRequest:
    return InstanceRequest(model, "bf16", context=1024, users=2)


def option_of_one_engine_under_two_names(plan: Plan) -> str:
    return next(option.id for option in plan.options if option.kind == "share")


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


OPEN_ON_CPU = Choices(cpu=True, open=True)


@pytest.fixture(scope="module")
def files(plan: Plan) -> Iterator[LaunchFiles]:
    """The files, for ports that are free here."""
    base = next(port for port in range(21000, 29000, 2) if not is_open(port) and not is_open(port + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "FIRST_PORT", base)
        option = option_of_one_engine_under_two_names(plan)
        yield generate(plan, option=option, target="vllm", choices=OPEN_ON_CPU)


class Started:
    """``start-all.sh`` in a session of its own."""

    def __init__(self, folder: Path, engine_bin: Path, home: Path, key: str | None) -> None:
        environment = {
            "PATH": f"{engine_bin}:{os.environ['PATH']}",
            "HOME": str(home),
            "HF_HOME": str(home),
            **({"VLLM_API_KEY": key} if key else {}),
        }
        self.folder, self.said = folder, ""
        self.process = subprocess.Popen(
            ["./start-all.sh"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, words: str) -> None:
        """Read on until a line has the words; fails with what the engines said where none has."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        logs = "\n".join(file.read_text()[-3000:] for file in sorted(self.folder.glob("logs/*.log")))
        raise AssertionError(self.said + logs)

    def running(self) -> list[psutil.Process]:
        """What still runs in the session."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def left_after(self, seconds: float) -> list[list[str]]:
        """The commands that still run once all had some seconds to see that the engine is gone."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.2)
        return [process.cmdline() for process in self.running()]

    def clear(self) -> None:
        for process in self.running():
            process.kill()


def call(address: str, path: str, body: Any = None, key: str = KEY) -> Any:
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with urlopen(Request(f"{address}{path}", data, headers), timeout=120) as answer:
        return json.loads(answer.read() or b"null")


def test_an_open_engine_does_not_start_without_a_key(files: LaunchFiles, engine_bin: Path, home: Path, tmp_path: Path):
    write(files, tmp_path)
    started = Started(tmp_path, engine_bin, home, key=None)
    said, _ = started.process.communicate(timeout=30)
    assert started.process.returncode == 1
    assert "VLLM_API_KEY" in said
    assert not (tmp_path / "logs" / "a.log").exists()


@pytest.mark.timeout(900)
def test_the_files_start_answer_and_stop(files: LaunchFiles, plan: Plan, engine_bin: Path, home: Path, tmp_path: Path):
    assert all(check.ok is not False for check in files.checks), files.checks
    write(files, tmp_path)
    option = option_of_one_engine_under_two_names(plan)
    units = job.prepare(plan, option, "en", choices=OPEN_ON_CPU)[0].units
    assert sorted(len(unit.instance.served_names) for unit in units) == [1, 2]
    started = Started(tmp_path, engine_bin, home, KEY)
    try:
        first, second = (f"http://127.0.0.1:{unit.port}" for unit in units)
        started.until(f"logs/{units[1].name}.log")
        # the second is started when the first answers, not before
        assert urlopen(f"{first}/health", timeout=5).status == 200
        assert not is_open(units[1].port)
        started.until(f"{units[1].name}: {second}/v1")
        for unit, address in zip(units, (first, second), strict=True):
            answers(address, unit.instance.served_names)
        os.killpg(started.process.pid, signal.SIGINT)
        rest, _ = started.process.communicate(timeout=90)
        assert started.process.returncode == 130, started.said + rest
        assert started.left_after(10) == []
        assert not any(is_open(unit.port) for unit in units)
    finally:
        started.clear()


def answers(address: str, names: tuple[str, ...]) -> None:
    """Each served name takes a chat request; without the key none does."""
    assert {row["id"] for row in call(address, "/v1/models")["data"]} == set(names)
    for name in names:
        body = {"model": name, "messages": [{"role": "user", "content": "import os"}], "max_tokens": 8}
        answer = call(address, "/v1/chat/completions", body)
        assert answer["model"] == names[0]  # whatever it was called by
        assert answer["usage"]["completion_tokens"] >= 1
        assert answer["choices"][0]["finish_reason"] in {"stop", "length"}
        for path in ("/v1/chat/completions", "/invocations", "/metrics", "/tokenize"):
            with pytest.raises(HTTPError, match="401"):
                call(address, path, body, key="another")
