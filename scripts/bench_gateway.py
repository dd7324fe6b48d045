"""The gateway beside a direct call, on loopback: an engine that answers at once, asked both ways in turns."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

RIGFIT = str(Path(sys.executable).parent / "rigfit")
PAIRS = 1500
AT_ONCE = 16
ROUNDS = 40
STREAMS = 1000
REQUESTS = 20_000
SWITCH_S = 0.2
SWITCHES = 8
PLAIN_BODY = b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"content":"hello"}}]}'
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


class Measured(NamedTuple):
    """One figure and its limit."""

    what: str
    value: float | None
    limit: float | None
    unit: str


def rows() -> Iterator[Measured]:
    """Measure all; a minute on an idle machine."""
    with ExitStack() as stack:
        direct = stack.enter_context(engine())
        fronted, process = stack.enter_context(gateway(direct))
        yield from one_at_a_time(direct, fronted)
        yield from work(fronted, process)
        yield from at_once(direct, fronted)
        yield from memory(fronted, process)
        yield from many_streams(fronted, process)
    with ExitStack() as stack:
        ports = [stack.enter_context(engine()) for _ in "mn"]
        fronted, _ = stack.enter_context(gateway(*ports))
        yield from switches(fronted)


def request(model: str = "m", **fields: object) -> bytes:
    """A chat request as bytes."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


PLAIN, STREAM = request(), request(stream=True)


class Echo(asyncio.Protocol):
    """An engine that costs next to nothing: a fixed answer, or a stream of three events, slow where that is asked.

    It falls asleep and wakes as vLLM does, each in ``SWITCH_S``.
    """

    asleep = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
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
        assert isinstance(self.transport, asyncio.WriteTransport)
        path = head.split(b" ")[1].partition(b"?")[0]
        if path in {b"/sleep", b"/wake_up"}:
            Echo.asleep = path == b"/sleep"
            asyncio.get_running_loop().call_later(SWITCH_S, self.say, b"{}")
        elif path == b"/is_sleeping":
            self.say(b'{"is_sleeping":%b}' % (b"true" if Echo.asleep else b"false"))
        elif b'"stream": true' in body:
            self.stream(body)
        else:
            self.say(PLAIN_BODY if body else b"{}")

    def say(self, text: bytes) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
        self.transport.write(head + text)

    def stream(self, body: bytes) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(EVENT)
        )
        if b'"slow": true' in body:
            asyncio.get_running_loop().call_later(4, self.finish)
        else:
            self.finish()

    def finish(self) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write(chunk(EVENT) + chunk(EVENT))
        self.transport.write(chunk(DONE) + END)


def chunk(text: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(text), text)


async def echo(port: int) -> None:
    """Serve the engine for ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


@contextmanager
def engine() -> Iterator[int]:
    """Run the engine in a process of its own; yields its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, str(port)])
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def gateway(*behind: int) -> Iterator[tuple[int, psutil.Process]]:
    """Run the gateway, where there are two engines with turns between them; yields its port and process."""
    port = free_port()
    words = [RIGFIT, "gateway", "--port", str(port), "--residency", "swap" if len(behind) > 1 else "together"]
    words += [f"--upstream={name}=http://127.0.0.1:{engine}" for name, engine in zip("mn", behind, strict=False)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(40)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(port)


class Caller:
    """One connection, asked without any library's own cost."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, asked: bytes, end: bytes) -> tuple[float, float]:
        """Return seconds until the first byte of the body and until the end."""
        start, first, got = time.perf_counter(), 0.0, b""
        self.socket.sendall(asked)
        while not got.endswith(end):
            got += self.socket.recv(65536)
            if not first and got.partition(b"\r\n\r\n")[2]:
                first = time.perf_counter() - start
        assert got.startswith(b"HTTP/1.1 200"), got
        return first, time.perf_counter() - start


def one_at_a_time(direct: int, fronted: int) -> Iterator[Measured]:
    """Latency of single calls, direct and through the gateway in turns."""
    ways = Caller(direct), Caller(fronted)
    took: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ("plain", "first", "stream")}
    for _ in range(PAIRS):
        for way, caller in enumerate(ways):
            took["plain"][way].append(caller.ask(PLAIN, PLAIN_BODY)[1])
            first, whole = caller.ask(STREAM, END)
            took["first"][way].append(first)
            took["stream"][way].append(whole)
    limits = {"plain": ("a plain answer, median", 0.8), "first": ("the first streamed byte, median", 0.5)}
    limits["stream"] = ("a stream, median", 0.8)
    for name, (what, limit) in limits.items():
        without, through = (statistics.median(times) for times in took[name])
        yield Measured(f"gateway adds to {what}", 1000 * (through - without), limit, "ms")


def at_once(direct: int, fronted: int) -> Iterator[Measured]:
    """The slowest hundredth of calls with 16 callers at a time, round by round direct and through the gateway."""
    times = asyncio.run(_rounds(direct, fronted))
    slow = [sorted(way)[int(0.99 * len(way))] for way in times]
    yield Measured("gateway adds to the slowest 1 %, 16 callers", 1000 * (slow[1] - slow[0]), 3, "ms")
    per_s = AT_ONCE * len(times[1]) / sum(times[1])
    yield Measured("gateway, requests a second, 16 callers", per_s, None, "")


async def _rounds(direct: int, fronted: int) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    callers = [[await asyncio.open_connection("127.0.0.1", port) for _ in range(AT_ONCE)] for port in (direct, fronted)]
    for turn in range(ROUNDS + 1):
        for way in (0, 1):
            found: list[float] = []
            await asyncio.gather(*(_several(*caller, found) for caller in callers[way]))
            if turn:  # the first warms up
                times[way].extend(found)
    return times


async def _several(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, times: list[float]) -> None:
    for _ in range(20):
        start, got = time.perf_counter(), b""
        writer.write(PLAIN)
        while not got.endswith(PLAIN_BODY):
            got += await reader.read(65536)
        times.append(time.perf_counter() - start)


def many_streams(fronted: int, process: psutil.Process) -> Iterator[Measured]:
    """A thousand streams open at once."""
    good = asyncio.run(_streams(fronted))
    yield Measured(f"{STREAMS} streams open at once, failed", STREAMS - good, 0, "")
    yield Measured("gateway, memory after the streams", process.memory_info().rss / (1 << 20), 90, "MiB")


async def _streams(port: int) -> int:
    gate = asyncio.Semaphore(100)

    async def one() -> bool:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(stream=True, slow=True))
            got = await reader.readuntil(b"word")
        got += await reader.readuntil(END)
        writer.close()
        return got.startswith(b"HTTP/1.1 200") and got.count(b"word") == 3

    return sum(await asyncio.gather(*(one() for _ in range(STREAMS))))


def work(fronted: int, process: psutil.Process) -> Iterator[Measured]:
    """The processor's time that one request costs, which other programs on the machine change least."""
    caller = Caller(fronted)
    for name, asked, end in (("plain", PLAIN, PLAIN_BODY), ("streamed", STREAM, END)):
        before = sum(process.cpu_times()[:2])
        for _ in range(PAIRS):
            caller.ask(asked, end)
        took = sum(process.cpu_times()[:2]) - before
        yield Measured(f"gateway, processor time a {name} request", 1000 * took / PAIRS, None, "ms")


def switches(fronted: int) -> Iterator[Measured]:
    """A request for the engine that sleeps, less what the engines themselves take to change places."""
    caller, times = Caller(fronted), list[float]()
    for number in range(SWITCHES):
        time.sleep(0.8)  # nobody asks for the engine that is awake
        times.append(caller.ask(request("mn"[number % 2]), PLAIN_BODY)[1])
    yield Measured("gateway adds to a switch, median", 1000 * (statistics.median(times[2:]) - 2 * SWITCH_S), 20, "ms")


def memory(fronted: int, process: psutil.Process) -> Iterator[Measured]:
    """Memory after warming up and after many requests more."""
    callers = [Caller(fronted) for _ in range(4)]

    def ask(many: int) -> None:
        for number in range(many):
            callers[number % 4].ask(*((PLAIN, PLAIN_BODY) if number % 2 else (STREAM, END)))

    ask(2000)
    before = process.memory_info().rss
    ask(REQUESTS)
    after = process.memory_info().rss
    yield Measured(f"gateway, memory gained in {REQUESTS:,} requests", (after - before) / (1 << 20), 2, "MiB")
    yield Measured("gateway, memory after them", after / (1 << 20), 90, "MiB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(echo(int(sys.argv[1])))
    else:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for row in rows():
            print(f"{row.what:60}{row.value:10.3f} {row.unit:4}{row.limit}")
