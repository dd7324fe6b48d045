"""What a group remembers of each engine, and the time by which it bounds waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from serving.orders import Phase


class Claim(NamedTuple):
    """When somebody began to wait.

    Attributes:
        at: by the clock, in seconds.
        served_at: by ``ServedTime``, in seconds.
    """

    at: float
    served_at: float


class ServedTime:
    """Seconds in which engines were there for requests: it stands still while one is woken or put to sleep."""

    def __init__(self) -> None:
        self._left_out_s = 0.0
        self._switching_since: float | None = None

    @property
    def stands(self) -> bool:
        """Whether it stands still."""
        return self._switching_since is not None

    def at(self, now: float) -> float:
        """Return the time that the clock ``now`` means."""
        return (now if self._switching_since is None else self._switching_since) - self._left_out_s

    def note(self, switching: bool, now: float) -> None:
        """Stand still from now on, or go on."""
        if switching and self._switching_since is None:
            self._switching_since = now
        elif not switching and self._switching_since is not None:
            self._left_out_s += now - self._switching_since
            self._switching_since = None

    def count(self, seconds: float) -> None:
        """Count some of the time that was left out after all."""
        self._left_out_s -= seconds


@dataclass(slots=True)
class Resident:
    """One engine of a group; times are seconds of the group's clock.

    Attributes:
        name: of the engine.
        phase: what it does.
        since: when it came to this phase.
        epoch: number of this phase.
        running: tickets of the requests that it has.
        waiting: tickets of the requests that wait for it, the oldest first.
        wished: when its owner wished it awake; None where that is done.
        pinned: it is kept awake.
        missed: what the last order was to reach and did not; None again when a look has shown what it left.
        failures: orders that failed in a row.
        tried_s: how long the last of them took.
        not_before: when the order that failed may be given again.
        doubtful: a request could not reach it, so nobody goes on until a look has shown what it does.
        touched: when somebody last asked for it or was done with it.
        served: it has been of use since it woke.
    """

    name: str
    phase: Phase = Phase.UNKNOWN
    since: float = 0.0
    epoch: int = 0
    running: set[int] = field(default_factory=set[int])
    waiting: dict[int, Claim] = field(default_factory=dict[int, Claim])
    wished: Claim | None = None
    pinned: bool = False
    missed: Phase | None = None
    failures: int = 0
    tried_s: float = 0.0
    not_before: float = 0.0
    doubtful: bool = False
    touched: float = 0.0
    served: bool = False

    @property
    def oldest_claim(self) -> Claim | None:
        """When the longest waiting request, or a wish for this engine, came."""
        claims = [*([self.wished] if self.wished is not None else []), *list(self.waiting.values())[:1]]
        return min(claims, default=None)

    @property
    def idle(self) -> bool:
        """Whether no request has it or waits for it."""
        return not self.running and not self.waiting
