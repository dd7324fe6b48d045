"""The processes of one engine: started under a guardian, heard live, ended together."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from serving.engine_state import Stage
from serving.log_file import LogFile
from serving.progress import Progress, ProgressReader
from serving.spec import EngineSpec
from tools.settings import engine_environment

GUARDIAN = Path(__file__).with_name("guardian.py")
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Exit:
    """How an engine ended, once none of its processes is left.

    Attributes:
        code: the first process's exit status, below 0 for a signal as in ``subprocess``; None where nobody saw it.
        said: what the engine wrote since its start, the middle left out where that is long.
        starved: while it ran, the system killed processes because memory had run out.
    """

    code: int | None
    said: str = ""
    starved: bool = False


class Process(Protocol):
    """A running engine."""

    pid: int | None
    """Of its first process; None until that is there."""

    async def wait(self) -> Exit:
        """Return once none of its processes is left; may be called by several at once."""
        ...

    async def stop(self, within_s: float) -> None:
        """Ask it to end, kill it after some seconds, and return once none of its processes is left.

        May be called again, with a shorter time.
        """
        ...


class EngineProcess:
    """A running engine on this machine.

    Args:
        spec: the engine.
        log: where its output goes.
        heard: called in the event loop with what its output tells of the start; first once its process is there.
        stop_s: seconds that it has to end when Rigfit itself is gone.

    Raises:
        OSError: the system makes no further process or pipe.
    """

    def __init__(self, spec: EngineSpec, log: LogFile, heard: Callable[[Progress], None], stop_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard = heard
        self._log = log
        self._ended: asyncio.Future[Exit] = self._loop.create_future()
        self._code: int | None = None
        self._killed_before = oom_kills()
        self.pid: int | None = None
        status, told = os.pipe()
        try:
            self._guardian = subprocess.Popen(  # noqa: S603 - words, no shell
                [sys.executable, "-I", "-S", str(GUARDIAN), str(told), str(stop_s), "--", *spec.argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env={**engine_environment(), **spec.env},
                pass_fds=(told,),
                start_new_session=True,
            )
        except OSError:
            os.close(status)
            raise
        finally:
            os.close(told)
        threading.Thread(target=self._listen, args=(status,), name=f"engine {spec.name}", daemon=True).start()

    async def wait(self) -> Exit:
        """Return once none of its processes is left."""
        return await asyncio.shield(self._ended)

    async def stop(self, within_s: float) -> None:
        """Ask it to end, kill it after some seconds, and return once none of its processes is left."""
        control = cast(BinaryIO, self._guardian.stdin)
        with suppress(OSError, ValueError):  # the guardian has ended, or the pipe is closed because it has
            control.write(f"{within_s}\n".encode())
        await self.wait()

    def _listen(self, status: int) -> None:
        """Read the engine's output and the guardian's words until both end; runs in a thread of its own."""
        output = cast(BinaryIO, self._guardian.stdout)
        progress = ProgressReader()
        words = b""
        with selectors.DefaultSelector() as ready:
            for source in (output.fileno(), status):
                ready.register(source, selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select():
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        ready.unregister(key.fd)
                    elif key.fd == status:
                        *lines, words = (words + chunk).split(b"\n")
                        for line in lines:
                            self._told(json.loads(line))
                    else:
                        self._log.write(chunk)
                        for step in progress.feed(chunk):
                            self._tell(lambda step=step: self._heard(step))
        os.close(status)
        self._log.close()
        self._guardian.wait()
        with suppress(OSError):
            cast(BinaryIO, self._guardian.stdin).close()
            output.close()
        self._tell(self._end)

    def _told(self, words: dict[str, int]) -> None:
        self._code = words.get("exit", self._code)
        if "pid" in words:
            self.pid = words["pid"]
            self._tell(lambda: self._heard(Progress(Stage.STARTING)))

    def _tell(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(what)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(Exit(self._code, self._log.said(), oom_kills() > self._killed_before))


def oom_kills() -> int:
    """Return how many processes the system has killed since it started because memory ran out.

    Source: ``oom_kill`` of /proc/vmstat (Linux 4.13 and later; kills within a container's limit count too).
    """
    with suppress(OSError), open("/proc/vmstat", "rb") as file:
        for line in file:
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0
