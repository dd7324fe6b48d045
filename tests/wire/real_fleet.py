"""A fleet over the stand-in for ``vllm``, and who of its processes is left."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import engine_program
import psutil

from serving.engine_state import EngineState, FleetPolicy, Stage
from serving.fleet import Fleet
from serving.spec import EngineSpec
from tools.domain import Note
from tools.launch.job import Unit

POLICY = FleetPolicy(stop_s=1.5, first_wait_s=0.1, room_s=0.2, check_s=0.1, answer_s=1.0, hang_s=1.5)
KEY = "only-for-this-test"


@dataclass(frozen=True)
class NoPlan:
    sleeps: bool = False


class Everywhere:
    """There is always room."""

    async def shortage(self, spec: EngineSpec) -> Note | None:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spec(command: Path, name: str, *cards: str, port: int = 0, load_s: float = 20, **env: str) -> EngineSpec:
    port = port or free_port()
    argv = (str(command), "serve", "a/b", "--port", str(port), "--served-model-name", name, f"{name}-too")
    names = (name, f"{name}-too")
    unit = cast(Unit, NoPlan())
    return EngineSpec(
        name, names, argv, {"VLLM_API_KEY": KEY, **env}, port, cards or ("nvidia:0",), load_s, False, unit
    )


class RealFleet:
    """A fleet of stand-ins in a folder."""

    def __init__(self, folder: Path, names: tuple[str, ...], faults: dict[str, Any], **more: Any) -> None:
        self.folder = folder
        command = engine_program.install(folder, faults)
        given = {"policy": POLICY, **more}
        self.seen: list[EngineState] = []
        self._read = 0
        self.specs = given.pop("specs", None) or tuple(spec(command, name) for name in names)
        self.fleet = Fleet(self.specs, logs=folder / "logs", room=Everywhere(), changed=self.seen.append, **given)

    def events(self, *what: str) -> list[dict[str, Any]]:
        return engine_program.events(self.folder, *what)

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def alive(self) -> list[psutil.Process]:
        """Everything that was started here and runs: engines, guardians, and the children of engines."""
        return processes_of(self.folder)

    async def until(self, name: str, stage: Stage, seconds: float = 30) -> EngineState:
        """Wait until an engine comes to a stage, after the one that was waited for last, however short it stays."""

        def found() -> int | None:
            later = range(self._read, len(self.seen))
            return next((n for n in later if (self.seen[n].name, self.seen[n].stage) == (name, stage)), None)

        await until(lambda: found() is not None, seconds)
        self._read = (found() or 0) + 1
        return self.seen[self._read - 1]


def processes_of(folder: Path) -> list[psutil.Process]:
    """The processes that have a folder among their words or in their environment."""
    mark, found = str(folder), []
    for process in psutil.process_iter():
        try:
            ours = any(mark in word for word in process.cmdline()) or process.environ().get("STAND_IN") == mark
            if ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def fleet(
    folder: Path, *names: str, faults: dict[str, Any] | None = None, watched: bool = True, **more: Any
) -> AsyncIterator[RealFleet]:
    """Run a fleet inside the block; afterwards nothing of it runs."""
    real = RealFleet(folder, names, faults or {}, **more)
    watch = asyncio.create_task(real.fleet.watch()) if watched else None
    try:
        yield real
        assert watch is None or not watch.done()
    finally:
        if watch is not None:
            watch.cancel()
        await real.fleet.close()
        left = real.alive()
        for process in left:
            process.kill()
        assert not left
