"""Engines on this machine, as the fleet sees them: made, asked, put to sleep, and explained when they end."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from serving.causes import Cause, cause_of_exit
from serving.engine_process import EngineProcess, Exit, Process
from serving.engine_state import FleetPolicy
from serving.fetched import cache_folder, fetched_bytes
from serving.log_file import LogFile
from serving.progress import Progress
from serving.readiness import Readiness
from serving.spec import LOOPBACK, EngineSpec
from tools.domain import Note, note
from tools.settings import engine_environment

Told = Callable[[Note | None], None]
"""Takes what a person should know of an engine that runs; None when that is over."""


class Engines(Protocol):
    """What the fleet asks of the machine that engines run on."""

    def log(self, spec: EngineSpec) -> Path:
        """Return an engine's newest log file."""
        ...

    def obstacle(self, spec: EngineSpec) -> Cause | None:
        """Return what stands in an engine's way beside memory."""
        ...

    def launch(self, spec: EngineSpec, heard: Callable[[Progress], None], said: Told) -> Process:
        """Make an engine's processes.

        Args:
            spec: the engine.
            heard: told of every step of its start.
            said: told what a person should know while it runs; None when that is over.

        Raises:
            OSError: the system makes no further process.
        """
        ...

    async def fetched(self, spec: EngineSpec) -> int:
        """Return how many bytes of an engine's model have come from the hub."""
        ...

    async def well(self, spec: EngineSpec, within_s: float) -> bool:
        """Tell whether an engine says that it is well."""
        ...

    async def halted(self, process: Process) -> bool:
        """Tell whether a process of an engine is halted (SIGSTOP), so that it does nothing though it lives."""
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
        self._asks = Readiness()

    def log(self, spec: EngineSpec) -> Path:
        """Return an engine's newest log file."""
        return self._folder / f"{spec.name}.log"

    def obstacle(self, spec: EngineSpec) -> Cause | None:
        """Return what stands in an engine's way: its port is somebody else's, or its program is not there.

        A port that is asked for without sharing it is refused also where its owner would share it (socket(7),
        SO_REUSEPORT).
        """
        if sys.platform != "linux":
            return Cause(note("fleet.linux_only"), final=True)
        if not os.access(spec.argv[0], os.X_OK):
            return Cause(note("fleet.no_program", path=spec.argv[0]), final=True)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, spec.port))
            except PermissionError:
                return Cause(note("fleet.port_forbidden", port=spec.port), final=True)
            except OSError:
                return Cause(note("fleet.port_taken", port=spec.port))
        return None

    def launch(self, spec: EngineSpec, heard: Callable[[Progress], None], said: Told) -> Process:
        """Make an engine's processes, and begin its log with its command."""
        loop = asyncio.get_running_loop()

        def lost(error: OSError | None) -> None:
            told = error and note("fleet.log_lost", path=str(self.log(spec)), error=error.strerror or str(error))
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(said, told)

        log = LogFile(self.log(spec), self._policy.log_bytes, self._policy.logs, lost)
        log.begin(f"rigfit {time.strftime('%Y-%m-%d %H:%M:%S')}: {shlex.join(('vllm', *spec.argv[1:]))}")
        return EngineProcess(spec, log, heard, self._policy.stop_s)

    async def fetched(self, spec: EngineSpec) -> int:
        """Return how many bytes of an engine's model have come from the hub."""
        cache = cache_folder({**engine_environment(), **spec.env})
        return await asyncio.to_thread(fetched_bytes, cache, spec.repo) if spec.repo else 0

    async def well(self, spec: EngineSpec, within_s: float) -> bool:
        """Tell whether an engine says that it is well."""
        return await self._asks.well(spec, within_s)

    async def halted(self, process: Process) -> bool:
        """Tell whether a process of an engine is halted (SIGSTOP), so that it does nothing though it lives."""
        return process.pid is not None and await asyncio.to_thread(_halted, process.pid)

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
        """Close connections."""
        await self._asks.close()


def _halted(pid: int) -> bool:
    import psutil

    try:
        first = psutil.Process(pid)
        return any(one.status() == psutil.STATUS_STOPPED for one in (first, *first.children(recursive=True)))
    except psutil.Error:
        return False
