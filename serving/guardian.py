"""Runs one engine and lets none of its processes outlive it: a program of its own, of the standard library alone.

    python -I -S guardian.py STATUS_FD STOP_S -- COMMAND ...

Its standard input is a pipe that Rigfit holds. A line with a number of seconds ends the engine: SIGTERM, and after
those seconds SIGKILL to all that is left; a further line may shorten that. The end of the pipe (Rigfit is gone, however
it went) ends it likewise within STOP_S. To STATUS_FD it writes ``{"pid": N}`` and ``{"exit": CODE}``, CODE as in
``subprocess``. When it ends, nothing of the engine is left: a process of the engine that loses its parent becomes a
child of the guardian, also one in a session of its own (prctl(2), PR_SET_CHILD_SUBREAPER).

The guardian runs twice, one in the other, so that killing either leaves no orphan: the outer one is the parent of what
the inner one leaves, the inner one is told when the outer one dies. If both die at once, the engine is sent SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Of linux/prctl.h."""
GRACE_S = 2.0
"""From SIGTERM to SIGKILL for processes whose engine is gone already."""
OUTER_S = 5.0
"""How much longer than the inner guardian the outer one waits."""
LOOK_S = 0.05
"""Between two looks at processes that were killed; a killed process takes some time to be gone."""
CONTROL = 0


def prctl(option: int, value: int) -> None:
    """Ask the kernel for something about this process. Raises ``OSError`` where it refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def descendants() -> list[int]:
    """Return the processes below this one that still run (proc(5), ``/proc/PID/stat``: state and parent)."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state not in b"ZX":
                children.setdefault(int(parent), []).append(int(name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def reap() -> dict[int, int]:
    """Collect children that have ended; returns their exit codes."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


def send(number: int, *pids: int) -> None:
    """Send a signal to processes; those that are gone do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Guard:
    """Waits for one child, ends it when that is asked for, and clears what it leaves.

    Args:
        child: the process.
        stop_s: from SIGTERM to SIGKILL, where nobody says otherwise.
        control: where seconds are read from; None where SIGTERM alone ends the child.
        ended: told the child's exit code.
    """

    def __init__(self, child: int, stop_s: float, control: int | None, ended: Callable[[int], None]) -> None:
        self.child = child
        self.stop_s = stop_s
        self.control = control
        self.ended = ended
        self.gone = False
        self.deadline: float | None = None
        self.asked = False
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.ask)

    def ask(self, *_: object) -> None:
        """Take a signal to end."""
        self.asked = True

    def run(self) -> None:
        """Return once no process is left below this one."""
        while True:
            code = reap().get(self.child)
            if code is not None:
                self.gone = True
                self.ended(code)
                send(signal.SIGTERM, *descendants())
                self.within(GRACE_S)
            if self.gone and not descendants():
                return
            if self.asked and self.deadline is None:
                self.stop(self.stop_s)
            self.wait()

    def stop(self, seconds: float) -> None:
        """End the child; what was said before may be shortened, not lengthened."""
        if self.deadline is None and not self.gone:
            send(signal.SIGTERM, self.child)
        self.within(seconds)

    def within(self, seconds: float) -> None:
        """Kill all that is left after some seconds."""
        deadline = time.monotonic() + max(0.0, seconds)
        self.deadline = deadline if self.deadline is None else min(deadline, self.deadline)

    def wait(self) -> None:
        """Wait until something happens; kill what is left when its time is over."""
        timeout = None if self.deadline is None else self.deadline - time.monotonic()
        if timeout is not None and timeout <= 0:
            send(signal.SIGKILL, *descendants())
            timeout = LOOK_S
        watched = [self.woken] if self.control is None else [self.woken, self.control]
        ready = select.select(watched, [], [], timeout)[0]
        if self.woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.woken, 4096)
        if self.control is not None and self.control in ready:
            self.listen(os.read(self.control, 4096))

    def listen(self, said: bytes) -> None:
        """Take what Rigfit says; nothing means that it is gone."""
        for line in said.split():
            with contextlib.suppress(ValueError):
                self.stop(float(line))
        if not said:
            self.control = None
            self.stop(self.stop_s)


def main() -> int:
    """Run the engine until it ends or is to end."""
    status, stop_s = int(sys.argv[1]), float(sys.argv[2])
    command = sys.argv[sys.argv.index("--") + 1 :]
    os.set_inheritable(status, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    inner = os.fork()
    if inner:
        os.close(status)
        Guard(inner, stop_s + OUTER_S, None, lambda _: None).run()
        return 0
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # not inherited
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def tell(**words: int) -> None:
        with contextlib.suppress(OSError):  # Rigfit is gone
            os.write(status, json.dumps(words).encode() + b"\n")

    engine = start(command)
    if engine is None:
        tell(exit=127)
        return 0
    tell(pid=engine)
    Guard(engine, stop_s, CONTROL, lambda code: tell(exit=code)).run()
    return 0


def start(command: list[str]) -> int | None:
    """Start the engine; returns its process, or None after saying why not."""

    def fresh() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=fresh).pid  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        os.write(2, f"rigfit: error: {command[0]}: {getattr(error, 'strerror', None) or error}\n".encode())
        return None


if __name__ == "__main__":
    sys.exit(main())
