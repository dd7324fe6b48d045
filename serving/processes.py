"""Which process a number means: one that is gone gives its number to another some day."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def birth(pid: int) -> str | None:
    """Return what tells this process from every other that had or will have its number, or None where it is gone.

    On Linux that is the boot and the clock tick at which it began (proc(5), ``/proc/pid/stat``, field 22), which no
    change of the clock touches; elsewhere the time at which it began. A process that only waits to be reaped is gone.
    """
    if sys.platform == "linux":
        return _linux(pid)
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{process.create_time():.2f}"
    return None


def lives(pid: int | None, born: str | None) -> bool:
    """Tell whether a process that was noted runs still."""
    return bool(pid and born) and birth(pid or 0) == born


def _linux(pid: int) -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # after the name come the fields from the third on: state, ... and the start is the 22nd
    return None if words[0] in {b"Z", b"X"} else f"{boot}:{int(words[19])}"
