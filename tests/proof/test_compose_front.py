"""The endpoint of a Compose file, as a real nginx with njs runs it, before small servers in the engines' place."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from tools.launch.front import BY_MODEL, BY_NAME, Upstream, nginx_conf, router_js

MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(not (NGINX and MODULE.exists()), reason="needs nginx with njs (libnginx-mod-http-js)")

HOSTILE = ("ы/модель", "a'b\"c\\", "${HOME} $uri $(reboot)", "__proto__", "</script>\u00a0`x`", "😀", "constructor")
TOKENS = ("first", "second")


class Engine(ThreadingHTTPServer):
    """Answers with what it was asked; a streamed answer's second part waits until ``go`` is set."""

    daemon_threads = True

    def __init__(self, models: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models, self.key = models, ""
        self.seen: list[tuple[str, str]] = []
        self.go = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.do_POST()

    def do_OPTIONS(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path))
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            return self._send(401, {"error": "Unauthorized"})
        if self.path == "/v1/models":
            return self._send(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})
        asked = json.loads(body) if body else {}
        if asked.get("stream"):
            return self._stream(asked["model"])
        message = {"role": "assistant", "content": str(len(body))}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": asked.get("model", "")}
        return self._send(200, answer | {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, model: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in TOKENS:
            choice = {"index": 0, "delta": {"content": word}}
            part = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
            self._chunk(f"data: {json.dumps(part)}\n\n")
            self.server.go.wait(20)
        self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Front:
    """A running nginx and the engines behind it."""

    port: int
    engines: tuple[Engine, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content.startswith(b"{") else content.decode()

    def chat(self, model: object, **more: object) -> tuple[int, Any]:
        return self.ask("POST", "/v1/chat/completions", json.dumps({"model": model} | more).encode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    engines = (Engine(("qwen", *HOSTILE)), Engine(("qwen-int4",)))
    upstreams = [
        Upstream(name, engine.url, engine.models) for name, engine in zip(("qwen-a", "b"), engines, strict=True)
    ]
    script, port = tmp_path / "front.js", free_port()
    script.write_text(router_js(upstreams))
    conf = nginx_conf(upstreams, script=str(script), listen=f"127.0.0.1:{port}", resolver=None)
    (tmp_path / "nginx.conf").write_text(
        conf.replace("/tmp/nginx.pid", str(tmp_path / "pid")).replace("/dev/stdout", "off")
    )
    assert NGINX
    process = subprocess.Popen(
        [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"],
        stderr=(tmp_path / "errors").open("wb"),
    )
    running = Front(port, engines, process)
    try:
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                running.ask("GET", "/health")
                break
            time.sleep(0.05)
        assert process.poll() is None, (tmp_path / "errors").read_text()
        yield running
    finally:
        process.terminate()
        process.wait(10)
        for engine in engines:
            engine.go.set()
            engine.shutdown()
            engine.server_close()


def test_every_model_is_listed_and_each_request_goes_to_its_engine(front: Front):
    status, listed = front.ask("GET", "/v1/models")
    assert status == 200
    assert [model["id"] for model in listed["data"]] == ["qwen", *HOSTILE, "qwen-int4"]
    for engine in front.engines:
        engine.seen.clear()
        for name in engine.models:
            assert front.chat(name)[1]["model"] == name
        assert engine.seen == [("POST", "/v1/chat/completions")] * len(engine.models)


def test_openais_own_client_talks_to_both(front: Front):
    client = OpenAI(base_url=front.url, api_key="none", max_retries=0)
    assert {"qwen", "qwen-int4"} <= {model.id for model in client.models.list()}
    for name in ("qwen", "qwen-int4"):
        answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Привет!"}])
        assert answer.model == name
    with pytest.raises(NotFoundError, match="'nope' does not exist") as raised:
        client.chat.completions.create(model="nope", messages=[])
    assert raised.value.code == "model_not_found"


def test_an_answer_streams_as_it_is_made(front: Front):
    client = OpenAI(base_url=front.url, api_key="none", max_retries=0)
    parts = iter(client.chat.completions.create(model="qwen-int4", messages=[], stream=True))
    assert next(parts).choices[0].delta.content == TOKENS[0]  # the engine is still waiting to send the next
    front.engines[1].go.set()
    assert [part.choices[0].delta.content for part in parts] == [*TOKENS[1:]]


def test_large_bodies_pass_up_to_the_limit(front: Front):
    picture = "A" * 5_000_000
    status, answer = front.chat("qwen-int4", messages=[{"role": "user", "content": picture}])
    assert status == 200
    assert int(answer["choices"][0]["message"]["content"]) > 5_000_000
    status, answer = front.ask("POST", "/v1/chat/completions", b"", **{"Content-Length": str(65 << 20)})
    assert (status, answer["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (b"[1]", 404),
        (b'{"model": {"a": 1}}', 404),
        (b'{"model": null}', 404),
        (b'{"model": "toString"}', 404),
        (b'{"model": "@b"}', 404),
        (b'{"model": ["qwen"]}', 404),
        (b"[" * 100_000, 400),
    ],
)
def test_what_names_no_model_is_refused_in_openais_form(front: Front, body: bytes, status: int):
    found, answer = front.ask("POST", "/v1/chat/completions", body)
    assert found == status
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert not front.engines[0].seen
    assert not front.engines[1].seen


CONTROLS = (
    "sleep",
    "wake_up",
    "is_sleeping",
    "collective_rpc",
    "metrics",
    "update_weights",
    "v1/load_lora_adapter",
    "",
)


@pytest.mark.parametrize("control", CONTROLS)
def test_nothing_else_of_an_engine_can_be_reached(front: Front, control: str):
    for path in (
        f"/{control}",
        f"//{control}",
        f"/qwen-a/{control}",
        f"/qwen-a/v1/../{control}",
        f"/qwen-a/v1/%2e%2e/{control}",
        f"/qwen-a/v1/models/../../{control}",
        f"/v1/models/../../{control}",
        f"/@b/{control}",
        f"/-/b/{control}",
        "/-/b",
        f"/v1/chat/completions/{control}" if control else "/v1/chat/completions/",
    ):
        for method in ("GET", "POST"):
            status, answer = front.ask(method, path, b'{"model": "qwen"}' if method == "POST" else b"")
            assert (status, answer["error"]["code"]) == (404, "unknown_path"), path
    assert not front.engines[0].seen
    assert not front.engines[1].seen


def test_only_listed_paths_arrive_however_they_are_written(front: Front):
    body = json.dumps({"model": "qwen"}).encode()
    for path in ("/sleep/../v1/chat/completions", "/v1%2Fchat%2Fcompletions", "//v1//chat/completions?a=1&b=%20"):
        assert front.ask("POST", path, body)[0] == 200
    assert {path.partition("?")[0] for _, path in front.engines[0].seen} == {"/v1/chat/completions"}
    assert front.engines[0].seen[-1][1] == "/v1/chat/completions?a=1&b=%20"


def test_each_route_passes_by_model_and_by_path(front: Front):
    body = json.dumps({"model": "qwen"}).encode()
    for route in BY_MODEL:
        assert front.ask("POST", f"/v1/{route}", body)[0] == 200
    for route in BY_NAME:
        assert front.ask("POST", f"/b/v1/{route}", body)[0] == 200  # the path decides, whatever the body says
    assert [path for _, path in front.engines[0].seen] == [f"/v1/{route}" for route in BY_MODEL]
    assert [path for _, path in front.engines[1].seen] == [f"/v1/{route}" for route in BY_NAME]


def test_a_browser_may_ask_first(front: Front):
    assert front.ask("OPTIONS", "/v1/chat/completions")[0] == 200


def test_the_key_is_the_engines_own_matter(front: Front):
    for engine in front.engines:
        engine.key = "secret"
    assert front.ask("GET", "/v1/models")[0] == 401
    assert front.chat("qwen")[0] == 401
    status, listed = front.ask("GET", "/v1/models", Authorization="Bearer secret")
    assert (status, len(listed["data"])) == (200, len(HOSTILE) + 2)


def test_an_engine_that_is_gone_is_left_out_and_said(front: Front):
    front.engines[1].shutdown()
    front.engines[1].server_close()
    status, listed = front.ask("GET", "/v1/models")
    assert (status, listed["data"][-1]["id"]) == (200, HOSTILE[-1])
    status, answer = front.chat("qwen-int4")
    assert (status, answer["error"]["code"]) == (502, "engine_down")
    assert front.chat("qwen")[0] == 200
