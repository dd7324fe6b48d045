"""Ends a run from another process, and what a run that crashed left behind."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from serving.processes import lives
from serving.runs import STOPPED, RunRecord, Runs
from tools.errors import ServiceError

PATIENT_S = 90.0
"""A run may finish requests for 30 s (``Limits.drain_s``) and end engines for 20 s (``FleetPolicy.stop_s``)."""
HURRIED_S = 40.0
"""After the second signal requests are not waited for."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """What was done.

    Attributes:
        stopped: it ran; otherwise it was gone already.
        left_over: processes of its engines that had stayed behind, and were ended.
    """

    stopped: bool
    left_over: tuple[int, ...] = ()


def end_run(runs: Runs, run: RunRecord, *, now: bool = False) -> Ended:
    """End a run as its user wishes, so that it is not resumed.

    Its process gets SIGTERM; where it has not ended in time a second one, then SIGKILL, after which the guardians of
    its engines end these. A number that another process has by now is left alone.

    Args:
        runs: where it is kept.
        run: which.
        now: running requests are not waited for.

    Raises:
        ServiceError: its process can't be ended: it is another user's.
    """
    stopped = run.running
    if stopped:
        _end(run.pid, run.born, (PATIENT_S, HURRIED_S), at_once=now)
    left = tuple(_left_over(runs.read(run.port) or run))
    runs.end(run, STOPPED)
    return Ended(stopped, left)


def _left_over(run: RunRecord) -> list[int]:
    """End engines whose run is gone; returns their numbers."""
    found = [(one.pid, one.born) for one in run.engines if lives(one.pid, one.born)]
    time.sleep(0.2 if found else 0.0)
    for pid, born in found:
        if pid and born:
            _end(pid, born, (30.0, 5.0))
    return [pid for pid, _ in found if pid]


def _end(pid: int, born: str, limits_s: tuple[float, float], *, at_once: bool = False) -> None:
    """Send SIGTERM, after a while again, at last SIGKILL; returns when the process is gone."""
    first_s, second_s = limits_s
    for number, within_s in ((signal.SIGTERM, 0.3 if at_once else first_s), (signal.SIGTERM, second_s), (_KILL, 10.0)):
        try:
            with suppress(ProcessLookupError):
                if lives(pid, born):
                    os.kill(pid, number)
        except PermissionError as error:
            raise ServiceError("run.not_yours", pid=pid) from error
        if _gone(pid, born, within_s):
            return
    raise ServiceError("run.not_ended", pid=pid)


_KILL = signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM


def _gone(pid: int, born: str, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while lives(pid, born):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True
