"""A small server that speaks the OpenAI chat-completions wire format and says what a test scripted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def say(text: str) -> dict[str, Any]:
    """A final text."""
    return {"content": text}


def call(name: str, **args: Any) -> dict[str, Any]:
    """One tool call."""
    return {"tool_calls": [(name, json.dumps(args))]}


def calls(*wanted: tuple[str, str]) -> dict[str, Any]:
    """Several tool calls at once, arguments as raw text."""
    return {"tool_calls": list(wanted)}


def think(words: str, turn: dict[str, Any]) -> dict[str, Any]:
    """An answer with the thinking before it, as vLLM's reasoning parser sends it apart from the text."""
    return {**turn, "reasoning": words}


def counted(turn: dict[str, Any], *, prompt: int, answer: int) -> dict[str, Any]:
    """An answer whose tokens the server counts, for who asks for it."""
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return {**turn, "usage": usage}


def broken_off(turn: dict[str, Any], *, after: int) -> dict[str, Any]:
    """An answer whose connection ends after so many pieces."""
    return {**turn, "pieces": after}


def held(turn: dict[str, Any], *, after: int, until: threading.Event) -> dict[str, Any]:
    """An answer that stops after so many pieces until an event is set, or for half a minute."""
    return {**turn, "held": (after, until)}


def not_ready(retry_after: str | None) -> dict[str, Any]:
    """A 503, with ``Retry-After`` where that is not None."""
    return {"status": 503, "headers": {"Retry-After": retry_after} if retry_after is not None else {}}


class Script:
    """What the server answers, in order, and what it was asked."""

    def __init__(self, turns: Sequence[dict[str, Any]]) -> None:
        self.turns = list(turns)
        self.requests: list[dict[str, Any]] = []

    def next(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next answer; the last one again where there is none."""
        self.requests.append(request)
        return self.turns[min(len(self.requests), len(self.turns)) - 1]

    def chunks(self, turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Return an answer as stream chunks, its text in pieces of seven characters."""
        yield {"role": "assistant", "content": ""}
        thought, text = turn.get("reasoning", ""), turn.get("content", "")
        for start in range(0, len(thought), 7):
            yield {turn.get("thinks_in", "reasoning"): thought[start : start + 7]}
        for start in range(0, len(text), 7):
            yield {"content": text[start : start + 7]}
        for index, (name, arguments) in enumerate(turn.get("tool_calls", ())):
            yield {
                "tool_calls": [
                    {
                        "index": index,
                        "id": f"call_{len(self.requests)}_{index}",
                        "type": "function",
                        "function": {"name": name, "arguments": ""},
                    }
                ]
            }
            for start in range(0, len(arguments), 11):
                yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[start : start + 11]}}]}


def _chunk(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted",
        "choices": choices,
        "usage": usage,
        "system_fingerprint": None,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _end(body: dict[str, Any], turn: dict[str, Any]) -> bytes:
    """Return the end of a stream, with the tokens where they were counted and asked for."""
    asked = (body.get("stream_options") or {}).get("include_usage")
    return (_chunk([], turn["usage"]) if asked and "usage" in turn else b"") + b"data: [DONE]\n\n"


def wait(turn: dict[str, Any], at: int) -> None:
    """Hold a turn up where it is to be."""
    after, until = turn.get("held", (-1, None))
    if at == after and until:
        until.wait(30)


def _handler(script: Script, models: Sequence[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            rows = [{"id": name, "object": "model", "owned_by": "vllm", "root": name} for name in models]
            self._whole(200, {"object": "list", "data": rows} if self.path == "/v1/models" else {})

        def _whole(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            turn = script.next(body)
            if "status" in turn:
                said = turn.get("message", "not ready")
                self._whole(turn["status"], {"error": {"message": said, "code": "model_starting"}}, turn["headers"])
                return
            assert self.path == "/v1/chat/completions"
            assert body["stream"] is True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            deltas = list(script.chunks(turn))
            for at, delta in enumerate(deltas[: turn.get("pieces")]):
                wait(turn, at)
                self._event({"index": 0, "delta": delta, "finish_reason": None})
            if "pieces" in turn:
                self.close_connection = True
                return
            reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
            self._event({"index": 0, "delta": {}, "finish_reason": turn.get("finish_reason", reason)})
            self.wfile.write(_end(body, turn))

        def _event(self, choice: dict[str, Any]) -> None:
            self.wfile.write(_chunk([choice]))

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def scripted_llm(
    *turns: dict[str, Any], status: int = 200, models: Sequence[str] = ("scripted",)
) -> Iterator[tuple[str, Script]]:
    """Serve a script; yields the base URL and the script."""
    script = Script(turns if status == 200 else [{"status": status, "headers": {}}])

    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script, models))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", script
    finally:
        server.shutdown()
        server.server_close()
