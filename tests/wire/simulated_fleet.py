"""A fleet of simulated engines: starts and stops them, and takes a card's memory while they run."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

from simulated_engine import SimulatedEngine

from serving.engine_state import EngineState, Stage
from tools.domain import note


class SimulatedFleet:
    """Starts and stops engines as the fleet does, and takes the card's memory for as long as their processes run."""

    def __init__(self, *engines: SimulatedEngine) -> None:
        self.engines = {engine.name: engine for engine in engines}
        self._states = {name: EngineState(name, Stage.STOPPED, time.time(), Path("log")) for name in self.engines}
        self._starts: dict[str, asyncio.Task[None]] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.raises = 0
        for engine in engines:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                engine.port = probe.getsockname()[1]
            engine.url = f"http://127.0.0.1:{engine.port}"
            engine.card.give(engine.name)

    def state(self, name: str) -> EngineState:
        return self._states[name]

    async def start(self, name: str) -> bool:
        if self.raises:
            self.raises -= 1
            raise OSError("no more processes")
        if self._states[name].stage is Stage.READY:
            return True
        start = self._starts.get(name)
        if start is None or start.done():
            start = self._starts[name] = asyncio.create_task(self._start(name))
        await asyncio.wait({start})
        return self._states[name].stage is Stage.READY

    async def stop(self, name: str) -> None:
        start = self._starts.get(name)
        if start is not None and not start.done():
            start.cancel()
            await asyncio.wait({start})
        self.stopped.append(name)
        self._to(name, Stage.STOPPING)
        await asyncio.sleep(self.engines[name].stop_s)
        await self._end(name)
        self._to(name, Stage.STOPPED)

    async def die(self, name: str) -> None:
        """Have an engine's process end by itself; a start on its way fails."""
        start = self._starts.get(name)
        if start is not None and not start.done():
            start.cancel()
            await asyncio.wait({start})
        if self._states[name].stage not in {Stage.STOPPING, Stage.STOPPED}:
            await self._end(name)
            self._to(name, Stage.FAILED, reason=note("fleet.signal", signal="SIGKILL"))

    async def close(self) -> None:
        for name in self.engines:
            await self.stop(name)

    async def _start(self, name: str) -> None:
        engine = self.engines[name]
        self.started.append(name)
        self._to(name, Stage.CHECKING)
        engine.hung = False
        engine.card.take(name)
        self._to(name, Stage.LOADING)
        try:
            await asyncio.sleep(engine.start_s)
            if engine.fail_starts:
                engine.fail_starts -= 1
                engine.card.give(name)
                self._to(name, Stage.FAILED, reason=note("fleet.exit", status=1))
                return
            engine.sleeping = False
            await engine.start()
            self._to(name, Stage.READY)
        except asyncio.CancelledError:
            await self._end(name)
            raise

    async def _end(self, name: str) -> None:
        engine = self.engines[name]
        engine.hung = False
        await engine.stop()

    def _to(self, name: str, stage: Stage, reason: Any = None) -> None:
        self._states[name] = EngineState(name, stage, time.time(), Path("log"), reason=reason)
