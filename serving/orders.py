"""The words of taking turns: what an engine does, what a look shows, what is ordered, and by which policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """What an engine does, as far as is known."""

    UNKNOWN = "unknown"
    """It did not say; it may hold the memory."""
    GONE = "down"
    """Nobody listens there: it holds nothing."""
    ASLEEP = "asleep"
    """It can be woken and holds next to nothing: it sleeps, or it is stopped and can be started."""
    WAKING = "waking"
    AWAKE = "ready"
    SLEEPING = "falling_asleep"
    SLEEPLESS = "sleepless"
    """It has no way to sleep, so it takes no part in taking turns."""


class Seen(Enum):
    """What a look at an engine shows."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    STOPPED = "stopped"
    """None of its processes runs, for sure; it can be started, which counts as waking it."""
    GONE = "gone"
    SILENT = "silent"
    CHANGING = "changing"
    """Somebody else starts or stops it."""
    SLEEPLESS = "sleepless"


@dataclass(frozen=True, slots=True)
class Policy:
    """How turns are taken.

    Attributes:
        min_awake_s: least time that an engine stays awake while others wait.
        grace_s: an engine that nobody asked for so long may go earlier.
        max_wait_s: a request that waits longer is refused; while engines are woken or put to sleep, this time stands
            still, because a request is not refused while what it waits for is under way.
        max_waiting: requests that may wait for one engine.
        ttl_s: an engine that nobody asked for so long is put to sleep although nobody else waits; None = never.
        first_backoff_s: pause after a wake or a sleep that failed; it doubles with each further failure ...
        last_backoff_s: ... up to this, or after wakes up to ten times what the one that failed took.
    """

    min_awake_s: float = 2.0
    grace_s: float = 0.5
    max_wait_s: float = 120.0
    max_waiting: int = 256
    ttl_s: float | None = None
    first_backoff_s: float = 1.0
    last_backoff_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake an engine, then say ``woke``."""

    name: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Put an engine to sleep, then say ``slept``."""

    name: str


@dataclass(frozen=True, slots=True)
class Look:
    """Look at an engine soon, then say ``saw`` with this epoch."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class GoOn:
    """Let a request go to its engine, then say ``leave`` when it is over."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a request with an error; its ticket is void.

    Attributes:
        ticket: whose.
        why: ``waited_too_long``, ``queue_full``, ``wake_failed``, ``engine_unreachable``, ``pinned_out`` or
            ``gateway_stops``.
        retry_after_s: when asking again makes sense.
        other: the engine that is in the way, where that is the reason.
    """

    ticket: int
    why: str
    retry_after_s: float
    other: str = ""


Order = Wake | Sleep | Look | GoOn | Refuse
