"""An engine that costs next to nothing: a fixed answer, or a stream of three events, slow where that is asked."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from bench_net import END, free_port, wait_for

SWITCH_S = 0.2
THINK_S = 0.015, 0.025
"""What a request of the user "thinks" takes, evenly spread: engines at work do not answer all at the same moment."""
_HEAD = {"id": "chatcmpl-1", "created": 1700000000, "model": "m"}
_USAGE = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _event(delta: dict[str, str], why: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": why}
    return b"data: " + _compact(_HEAD | {"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def chunk(text: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(text), text)


_MESSAGE = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
PLAIN = _compact(_HEAD | {"object": "chat.completion", "choices": [_MESSAGE], "usage": _USAGE})
FIRST = chunk(_event({"role": "assistant", "content": "word"}))
LAST = chunk(_event({"content": "word"})) + chunk(_event({"content": "word"}, "stop"))
LAST += chunk(b"data: [DONE]\n\n") + END
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Echo(asyncio.Protocol):
    """One connection. The engine falls asleep and wakes as vLLM does, each in ``SWITCH_S``."""

    asleep = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while True:
            head, found, rest = self.seen.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(rest) < length:
                return
            body, self.seen = rest[:length], rest[length:]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ")[1].partition(b"?")[0]
        if path in {b"/sleep", b"/wake_up"}:
            Echo.asleep = path == b"/sleep"
            asyncio.get_running_loop().call_later(SWITCH_S, self.say, b"{}")
        elif path == b"/is_sleeping":
            self.say(b'{"is_sleeping":%b}' % (b"true" if Echo.asleep else b"false"))
        elif b'"stream": true' in body or b'"stream":true' in body:
            self.stream(body)
        elif b'"user": "thinks"' in body:
            asyncio.get_running_loop().call_later(random.uniform(*THINK_S), self.say, PLAIN)
        else:
            self.say(PLAIN if body else b"{}")

    def say(self, text: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
        self.transport.write(head + text)

    def stream(self, body: bytes) -> None:
        self.transport.write(STREAM_HEAD + FIRST)
        if b'"user": "slow"' in body:
            asyncio.get_running_loop().call_later(4, self.transport.write, LAST)
        else:
            self.transport.write(LAST)


@contextmanager
def engine() -> Iterator[int]:
    """Run the engine in a process of its own; yields its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, str(port)])
    try:
        wait_for(port, 10)
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def serve(port: int) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
