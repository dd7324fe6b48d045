"""A machine with engines that are only pretended: no process, every failure on demand, all of it written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from serving.causes import Cause
from serving.engine_process import Exit
from serving.engine_state import Stage
from serving.progress import Progress
from serving.spec import EngineSpec
from tools.domain import Note, note
from tools.launch.job import Unit


@dataclass(frozen=True)
class Script:
    """How one start goes.

    ``outcome``: ``ready``, ``fails`` (may be mended), ``final`` (never), ``mute`` (never ready) or ``no_process``;
    ``takes_s`` until then, of which it fetches for ``fetches_s``; ``stops_s`` from SIGTERM to the end; ``stuck``: even
    a kill does not end it.
    """

    outcome: str = "ready"
    takes_s: float = 3.0
    fetches_s: float = 0.0
    stops_s: float = 1.0
    stuck: bool = False


class PretendedProcess:
    def __init__(self, world: PretendedEngines, spec: EngineSpec, script: Script) -> None:
        self.world, self.spec, self.script = world, spec, script
        self.pid: int | None = None
        self.began = world.now()
        self.hung = self.halted = False
        self.stopping_until: float | None = None
        self.ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    @property
    def up(self) -> bool:
        """Whether it has come so far that it answers."""
        waited = self.world.now() - self.began >= self.script.takes_s
        return self.alive and waited and self.script.outcome == "ready" and not self.hung

    def end(self, code: int) -> None:
        if self.alive:
            self.ended.set_result(Exit(code, self.script.outcome))

    async def wait(self) -> Exit:
        return await asyncio.shield(self.ended)

    async def stop(self, within_s: float) -> None:
        if not self.script.stuck:
            wait = min(within_s, 1e9 if self.hung else self.script.stops_s)
            asyncio.get_running_loop().call_later(wait, self.end, -15)
        await self.wait()


@dataclass
class PretendedEngines:
    """Plays the machine (``Engines``) and its memory (``Room``)."""

    scripts: Callable[[str], Iterator[Script]]
    lacks: set[str] = field(default_factory=set)
    busy_ports: set[str] = field(default_factory=set)
    processes: dict[str, PretendedProcess] = field(default_factory=dict)
    launched: list[tuple[float, str]] = field(default_factory=list)
    slept: list[tuple[float, str]] = field(default_factory=list)
    sleeps_well: bool = True
    _next: dict[str, Iterator[Script]] = field(default_factory=dict)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def log(self, spec: EngineSpec) -> Path:
        return Path(f"/nowhere/{spec.name}.log")

    def obstacle(self, spec: EngineSpec) -> Cause | None:
        return Cause(note("fleet.port_taken", port=spec.port)) if spec.name in self.busy_ports else None

    async def shortage(self, spec: EngineSpec) -> Note | None:
        return note("fleet.late", seconds=1) if spec.name in self.lacks else None

    def launch(
        self, spec: EngineSpec, heard: Callable[[Progress], None], said: Callable[[Note | None], None]
    ) -> PretendedProcess:
        script = next(self._next.setdefault(spec.name, self.scripts(spec.name)))
        if script.outcome == "no_process":
            raise OSError(11, "Resource temporarily unavailable")
        process = PretendedProcess(self, spec, script)
        old = self.processes.get(spec.name)
        assert old is None or not old.alive, f"{spec.name} runs twice"
        self.processes[spec.name] = process
        self.launched.append((self.now(), spec.name))
        process.pid = 1000 + len(self.launched)
        loop = asyncio.get_running_loop()
        for number, stage in enumerate((Stage.STARTING, Stage.LOADING, Stage.PROFILING, Stage.LOADING)):
            fetched_s = script.fetches_s if number > 1 else 0
            loop.call_later(fetched_s + number * (script.takes_s - script.fetches_s) / 4, heard, Progress(stage))
        if script.outcome in {"fails", "final"}:
            loop.call_later(script.takes_s, process.end, 1)
        return process

    async def fetched(self, spec: EngineSpec) -> int:
        process = self.processes[spec.name]
        until = min(self.now() - process.began, process.script.fetches_s)
        return int(until * 1000)

    async def well(self, spec: EngineSpec, within_s: float) -> bool:
        process = self.processes[spec.name]
        if process.alive and process.hung:
            await asyncio.sleep(within_s)
            return False
        await asyncio.sleep(0.001)
        return process.up

    async def unready(self, spec: EngineSpec, within_s: float) -> Note | None:
        await asyncio.sleep(0.01)
        return None if self.processes[spec.name].up else note("fleet.no_token", name=spec.name, status=503)

    async def halted(self, process: Any) -> bool:
        return process.halted

    async def sleep(self, spec: EngineSpec, within_s: float) -> bool:
        await asyncio.sleep(0.5)
        self.slept.append((self.now(), spec.name))
        return self.sleeps_well

    async def cause(self, ended: Exit) -> Cause:
        await asyncio.sleep(0.3)
        return Cause(note("fleet.exit", status=ended.code), final=ended.said == "final")

    async def close(self) -> None:
        pass


@dataclass(frozen=True)
class PretendedUnit:
    sleeps: bool = False


def spec(name: str, *cards: str, load_s: float = 60.0, sleeps: bool = False, port: int = 9000) -> EngineSpec:
    """An engine whose plan does not matter."""
    unit = cast(Unit, PretendedUnit(sleeps))
    argv, cards = ("/bin/vllm", "serve", "a/b"), cards or ("nvidia:0",)
    # its files come at 1,000 bytes a second
    return EngineSpec(name, (name,), argv, {}, port, cards, load_s, sleeps, unit, repo="a/b", file_bytes=200_000)
