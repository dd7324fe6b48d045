"""How an engine of the fleet is: its stage, what went wrong, and when it is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tools.domain import Note

if TYPE_CHECKING:
    from serving.measured import StartUp


class Stage(Enum):
    """Where an engine is between not running and ready; the order of a start is the order here."""

    WAITING = "waiting"
    """Wanted; another engine starts on its card."""
    CHECKING = "checking"
    """It is asked whether its memory is free."""
    STARTING = "starting"
    """Its processes are being made; it may fetch what it lacks."""
    LOADING = "loading"
    PROFILING = "profiling"
    CAPTURING = "capturing"
    ANSWERING = "answering"
    """It listens; its models and one token are asked for."""
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    """Not running, and nobody wants it to."""
    FAILED = "failed"
    """Not running; ``next_try`` says whether it is tried again."""
    GAVE_UP = "gave_up"
    """Not running, and only a person's wish starts it again."""


IN_START = (Stage.CHECKING, Stage.STARTING, Stage.LOADING, Stage.PROFILING, Stage.CAPTURING, Stage.ANSWERING)
"""What a start goes through, in this order; any of them may be left out, none is gone back to."""

RUNNING = frozenset({*IN_START[1:], Stage.READY, Stage.STOPPING})
"""There may be processes of the engine."""

AT_REST = frozenset({Stage.STOPPED, Stage.FAILED, Stage.GAVE_UP})
"""No process of the engine is left, and none is being made."""


def _edges() -> Mapping[Stage, frozenset[Stage]]:
    ends = {Stage.STOPPING, Stage.FAILED, Stage.GAVE_UP}
    edges = {rest: frozenset({Stage.WAITING, Stage.STOPPED}) for rest in AT_REST}
    edges[Stage.FAILED] |= {Stage.GAVE_UP}
    edges[Stage.WAITING] = frozenset({Stage.CHECKING, Stage.STOPPED})
    for number, stage in enumerate(IN_START):
        edges[stage] = frozenset({*IN_START[number + 1 :], *ends} | ({Stage.STOPPED} if number == 0 else set()))
    edges[Stage.ANSWERING] |= {Stage.READY}
    edges[Stage.READY] = frozenset(ends)
    edges[Stage.STOPPING] = AT_REST
    return edges


EDGES = _edges()
"""From each stage, those that may follow."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """An engine as it is now.

    Attributes:
        name: of the engine.
        stage: where it is.
        share: of the loading (or fetching) that is done, 0 to 1; None where it does not say.
        pid: of the engine's first process; None while there is none.
        since: when it came to this stage, in seconds since the epoch.
        ready_s: how long the last start took until it was ready, in seconds.
        restarts: how often it has been started again by itself after it failed, within the policy's window.
        reason: why it failed or is not ready; of one that is ready, what a person should know; None for nothing.
        log: its log file.
        measured: what the last start came to, where it was measured.
        next_try: when it is started again, in seconds since the epoch; None where it is not by itself.
    """

    name: str
    stage: Stage
    since: float
    log: Path
    share: float | None = None
    pid: int | None = None
    ready_s: float | None = None
    restarts: int = 0
    reason: Note | None = None
    measured: StartUp | None = None
    next_try: float | None = None


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """Limits of the fleet; times are seconds.

    Attributes:
        stop_s: from SIGTERM to SIGKILL.
        first_wait_s: before an engine that failed is started again; doubled at each further failure.
        last_wait_s: the longest such wait.
        restarts: how often an engine is started again within ``window_s`` before the fleet gives up.
        window_s: failures older than this are forgotten.
        room_s: how long an engine waits for memory that others hold.
        check_s: between two looks at a running engine.
        answer_s: how long an engine may take to say that it is well.
        hang_s: an engine that does not answer for so long is taken for hung, killed and started again.
        gone_s: longest wait for killed processes to be gone; one that the system keeps busy is no sooner.
        log_bytes: size at which a log file is put aside.
        logs: how many of an engine's older log files are kept.
    """

    stop_s: float = 20.0
    first_wait_s: float = 1.0
    last_wait_s: float = 60.0
    restarts: int = 5
    window_s: float = 600.0
    room_s: float = 30.0
    check_s: float = 5.0
    answer_s: float = 5.0
    hang_s: float = 60.0
    gone_s: float = 30.0
    log_bytes: int = 16 * 2**20
    logs: int = 3

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after the n-th failure in a row: 1, 2, 4 ... 60."""
        return min(self.last_wait_s, self.first_wait_s * 2.0 ** min(max(0, failures - 1), 30))
