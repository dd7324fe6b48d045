"""``rigfit serve`` with a real engine, from the plan to the end: asked, killed, resumed, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import OFFLINE, PYTHON, models
from local_hub import local_hub
from running import free_ports

pytestmark = pytest.mark.timeout(600)
RIGFIT = Path(sys.executable).with_name("rigfit")
MODEL = "rigfit/tiny-qwen3"


class Home:
    """A data folder, and ``rigfit`` on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.env = {
            **os.environ,
            **OFFLINE,
            "RIGFIT_DATA_DIR": str(folder / "data"),
            "RIGFIT_LOCK_DIR": str(folder / "locks"),
            "RIGFIT_NETWORK": "off",
            "RIGFIT_VLLM_PYTHON": str(PYTHON),
            "RIGFIT_LANG": "en",
        }

    def run(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
        """Run a command to its end; returns what it prints, of both kinds where it fails."""
        done = subprocess.run(
            [str(RIGFIT), *words],
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none", max_retries=0, timeout=120)

    def answers(self) -> bool:
        asked = self.client.completions.create(model=MODEL, prompt="import os", max_tokens=4)
        return bool(asked.usage and asked.usage.completion_tokens)


class Serving:
    """``rigfit serve`` as it runs."""

    def __init__(self, home: Home, *words: str) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [str(RIGFIT), "serve", *words],
            env=home.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.said += self.process.stdout

    def until_ready(self, home: Home) -> None:
        deadline = time.monotonic() + 300
        while True:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            rows = [row for row in home.json("ps")["runs"] if row["state"] == "running"]
            if rows and all(engine["stage"] == "ready" for engine in rows[0]["engines"]):
                return
            time.sleep(1)

    def below(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def serving(home: Home, *words: str) -> Iterator[Serving]:
    one = Serving(home, *words)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            one.process.wait(60)


def left(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Return what still runs after a while."""
    return psutil.wait_procs(processes, timeout=within_s)[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A data folder with a plan, which was made while the hub could be asked."""
    models("tiny")
    home = Home(tmp_path_factory.mktemp("home"))
    with local_hub() as hub:
        words = ("plan", MODEL, "--vram", "12GiB", "--context", "2048", "--users", "2", "--json")
        env = {"RIGFIT_NETWORK": "on", "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
        (home.folder / "plan.json").write_text(home.run(*words, env=env))
        home.env["HF_ENDPOINT"] = hub  # what was looked up there is kept
    return home


def test_rigfit_is_killed_amid_a_stream_and_resumes(home: Home):
    pieces: list[Any] = []
    plan = str(home.folder / "plan.json")
    with serving(home, "--plan", plan, "--cpu", "--port", str(home.port)) as first:
        first.until_ready(home)
        assert home.answers()
        refused = home.run("serve", "--plan", plan, "--cpu", "--port", str(free_ports(1)[0]), code=2)
        assert f"rigfit stop --port {home.port}" in refused
        processes = first.below()
        assert len(processes) >= 4
        stream = home.client.completions.create(
            model=MODEL, prompt="import", max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
        )
        with pytest.raises((openai.APIError, httpx.HTTPError)):  # noqa: PT012
            for piece in stream:
                pieces.append(piece)
                if len(pieces) == 10:
                    first.process.kill()
        assert left(processes, within_s=40) == []
    assert [row["state"] for row in home.json("ps")["runs"]] == ["gone"]
    with serving(home, "--resume") as second:
        second.until_ready(home)
        assert home.answers()
        assert "Application startup complete" in home.run("logs")
        processes = second.below()
        assert home.json("stop")["runs"] == [{"port": home.port, "stopped": True, "left_over": []}]
        assert second.process.wait(60) == 0
        assert left(processes, within_s=5) == []
    assert "nothing" in home.run("serve", "--resume").lower()


def test_what_cannot_be_served_is_said_at_once(home: Home):
    said = home.run("serve", "--plan", str(home.folder / "plan.json"), "--port", str(home.port), code=2)
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
