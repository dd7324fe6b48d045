"""A server that replays recorded streams of an OpenAI-compatible server, byte for byte, whole or broken off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
"""As ``tests/vllm/record_streams.py`` wrote them."""


def recorded(name: str) -> bytes:
    """Return a recorded stream."""
    return (STREAMS / f"{name}.sse").read_bytes()


def events(stream: bytes) -> list[bytes]:
    """Return a stream's events, each with the line that ends it."""
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


class Replayed(NamedTuple):
    """A stream.

    Attributes:
        data: its bytes.
        ends: it ends as HTTP has it; otherwise the connection is closed where the bytes end.
    """

    data: bytes
    ends: bool = True


class Replay:
    """What the server sends, in order, and how often it was asked; when nothing is left it refuses."""

    def __init__(self) -> None:
        self.left: list[Replayed] = []
        self.asked = 0

    def begin(self, *streams: Replayed | bytes) -> None:
        """Begin again with other streams."""
        self.left = [one if isinstance(one, Replayed) else Replayed(one) for one in streams]
        self.asked = 0


def _handler(replay: Replay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            replay.asked += 1
            self.close_connection = True
            if not replay.left:
                self.send_error(410)
                return
            stream = replay.left.pop(0)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if stream.data:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(stream.data), stream.data))
            if stream.ends:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def replayed_llm() -> Iterator[tuple[str, Replay]]:
    """Serve; yields the base URL and what is to be replayed."""
    replay = Replay()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(replay))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", replay
    finally:
        server.shutdown()
        server.server_close()
