"""``rigfit gateway`` as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

RIGFIT = str(Path(sys.executable).parent / "rigfit")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def engine() -> Iterator[tuple[str, list[str]]]:
    """A server that answers every POST; yields its address and the keys it was shown."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"{}")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys.append(self.headers["Authorization"] or "")
            self._answer(b'{"ok": true}')

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", keys
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def gateway(*words: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command; yields its first line and the process."""
    process = subprocess.Popen(
        [RIGFIT, "gateway", "--lang", "en", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline(), process
    finally:
        process.kill()
        process.communicate()


def ask(url: str, model: str, key: str = "") -> int:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    body = json.dumps({"model": model}).encode()
    try:
        with urlopen(Request(f"{url}/v1/chat/completions", body, headers), timeout=10) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_the_command_listens_answers_and_stops(tmp_path: Path) -> None:
    port, keys = free_port(), tmp_path / "keys"
    keys.write_text("# clients\nk1\n\nk2\n", encoding="utf-8")
    with engine() as (url, shown):
        words = ["--upstream", f"org/m={url}/v1", "--alias", "m=org/m", "--port", str(port)]
        words += ["--api-key-file", str(keys), "--upstream-key", "ENGINE_KEY", "--json"]
        with gateway(*words, ENGINE_KEY="s3") as (line, process):
            said = json.loads(line)
            assert said == {"url": f"http://127.0.0.1:{port}", "models": ["org/m", "m"]}
            assert [ask(said["url"], name, "k2") for name in ("org/m", "m", "n")] == [200, 200, 404]
            assert ask(said["url"], "m") == 401
            assert shown == ["Bearer s3", "Bearer s3"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert process.stdout is not None
            assert process.stdout.read() == ""


def test_keys_from_the_environment() -> None:
    port = free_port()
    with (
        engine() as (url, _),
        gateway("--upstream", f"m={url}", "--port", str(port), RIGFIT_API_KEYS="a,b") as (line, _),
    ):
        assert f"http://127.0.0.1:{port}/v1" in line
        assert [ask(f"http://127.0.0.1:{port}", "m", key) for key in ("a", "b", "c")] == [200, 200, 401]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--upstream NAME=URL"),
        (["--upstream", "m"], "NAME=URL"),
        (["--upstream", "m=ftp://127.0.0.1"], "no engine's address"),
        (["--upstream", "m=http://8.8.8.8:1"], "--allow-public-upstreams"),
        (["--upstream", "m=http://127.0.0.1:1", "--alias", "a=b"], "no upstream"),
        (["--upstream", "m=http://127.0.0.1:1", "--upstream-key", "RIGFIT_NO_SUCH"], "RIGFIT_NO_SUCH"),
        (["--upstream", "m=http://127.0.0.1:1", "--api-key-file", "/nonexistent"], "/nonexistent"),
        (["--upstream", "m=http://127.0.0.1:1", "--port", "99999"], "port"),
        (["--upstream", "m=http://127.0.0.1:1", "--pin", "m"], "--residency swap"),
        (["--upstream", "m=http://127.0.0.1:1", "--ttl", "5"], "--residency swap"),
        (["--upstream", "m=http://127.0.0.1:1", "--residency", "swap", "--pin", "x"], "“x”"),
        (["--upstream", "m=http://127.0.0.1:1", "--residency", "swap", "--group", "m,x"], "“x”"),
        (["--upstream", "m=http://127.0.0.1:1", "--residency", "swap", "--ttl", "-1"], "--ttl"),
        (["--upstream", "m=http://127.0.0.1:1", "--residency", "swap", "--max-wait", "nan"], "--max-wait"),
    ],
)
def test_what_can_not_be_read_is_said_on_one_line(words: list[str], said: str) -> None:
    done = subprocess.run(
        [RIGFIT, "gateway", "--lang", "en", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_engines_that_take_turns_and_one_that_is_not_there() -> None:
    port = free_port()
    with engine() as (url, _):
        words = ["--upstream", f"m={url}", "--upstream", "n=http://127.0.0.1:9", "--residency", "swap"]
        words += ["--group", "m,n", "--min-awake", "0.5", "--max-wait", "3", "--ttl", "60", "--sleep-level", "2"]
        words += ["--port", str(port)]
        with gateway(*words) as (line, process):
            assert f"http://127.0.0.1:{port}/v1" in line
            assert [ask(f"http://127.0.0.1:{port}", name) for name in "mn"] == [200, 503]
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=10)
            assert process.returncode == 0
            assert "“n” at http://127.0.0.1:9 does not answer" in said
            assert "Traceback" not in said


def test_a_second_signal_ends_it_at_once() -> None:
    port = free_port()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with gateway("--upstream", f"m={url}", "--port", str(port)) as (_, process):
            caller = socket.create_connection(("127.0.0.1", port))
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            caller.sendall(head + b'Content-Length: 13\r\n\r\n{"model":"m"}')
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 0
            caller.close()


def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["gateway", "--upstream", "m=http://127.0.0.1:1", "--port", str(taken.getsockname()[1])]
        done = subprocess.run([RIGFIT, *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert str(taken) not in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_open_door_is_warned_of() -> None:
    with gateway("--upstream", "m=http://127.0.0.1:1", "--host", "0.0.0.0", "--port", str(free_port())) as (
        line,
        process,
    ):
        assert "0.0.0.0" in line
        process.send_signal(signal.SIGINT)
        _, warning = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "API key" in warning
