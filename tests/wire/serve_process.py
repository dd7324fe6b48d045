"""``rigfit serve`` as a process with engines that stand in for vLLM, and the other commands beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from engine_program import events, install, set_faults

RIGFIT = str(Path(sys.executable).parent / "rigfit")
QWENS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B")
ON_CPU = ("--cpu", "--vram", "20GiB", "--no-memory-check")
"""A plan that does not depend on what else the machine does."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Place:
    """A data folder, a folder of locks and a ``vllm`` of their own."""

    folder: Path
    port: int = field(default_factory=free_port)
    faults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        install(self.bin, self.faults)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "RIGFIT_DATA_DIR": str(self.folder / "data"),
            "RIGFIT_LOCK_DIR": str(self.folder / "locks"),
            "RIGFIT_VLLM_PYTHON": str(self.bin / "python"),
            "RIGFIT_NETWORK": "off",
            "RIGFIT_LANG": "en",
        }
        return os.environ | own

    def rigfit(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [RIGFIT, *words],
            capture_output=True,
            text=True,
            env=self.environment | environment,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        """Run a command that succeeds, and read the object that it prints."""
        done = self.rigfit(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def events(self, *what: str) -> list[dict[str, Any]]:
        return events(self.bin, *what)

    def behave(self, **faults: Mapping[str, Any]) -> None:
        set_faults(self.bin, faults)

    def living(self) -> list[int]:
        """Return the engines' processes that have not ended."""
        return [event["pid"] for event in self.events("start") if is_alive(event["pid"])]

    def get(self, path: str) -> Any:
        with urlopen(f"{self.url}{path}", timeout=10) as answer:
            return json.load(answer)

    def ask(self, model: str, **body: Any) -> tuple[int, Any]:
        """Ask the gateway for a completion; returns the status and the answer."""
        return ask(self.url, model, **body)

    @contextmanager
    def serving(self, *words: str, ready: bool = True) -> Iterator[Served]:
        """Run ``rigfit serve`` inside the block, and wait until it says that it is ready."""
        log = self.folder / f"serve-{time.monotonic_ns()}.err"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [RIGFIT, "serve", *words], stdout=subprocess.PIPE, stderr=errors, text=True, env=self.environment
            )
        served = Served(process, log)
        try:
            if ready:
                assert process.stdout is not None
                served.line = process.stdout.readline()
                assert served.line, log.read_text()
            yield served
        finally:
            process.kill()
            process.communicate()
            until(lambda: not self.living())


@dataclass
class Served:
    """A ``rigfit serve`` that runs: its process, the file of its standard error, and its first line."""

    process: subprocess.Popen[str]
    errors: Path
    line: str = ""

    def said(self) -> str:
        return self.errors.read_text()

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; returns the exit code and what else was printed."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


def ask(url: str, model: str, **body: Any) -> tuple[int, Any]:
    words = json.dumps({"model": model, "messages": [], **body}).encode()
    asked = Request(f"{url}/v1/chat/completions", words, {"Content-Type": "application/json"})
    try:
        with urlopen(asked, timeout=30) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def until(met: Callable[[], Any], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    return False
