"""The gateway beside a direct call and other routers, on loopback: an engine that answers at once, asked in turns.

Every figure is a median: of single calls, or of rounds that take turns, so that what else the machine does hits all
alike. A difference of two ways is taken round by round.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import psutil
import uvloop
from bench_echo import SWITCH_S, engine
from bench_net import END, PLAIN, STREAM, WORK, Caller, callers, request, slowest
from bench_routers import gateway, installed, litellm, memory_mib, vllm_router
from bench_turns import MIN_AWAKE_S, added_s, longest_s, mixed_load

DIRECT, RIGFIT, ROUTER, LITELLM = "direct", "gateway", "vllm-router", "LiteLLM"
SINGLE = {DIRECT: 1500, RIGFIT: 1500, ROUTER: 1500, LITELLM: 150}
"""Single calls of each way, plain and streamed."""
AT_ONCE = 16
ROUNDS = 30
EACH = {DIRECT: 40, RIGFIT: 40, ROUTER: 40, LITELLM: 2}
"""Calls of each of the callers in one round."""
STREAMS = 1000
REQUESTS = 20_000
LIMIT_S = {"plain": ("a plain answer", 0.8), "first": ("the first streamed byte", 0.5), "stream": ("a stream", 0.8)}


class Measured(NamedTuple):
    """One figure and its limit."""

    what: str
    value: float | None
    limit: float | None
    unit: str


def rows() -> Iterator[Measured]:
    """Measure all; two minutes on an idle machine."""
    with ExitStack() as stack:
        direct = stack.enter_context(engine())
        fronted, process = stack.enter_context(gateway(direct))
        ports, peers = {DIRECT: direct, RIGFIT: fronted}, dict[str, psutil.Process]()
        for name, run in ((ROUTER, vllm_router), (LITELLM, litellm)) if installed() else ():
            ports[name], peers[name] = stack.enter_context(run(direct))
        yield from one_at_a_time(ports)
        yield from work(fronted, process)
        yield from slowest_added(direct, fronted)
        yield from at_once(ports)
        yield from beside(process, peers)
        yield from memory(fronted, process)
        yield from many_streams(fronted, process)
    yield from turns()


def one_at_a_time(ports: Mapping[str, int]) -> Iterator[Measured]:
    """Latency of single calls, each way in turns."""
    ways = {name: Caller(port) for name, port in ports.items()}
    took: dict[tuple[str, str], list[float]] = {}
    for number in range(max(SINGLE.values())):
        for name, caller in ways.items():
            if number % (max(SINGLE.values()) // SINGLE[name]):
                continue
            took.setdefault((name, "plain"), []).append(caller.ask(PLAIN)[1])
            for what, seconds in zip(("first", "stream"), caller.ask(STREAM), strict=True):
                took.setdefault((name, what), []).append(seconds)
    middle = {key: 1000 * statistics.median(times) for key, times in took.items()}
    for what, (words, limit) in LIMIT_S.items():
        yield Measured(f"gateway adds to {words}, median", middle[RIGFIT, what] - middle[DIRECT, what], limit, "ms")
    for name in ports:
        yield Measured(f"{name}: a plain answer, median", middle[name, "plain"], None, "ms")
        yield Measured(f"{name}: a stream, median", middle[name, "stream"], None, "ms")
    if ROUTER in ports:
        for what in ("plain", "stream"):
            times = middle[RIGFIT, what] / middle[ROUTER, what]
            yield Measured(f"gateway's median over vllm-router's, {what}", times, 2, "times")


def slowest_added(direct: int, fronted: int) -> Iterator[Measured]:
    """What the gateway adds to the slowest hundredth with 16 callers at a time, who never pause.

    An engine at work takes 15 to 25 ms. One that takes no time keeps the gateway at its limit: each caller then waits
    for the other 15.
    """
    ports = {DIRECT: direct, RIGFIT: fronted}
    with undisturbed() as alone:
        for asked, what in ((WORK, "20 ms answers"), (PLAIN, "no pause")):
            times, _ = uvloop.run(_rounds(ports, asked))
            how = "" if alone else ", beside all else that runs here"
            yield Measured(
                f"gateway adds to the slowest 1 %, {AT_ONCE} callers, {what}{how}", _added_ms(times), 3, "ms"
            )


@contextmanager
def undisturbed() -> Iterator[bool]:
    """Have all processes of this measurement run before others, where that is allowed (Linux, as root).

    Three processes share the cores, and whatever else wants one takes turns with them for some milliseconds each,
    which would be most of the slowest hundredth. Yields whether it was allowed.
    """
    pids = [os.getpid(), *(child.pid for child in psutil.Process().children())]
    try:
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, PermissionError):
        yield False
        return
    try:
        yield True
    finally:
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def at_once(ports: Mapping[str, int]) -> Iterator[Measured]:
    """How much gets through where 16 callers never pause."""
    times, per_s = uvloop.run(_rounds(ports, PLAIN))
    for name in ports:
        yield Measured(f"{name}: the slowest 1 %, {AT_ONCE} callers", 1000 * statistics.median(times[name]), None, "ms")
        yield Measured(f"{name}: requests a second, {AT_ONCE} callers", statistics.median(per_s[name]), None, "")
    if LITELLM in ports:
        share = statistics.median(per_s[LITELLM]) / statistics.median(per_s[RIGFIT])
        yield Measured("LiteLLM's requests a second over the gateway's", share, 1 / 5, "times")


def _added_ms(times: Mapping[str, list[float]]) -> float:
    """Return the median of what the gateway adds, round by round."""
    return 1000 * statistics.median(ours - theirs for ours, theirs in zip(times[RIGFIT], times[DIRECT], strict=True))


async def _rounds(ports: Mapping[str, int], asked: bytes) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return, way by way and round by round, the slowest hundredth in seconds and requests a second."""
    ways = {name: await callers(port, AT_ONCE) for name, port in ports.items()}
    slow, per_s = {name: list[float]() for name in ports}, {name: list[float]() for name in ports}
    for turn in range(ROUNDS + 2):
        for name, several in ways.items():
            start = time.perf_counter()
            await asyncio.gather(*(caller.run(asked, EACH[name]) for caller in several))
            took = time.perf_counter() - start
            if turn > 1:  # the first ones warm up
                slow[name].append(slowest(seconds for caller in several for seconds in caller.times))
                per_s[name].append(AT_ONCE * EACH[name] / took)
    return slow, per_s


def beside(process: psutil.Process, peers: Mapping[str, psutil.Process]) -> Iterator[Measured]:
    """Memory of the routers after the same work."""
    for name, peer in peers.items():
        yield Measured(f"{name}, memory", memory_mib(peer), None, "MiB")
    if LITELLM in peers:
        share = memory_mib(process) / memory_mib(peers[LITELLM])
        yield Measured("gateway's memory over LiteLLM's", share, 1 / 4, "times")


def work(fronted: int, process: psutil.Process) -> Iterator[Measured]:
    """The processor's time that one request costs, which other programs on the machine change least."""
    caller, many = Caller(fronted), SINGLE[RIGFIT]
    for name, asked in (("plain", PLAIN), ("streamed", STREAM)):
        before = sum(process.cpu_times()[:2])
        for _ in range(many):
            caller.ask(asked)
        took = sum(process.cpu_times()[:2]) - before
        yield Measured(f"gateway, processor time a {name} request", 1000 * took / many, None, "ms")


def memory(fronted: int, process: psutil.Process) -> Iterator[Measured]:
    """Memory after warming up and after many requests more."""
    several = [Caller(fronted) for _ in range(4)]

    def ask(many: int) -> None:
        for number in range(many):
            several[number % 4].ask(PLAIN if number % 2 else STREAM)

    ask(2000)
    before = memory_mib(process)
    ask(REQUESTS)
    after = memory_mib(process)
    yield Measured(f"gateway, memory gained in {REQUESTS:,} requests", after - before, 2, "MiB")
    yield Measured("gateway, memory after them", after, 90, "MiB")


def many_streams(fronted: int, process: psutil.Process) -> Iterator[Measured]:
    """A thousand streams open at once."""
    good = uvloop.run(_streams(fronted))
    yield Measured(f"{STREAMS} streams open at once, failed", STREAMS - good, 0, "")
    yield Measured("gateway, memory after the streams", memory_mib(process), 90, "MiB")


async def _streams(port: int) -> int:
    gate = asyncio.Semaphore(100)

    async def one() -> bool:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(stream=True, user="slow"))
            got = await reader.readuntil(b"word")
        got += await reader.readuntil(END)
        writer.close()
        return got.startswith(b"HTTP/1.1 200") and got.count(b"word") == 3

    return sum(await asyncio.gather(*(one() for _ in range(STREAMS))))


def turns() -> Iterator[Measured]:
    """Two engines of which one is awake at a time."""
    engines_s = 2 * SWITCH_S
    with ExitStack() as stack:
        fronted, _ = stack.enter_context(gateway(*(stack.enter_context(engine()) for _ in "mn")))
        yield Measured("gateway adds to a switch, median", 1000 * added_s(fronted, engines_s), 20, "ms")
    with ExitStack() as stack:
        ports = [stack.enter_context(engine()) for _ in "mn"]
        fronted, _ = stack.enter_context(gateway(*ports, words=("--min-awake", str(MIN_AWAKE_S))))
        load = mixed_load(fronted)
    yield Measured("mixed load, seconds from switch to switch", load.switch_s, 60 / 24, "s")
    yield Measured("mixed load, requests lost", load.lost, 0, "")
    yield Measured("mixed load, requests answered", len(load.waits), None, "")
    yield Measured("mixed load, longest wait", max(load.waits), longest_s(engines_s), "s")


def main() -> None:
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for row in rows():
        print(f"{row.what:60}{row.value:10.3f} {row.unit:6}{'' if row.limit is None else row.limit}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
