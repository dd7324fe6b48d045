"""Callers that cost next to nothing, so that what is measured is the other side."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterable
from typing import cast

END = b"0\r\n\r\n"
KEY = "sk-bench"
"""LiteLLM demands one; the others ignore it."""


def request(model: str = "m", **fields: object) -> bytes:
    """A chat request as bytes."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


PLAIN, STREAM, WORK = request(), request(stream=True), request(user="thinks")


def is_whole(answer: bytes) -> bool:
    """Tell whether an answer has come to its end; all of them are framed by a length or in chunks."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    _, sized, rest = head.lower().partition(b"\r\ncontent-length: ")
    return len(body) >= int(rest.partition(b"\r\n")[0]) if sized else body.endswith(END)


class Caller:
    """One connection, asked again and again."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, asked: bytes) -> tuple[float, float]:
        """Return seconds until the first byte of the body and until the end."""
        start, first, got = time.perf_counter(), 0.0, b""
        self.socket.sendall(asked)
        while not is_whole(got):
            got += self.socket.recv(65536)
            if not first and got.partition(b"\r\n\r\n")[2]:
                first = time.perf_counter() - start
        assert got.startswith(b"HTTP/1.1 200"), got
        return first, time.perf_counter() - start


class Loop(asyncio.Protocol):
    """One of several callers at a time: it asks anew as soon as it is answered."""

    def __init__(self) -> None:
        self.asked, self.times = b"", list[float]()
        self.left = 0
        self.got = b""
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def run(self, asked: bytes, requests: int) -> asyncio.Future[None]:
        """Ask so many times, and note how long each took."""
        self.asked, self.times, self.left = asked, list[float](), requests
        self.done = asyncio.get_running_loop().create_future()
        self.ask()
        return self.done

    def ask(self) -> None:
        self.got = b""
        self.start = time.perf_counter()
        self.transport.write(self.asked)

    def data_received(self, data: bytes) -> None:
        self.got += data
        if not is_whole(self.got):
            return
        self.times.append(time.perf_counter() - self.start)
        assert self.got.startswith(b"HTTP/1.1 200"), self.got
        self.left -= 1
        if self.left:
            self.ask()
        elif self.done is not None:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the other side went away"))


async def callers(port: int, many: int) -> list[Loop]:
    """Connect several callers."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Loop, "127.0.0.1", port))[1] for _ in range(many)]


def slowest(times: Iterable[float]) -> float:
    """Return what 99 of 100 stay below."""
    ordered = sorted(times)
    return ordered[int(0.99 * len(ordered))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, within_s: float) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(port)
