"""Runs one engine and lets none of its processes outlive it: a program of its own, of the standard library alone.

    python -I -S guardian.py STATUS_FD STOP_S -- COMMAND ...

It leads a session of its own. Its standard input is a pipe that Rigfit holds: a line with a number of seconds, or the
end of the pipe (Rigfit is gone, however it went), ends the engine: SIGTERM, and SIGKILL to all that is left after those
seconds. To STATUS_FD it writes ``{"pid": N}`` and ``{"exit": CODE}``. When it ends, nothing of the engine is left: it
is made the parent of every process of the engine that loses its own (prctl(2), PR_SET_CHILD_SUBREAPER), also of those
in sessions of their own. It runs twice, one in the other, so that killing one of the two leaves no orphan either.
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

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_S = 2.0
"""From SIGTERM to SIGKILL for processes whose engine is gone already."""
POLL_S = 0.05


def prctl(option: int, value: int) -> None:
    """Ask the kernel for something about this process; systems other than Linux have no such call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants() -> list[int]:
    """Return the processes below this one that still run."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] not in b"ZX":
                    children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def reap() -> dict[int, int]:
    """Collect the ended children; returns their statuses."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended[pid] = status
    return ended


def send(number: int, pids: list[int]) -> None:
    """Send a signal to processes; those that are gone do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def clear(grace_s: float) -> None:
    """End every process below this one: SIGTERM, some seconds, SIGKILL until none is left."""
    send(signal.SIGTERM, descendants())
    deadline = time.monotonic() + grace_s
    while reap() or True:
        left = descendants()
        if not left:
            return
        if time.monotonic() >= deadline:
            send(signal.SIGKILL, left)
        time.sleep(POLL_S)


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
        outer(inner)
        return 0
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    watch(command, status, stop_s)
    return 0


def outer(inner: int) -> None:
    """Wait for the inner guardian; clear what it may have left."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(inner, signal.SIGTERM))
    while inner not in reap():
        time.sleep(POLL_S)
    clear(GRACE_S)


def watch(command: list[str], status: int, stop_s: float) -> None:
    """Start the engine, wait until it ends or is to end, and clear what is left."""
    ending: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))

    def tell(**words: int) -> None:
        with contextlib.suppress(OSError):
            os.write(status, json.dumps(words).encode() + b"\n")

    def fresh() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=fresh)  # noqa: S603
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        tell(exit=127)
        return
    tell(pid=engine.pid)
    deadline = None
    while engine.poll() is None:
        ready = select.select([0] if deadline is None else [], [], [], POLL_S)[0]
        if ready:
            words = os.read(0, 64).strip()
            with contextlib.suppress(ValueError):
                stop_s = float(words) if words else stop_s
            ending.append(True)
        if ending and deadline is None:
            deadline = time.monotonic() + stop_s
            send(signal.SIGTERM, [engine.pid])
        if deadline is not None and time.monotonic() >= deadline:
            send(signal.SIGKILL, descendants())
    tell(exit=engine.returncode)
    clear(GRACE_S)


if __name__ == "__main__":
    sys.exit(main())
