"""Spans of a turn reach a collector by OTLP over HTTP: names, times and token counts, and nobody's words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from scripted_llm import broken_off, call, counted, say, scripted_llm

from agent.session import Assistant
from tools.errors import BadValue, ServiceError
from tools.settings import Settings

ROOT = Path(__file__).parents[2]
QUESTION = "Will Qwen3-8B fit on an RTX 3090? My dog is called Zanzibar."
PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 8}], gpus=[{"name": "RTX 3090"}])


class Received:
    """What a collector got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.paths: list[str] = []

    @property
    def spans(self) -> list[Span]:
        found: list[Span] = []
        for body in self.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            found += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def tree(self) -> list[tuple[str, str]]:
        """Each span's name after that of the one above it, in the order in which they began."""
        names = {span.span_id: span.name for span in self.spans}
        return [(names.get(span.parent_span_id, ""), span.name) for span in self.spans]

    def one(self, name: str) -> tuple[Span, dict[str, Any]]:
        [span] = [span for span in self.spans if span.name == name]
        return span, {a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in span.attributes}


@contextmanager
def collector() -> Iterator[tuple[str, Received]]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            received.paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        server.server_close()


def ask(folder: Path, *questions: str, **settings: Any) -> list[str]:
    """Ask in threads of their own; returns the kinds of the last events."""

    async def run() -> list[str]:
        kinds: list[str] = []
        async with Assistant.open(Settings(data_dir=folder, network=False, **settings), rig=None) as assistant:
            for number, question in enumerate(questions):
                events = [event async for event in assistant.ask(question, thread_id=f"thread-{number}")]
                kinds.append(type(events[-1]).__name__)
        return kinds

    return asyncio.run(run())


def test_a_turn_is_a_tree_of_its_steps(tmp_path: Path) -> None:
    with collector() as (url, received):
        ask(tmp_path, QUESTION, otlp_url=url)
    assert set(received.paths) == {"/v1/traces"}
    assert received.tree() == [
        ("", "turn"),
        ("turn", "node read"),
        ("turn", "node decide"),
        ("turn", "node tools"),
        ("node tools", "execute_tool look_up_specs"),
        ("turn", "node decide"),
        ("turn", "node tools"),
        ("node tools", "execute_tool calculate_vram"),
        ("turn", "node decide"),
        ("turn", "node ground"),
        ("turn", "node answer"),
    ]
    turn, known = received.one("turn")
    assert known["rigfit.language"] == "en"
    assert known["rigfit.grounded"] is True
    assert known["gen_ai.request.model"] == "embedded"
    for span in received.spans:
        assert span.trace_id == turn.trace_id
        assert turn.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= turn.end_time_unix_nano


def test_nobodys_words_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGFIT_LLM_API_KEY", "sk-hush")
    with collector() as (url, received), scripted_llm(PLAN, say("Zanzibar is a good name.")) as (llm, _):
        ask(tmp_path, QUESTION, otlp_url=url, llm_url=llm, llm_model="scripted")
    sent = b"".join(received.bodies)
    assert b"execute_tool calculate_vram" in sent
    for word in (b"Zanzibar", b"3090", b"Qwen", b"sk-hush", b"thread-0", str(tmp_path).encode()):
        assert word not in sent


def test_a_models_calls_are_counted_in_tokens(tmp_path: Path) -> None:
    first, second = counted(PLAN, prompt=900, answer=40), counted(say("Yes, it fits."), prompt=1200, answer=5)
    with collector() as (url, received), scripted_llm(first, second) as (llm, _):
        ask(tmp_path, QUESTION, otlp_url=url, llm_url=llm, llm_model="scripted")
    chats = [span for span in received.spans if span.name == "chat scripted"]
    used = [{a.key: a.value.int_value for a in span.attributes if "usage" in a.key} for span in chats]
    assert used == [
        {"gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 40},
        {"gen_ai.usage.input_tokens": 1200, "gen_ai.usage.output_tokens": 5},
    ]
    assert ("node decide", "chat scripted") in received.tree()


def test_tokens_are_not_asked_for_without_a_collector(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("Yes, it fits.")) as (llm, script):
        ask(tmp_path, QUESTION, llm_url=llm, llm_model="scripted")
    assert all("stream_options" not in request for request in script.requests)


def test_what_fails_is_seen_by_the_name_of_the_failure_alone(tmp_path: Path) -> None:
    with collector() as (url, received), scripted_llm(broken_off(say("It fits the card"), after=2)) as (llm, _):
        ask(tmp_path, "Will Zanzibar-900B fit on an RTX 3090?", otlp_url=url, llm_url=llm, llm_model="scripted")
    failed = [span for span in received.spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert "execute_tool look_up_specs" in {span.name for span in failed}
    assert all("error.type" in {a.key for a in span.attributes} for span in failed)
    assert not any(span.events for span in received.spans)
    assert b"Zanzibar" not in b"".join(received.bodies)


def test_turns_at_once_are_traces_of_their_own(tmp_path: Path) -> None:
    async def run(url: str) -> None:
        settings = Settings(data_dir=tmp_path, network=False, otlp_url=url)

        async def one(assistant: Assistant, number: int) -> None:
            async for _ in assistant.ask(QUESTION, thread_id=f"thread-{number}"):
                await asyncio.sleep(0)

        async with Assistant.open(settings, rig=None) as assistant:
            await asyncio.gather(*(one(assistant, number) for number in range(4)))

    with collector() as (url, received):
        asyncio.run(run(url))
    by_trace: dict[bytes, int] = {}
    for span in received.spans:
        by_trace[span.trace_id] = by_trace.get(span.trace_id, 0) + 1
    assert sorted(by_trace.values()) == [11] * 4


def test_a_collector_that_is_away_costs_no_answer_and_no_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert ask(tmp_path, QUESTION, QUESTION, otlp_url="http://127.0.0.1:9") == ["Finished", "Finished"]
    assert time.monotonic() - began < 60
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("url", ["collector:4318", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadValue):
        ask(tmp_path, QUESTION, otlp_url=url)


def test_the_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ServiceError, match="otel_missing"):
        ask(tmp_path, QUESTION, otlp_url="http://127.0.0.1:9")


def test_nothing_that_sends_is_imported_where_it_is_off() -> None:
    script = "import sys, agent.session; print([m for m in sys.modules if m.startswith('opentelemetry.exporter')])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
