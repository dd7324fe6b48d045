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


class Script:
    """What the server answers, in order, and what it was asked."""

    def __init__(self, turns: Sequence[dict[str, Any]]) -> None:
        self.turns = list(turns)
        self.requests: list[dict[str, Any]] = []

    def chunks(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Return the next answer as stream chunks, its text in pieces of seven characters."""
        self.requests.append(request)
        turn = self.turns[min(len(self.requests), len(self.turns)) - 1]
        yield {"role": "assistant", "content": ""}
        text = turn.get("content", "")
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


@contextmanager
def scripted_llm(*turns: dict[str, Any], status: int = 200) -> Iterator[tuple[str, Script]]:
    """Serve a script; yields the base URL and the script."""
    script = Script(turns)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if status != 200:
                self.send_error(status)
                return
            assert self.path == "/v1/chat/completions"
            assert body["stream"] is True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            deltas = list(script.chunks(body))
            for delta in deltas:
                self._event({"index": 0, "delta": delta, "finish_reason": None})
            reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
            self._event({"index": 0, "delta": {}, "finish_reason": reason})
            self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, choice: dict[str, Any]) -> None:
            chunk = {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "scripted",
                "choices": [choice],
            }
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", script
    finally:
        server.shutdown()
        server.server_close()
