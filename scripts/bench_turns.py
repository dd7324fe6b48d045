"""Two engines that take turns: what a switch costs beyond the engines' own time, and switches under mixed load."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import NamedTuple
from urllib.request import urlopen

import uvloop
from bench_net import Caller, is_whole, request

SWITCHES = 8
LOAD_S = 40.0
CALLERS = 4
"""For each of the two models: two that want whole answers, two that want streams."""
THINK_S = 0.05
MIN_AWAKE_S = 1.8
ANSWER_S = 0.1
"""What the slowest answer may take under this load, once its engine is awake."""


class Load(NamedTuple):
    """What came of some seconds of mixed load.

    Attributes:
        waits: how long each request took, in seconds.
        lost: requests without a whole and good answer.
        switch_s: seconds from one change of the model to the next.
    """

    waits: list[float]
    lost: int
    switch_s: float


def added_s(fronted: int, engines_s: float) -> float:
    """Return what a request for the engine that sleeps takes beyond the engines' own sleep and wake."""
    caller, times = Caller(fronted), list[float]()
    for number in range(SWITCHES):
        time.sleep(0.8)  # nobody asks for the engine that is awake
        times.append(caller.ask(request("mn"[number % 2]))[1])
    return statistics.median(times[2:]) - engines_s


def longest_s(engines_s: float) -> float:
    """Return the longest wait by the policy's rule for two engines (serving/residency.py)."""
    overhead_s = 0.02
    return 2 * (engines_s + overhead_s + ANSWER_S) + MIN_AWAKE_S


def mixed_load(fronted: int) -> Load:
    """Ask for both models all the time."""
    before = _wakes(fronted)
    start = time.perf_counter()
    waits, lost = uvloop.run(_ask_both(fronted, start + LOAD_S))
    took_s = time.perf_counter() - start
    return Load(waits, lost, took_s / max(1, _wakes(fronted) - before))


async def _ask_both(port: int, end: float) -> tuple[list[float], int]:
    found = await asyncio.gather(
        *(_ask(port, request(model, stream=bool(number % 2)), end) for model in "mn" for number in range(CALLERS))
    )
    return [wait for waits, _ in found for wait in waits], sum(lost for _, lost in found)


async def _ask(port: int, asked: bytes, end: float) -> tuple[list[float], int]:
    """Ask again and again; returns how long each answer took, and how many did not come whole and good."""
    waits, lost = list[float](), 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        start, got = time.perf_counter(), b""
        writer.write(asked)
        while not is_whole(got) and (piece := await reader.read(65536)):
            got += piece
        waits.append(time.perf_counter() - start)
        if not is_whole(got) or not got.startswith(b"HTTP/1.1 200"):
            lost += 1
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(THINK_S)
    writer.close()
    return waits, lost


def _wakes(port: int) -> float:
    """Return how many wakes the gateway has counted."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counts = [
        line for line in lines if line.startswith("rigfit_gateway_switch_seconds_count") and 'what="wake"' in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in counts)
