"""Engines on this machine, as the fleet sees them: made, asked, put to sleep, and explained when they end."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from serving.causes import Cause, cause_of_exit
from serving.engine_process import EngineProcess, Exit, Process
from serving.engine_state import FleetPolicy
from serving.log_file import LogFile
from serving.progress import Progress
from serving.readiness import Readiness
from serving.spec import LOOPBACK, EngineSpec
from tools.domain import Note, note


class Engines(Protocol):
    """What the fleet asks of the machine that engines run on."""

    def log(self, spec: EngineSpec) -> Path:
        """Return an engine's newest log file."""
        ...

    def obstacle(self, spec: EngineSpec) -> Note | None:
        """Return what stands in an engine's way beside memory."""
        ...

    def launch(self, spec: EngineSpec, heard: Callable[[Progress], None]) -> Process:
        """Make an engine's processes; ``heard`` is told of every step of its start."""
        ...

    async def well(self, spec: EngineSpec, within_s: float) -> bool:
        """Tell whether an engine says that it is well."""
        ...

    async def unready(self, spec: EngineSpec, within_s: float) -> Note | None:
        """Return what an engine that is well still lacks; None when it is ready."""
        ...

    async def sleep(self, spec: EngineSpec, within_s: float) -> bool:
        """Put an engine to sleep."""
        ...

    async def cause(self, ended: Exit) -> Cause:
        """Return why an engine ended."""
        ...

    async def close(self) -> None:
        """Let go of what was opened."""
        ...


class LocalEngines:
    """Engines of this machine.

    Args:
        logs: folder for the log files, one ``NAME.log`` an engine.
        policy: limits.
    """

    def __init__(self, logs: Path, policy: FleetPolicy) -> None:
        self._folder = logs
        self._policy = policy
        self._logs: dict[str, LogFile] = {}
        self._asks = Readiness()

    def log(self, spec: EngineSpec) -> Path:
        """Return an engine's newest log file."""
        return self._folder / f"{spec.name}.log"

    def obstacle(self, spec: EngineSpec) -> Note | None:
        """Return what stands in an engine's way: its port is somebody else's, or its program is not there.

        vLLM lets several servers share a port (SO_REUSEPORT, entrypoints/launchers/launcher.py 0.32.0), so that it
        would not notice.
        """
        if not Path(spec.argv[0]).is_file():
            return note("fleet.no_program", path=spec.argv[0])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, spec.port))
            except OSError as error:
                if error.errno == errno.EACCES:
                    return note("fleet.port_forbidden", port=spec.port)
                return note("fleet.port_taken", port=spec.port)
        return None

    def launch(self, spec: EngineSpec, heard: Callable[[Progress], None]) -> Process:
        """Make an engine's processes; ``heard`` is told of every step of its start."""
        log = self._logs.get(spec.name)
        if log is None:
            log = self._logs[spec.name] = LogFile(self.log(spec), self._policy.log_bytes, self._policy.logs)
        log.begin()
        return EngineProcess(spec, log, heard, self._policy.stop_s)

    async def well(self, spec: EngineSpec, within_s: float) -> bool:
        """Tell whether an engine says that it is well."""
        return await self._asks.well(spec, within_s)

    async def unready(self, spec: EngineSpec, within_s: float) -> Note | None:
        """Return what an engine that is well still lacks; None when it is ready."""
        return await self._asks.unready(spec, within_s)

    async def sleep(self, spec: EngineSpec, within_s: float) -> bool:
        """Put an engine to sleep."""
        return await self._asks.sleep(spec, within_s)

    async def cause(self, ended: Exit) -> Cause:
        """Return why an engine ended, read from what it said."""
        return await asyncio.to_thread(cause_of_exit, ended)

    async def close(self) -> None:
        """Close connections and log files."""
        await self._asks.close()
        for log in self._logs.values():
            log.close()
