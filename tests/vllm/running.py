"""A fleet of real engines and the gateway before it, in an event loop of their own thread, so that tests just ask."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
from kept_models import OFFLINE, VLLM
from openai import OpenAI

from serving.config import GatewayConfig, Upstream
from serving.engine_state import EngineState, FleetPolicy, Stage
from serving.fleet import Fleet, Measure
from serving.fleet_control import OwnEngines
from serving.orders import Policy
from serving.room import MachineRoom, Room
from serving.server import opened
from serving.spec import EngineSpec, specs
from tools.domain import Plan
from tools.launch.choices import Choices
from tools.launch.job import prepare

KEY = "only-for-this-test"
POLICY = FleetPolicy(first_wait_s=0.5, check_s=1.0, answer_s=2.0, hang_s=6.0, room_s=5.0)
_T = TypeVar("_T")


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def engine_specs(plan: Plan, *flags: str, **env: str) -> tuple[EngineSpec, ...]:
    """Make engines of a plan, for the processor, on free ports.

    Args:
        plan: what to run.
        flags: further words for every engine.
        env: further variables.
    """
    (job,) = prepare(plan, None, "en", choices=Choices(cpu=True))
    made = specs(job, command=VLLM, ports=free_ports(len(job.units)), key=KEY, env=OFFLINE | env)
    return tuple(replace(one, argv=(*one.argv, *flags)) for one in made)


class Running:
    """Engines and what has been told of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fleet: Fleet, told: list[EngineState]) -> None:
        self.loop, self.fleet, self.told = loop, fleet, told
        self.url = ""

    def do(self, what: Coroutine[Any, Any, _T], within_s: float = 300) -> _T:
        """Run something in the fleet's loop."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(within_s)

    def state(self, name: str) -> EngineState:
        return self.fleet.state(name)

    def becomes(self, name: str, *stages: Stage, within_s: float = 200) -> EngineState:
        """Wait until an engine is at one of some stages."""
        self.until(lambda: self.state(name).stage in stages, within_s, lambda: str(self.state(name)))
        return self.state(name)

    def until(self, met: Callable[[], bool], within_s: float, what: Callable[[], str] = str) -> None:
        deadline = time.monotonic() + within_s
        while not met():
            assert time.monotonic() < deadline, what()
            time.sleep(0.05)

    def stages(self, name: str) -> list[Stage]:
        """Return the stages that were told of an engine, each once in a row."""
        told = [state.stage for state in self.told if state.name == name]
        return [stage for n, stage in enumerate(told) if n == 0 or told[n - 1] is not stage]

    def processes(self, name: str) -> list[psutil.Process]:
        """Return an engine's processes, the first one first."""
        pid = self.state(name).pid
        if pid is None:
            return []
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]

    def client(self, url: str = "") -> OpenAI:
        return OpenAI(base_url=f"{url or self.url}/v1", api_key=KEY, max_retries=0, timeout=240)


@contextmanager
def running(
    engines: Iterable[EngineSpec],
    folder: Path,
    *,
    room: Room | None = None,
    measure: Measure | None = None,
    swap: str = "",
    start: bool | None = None,
    policy: FleetPolicy = POLICY,
    turns: Policy | None = None,
) -> Iterator[Running]:
    """Run engines, watched, and a gateway; leaving the block ends all of them.

    Args:
        engines: what to run.
        folder: for the logs.
        room: who knows how much memory is free; this machine by default.
        measure: what measures starts.
        swap: ``sleep`` where they take turns by vLLM's sleep routes, ``restart`` where by stopping and starting; then
            those that are asked for are started, and none before.
        start: whether they are started at first; by default where they take no turns.
        policy: limits of the fleet.
        turns: how turns are taken.
    """
    loop, engines, told = asyncio.new_event_loop(), tuple(engines), list[EngineState]()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    done, is_up = asyncio.Event(), threading.Event()
    fleet = Fleet(
        engines,
        logs=folder,
        room=room or MachineRoom(),
        policy=policy,
        changed=told.append,
        measure=measure,
        on_demand={one.name for one in engines} if swap else (),
    )
    here = Running(loop, fleet, told)

    async def whole() -> None:
        async with _fronted(fleet, engines, swap, turns or Policy()) as url:
            here.url = url
            is_up.set()
            await done.wait()

    work = asyncio.run_coroutine_threadsafe(whole(), loop)
    try:
        while not is_up.wait(0.1):
            if work.done():
                work.result()
        if start or (start is None and not swap):
            assert here.do(fleet.start_all()), [str(state) for state in fleet.states]
        yield here
    finally:
        loop.call_soon_threadsafe(done.set)
        work.result(120)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@asynccontextmanager
async def _fronted(fleet: Fleet, engines: tuple[EngineSpec, ...], swap: str, turns: Policy) -> AsyncIterator[str]:
    """Watch a fleet and front it."""
    names = tuple(name for one in engines for name in one.served_names)
    upstreams = tuple(Upstream(name, one.url, "ENGINE_KEY") for one in engines for name in one.served_names)
    groups = (names,) if swap else ()
    config = GatewayConfig(upstreams, port=0, keys=(KEY,), check_s=1.0, groups=groups, policy=turns)
    own = OwnEngines.of(fleet, engines)
    if swap == "sleep":  # the processor's vLLM has the routes without the flag
        own = replace(own, sleepers=frozenset(own.names))
    watching = asyncio.ensure_future(fleet.watch())
    try:
        async with opened(config, {"ENGINE_KEY": KEY}, own=own) as url:
            yield url
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await fleet.close()
