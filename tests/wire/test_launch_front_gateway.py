"""The words that a Compose file gives to Rigfit's gateway, taken by the gateway itself."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import make_instance, make_plan  # pyright: ignore[reportMissingImports]

from tools.launch.choices import Choices
from tools.launch.generate import generate


class Engine(ThreadingHTTPServer):
    """Answers a chat with its own name, and the questions about sleep as vLLM does."""

    daemon_threads = True

    def __init__(self, name: str, asleep: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.asleep = name, asleep
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._send({"is_sleeping": self.server.asleep})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(("/sleep", "/wake_up")):
            self.server.asleep = self.path.startswith("/sleep")
        self._send({"by": self.server.name, "asleep": self.server.asleep})

    def _send(self, answer: dict[str, object]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("swap", [False, True])
def test_the_gateway_takes_its_words_and_finds_every_engine(swap: bool):
    plan = make_plan(
        make_instance("a", ("first", "другое имя"), awake=not swap), make_instance("b", ("second",), order=1)
    )
    made = generate(plan, choices=Choices(endpoint="gateway"), checked=False).files
    words = yaml.safe_load(made[0].content)["services"]["endpoint"]["command"]
    engines = [Engine("a", swap), Engine("b", False)]
    port = free_port()
    for engine in engines:
        address = f"127.0.0.1:{engine.server_address[1]}"
        words = [word.replace(f"//{engine.name}:8000", f"//{address}") for word in words]
    words = [word.replace("--host=0.0.0.0", "--host=127.0.0.1").replace("=8000", f"={port}") for word in words]
    command = [str(Path(sys.executable).parent / "rigfit"), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout
        assert str(port) in process.stdout.readline()
        with urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=20) as answer:
            assert {model["id"] for model in json.load(answer)["data"]} == {"first", "другое имя", "second"}
        for model, name in (("first", "a"), ("second", "b"), ("другое имя", "a")):
            body = json.dumps({"model": model, "messages": []}).encode()
            ask = Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"})
            with urlopen(ask, timeout=30) as answer:
                assert json.load(answer) == {"by": name, "asleep": False}
    finally:
        process.terminate()
        process.communicate(timeout=20)
        for engine in engines:
            engine.shutdown()
            engine.server_close()
