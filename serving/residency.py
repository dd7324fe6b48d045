"""Who of several engines is awake, where only one can be: decisions alone, without clocks, sockets or tasks.

A ``Group`` is told what happens (somebody asks, an engine woke, a look saw it asleep) and at what time, and answers
with orders (wake this one, put that one to sleep, let this request go on). The rules:

- An engine is woken only where no other one holds the card's memory or may hold it.
- A request goes on only to an engine that is awake, and an engine is put to sleep only when none of them is running.
- The engine that waits longest is next; all that wait for it go on together.
- An engine that was woken stays awake for a least time, and not shorter than the last switch took, so that switching
  takes half of the time at most. It may go earlier where nobody asked for it lately.
- Then it takes no new requests, lets the running ones finish, and sleeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from serving.orders import GoOn, Look, Order, Phase, Policy, Refuse, Seen, Sleep, Wake

_HOLDING = frozenset({Phase.UNKNOWN, Phase.WAKING, Phase.AWAKE, Phase.SLEEPING})
_SEEN_AS = {
    Seen.AWAKE: Phase.AWAKE,
    Seen.ASLEEP: Phase.ASLEEP,
    Seen.GONE: Phase.GONE,
    Seen.SLEEPLESS: Phase.SLEEPLESS,
}
LOOK_AGAIN_S = 1.0
"""A request for an engine that is gone has it looked at again, if the last look is older than this."""


@dataclass(slots=True)
class _Resident:
    name: str
    phase: Phase = Phase.UNKNOWN
    since: float = 0.0
    epoch: int = 0
    running: set[int] = field(default_factory=set[int])
    waiting: dict[int, float] = field(default_factory=dict[int, float])
    wished: float | None = None
    pinned: bool = False
    missed: Phase | None = None
    """What the last order was to reach and did not; None again when a look has shown what it left."""
    failures: int = 0
    not_before: float = 0.0
    touched: float = 0.0
    served: bool = False

    @property
    def oldest_claim(self) -> float | None:
        """When the longest waiting request, or a wish for this engine, came."""
        claims = [*([self.wished] if self.wished is not None else []), *list(self.waiting.values())[:1]]
        return min(claims, default=None)

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting


class Group:
    """Engines of which one may be awake.

    Times are seconds of any clock that never goes back.
    """

    def __init__(self, names: Iterable[str], policy: Policy, now: float) -> None:
        self._residents = {name: _Resident(name, since=now, touched=now) for name in names}
        self._policy = policy
        self._tickets: dict[int, _Resident] = {}
        self._last_ticket = 0
        self._keeper: _Resident | None = None
        self._took_s = {Phase.AWAKE: 0.0, Phase.ASLEEP: 0.0}
        self._orders: list[Order] = []

    # what others may know

    def phase(self, name: str) -> Phase:
        """Return what an engine does."""
        return self._residents[name].phase

    def epoch(self, name: str) -> int:
        """Return the number of an engine's phase; what a look saw counts only while it is the same."""
        return self._residents[name].epoch

    def waiting(self, name: str) -> int:
        """Return how many requests wait for an engine."""
        return len(self._residents[name].waiting)

    def pinned(self) -> str | None:
        """Return the engine that is held awake."""
        return next((resident.name for resident in self._residents.values() if resident.pinned), None)

    def due(self, now: float) -> float | None:
        """Return when ``tick`` should be called at the latest, if nothing happens before."""
        return min((at for at in self._times() if at > now), default=None)

    def orders(self) -> list[Order]:
        """Return the orders since the last call, in the order in which they are to be begun."""
        orders, self._orders = self._orders, []
        return orders

    # what requests do

    def ask(self, name: str, now: float) -> int:
        """Let a request ask for an engine; it is over with a ``Refuse``, or after ``leave``."""
        resident = self._residents[name]
        self._last_ticket += 1
        ticket = self._last_ticket
        if not self._refused_at_once(ticket, resident, now):
            self._tickets[ticket] = resident
            resident.waiting[ticket] = resident.touched = now
            self._step(now)
        return ticket

    def leave(self, ticket: int, now: float) -> None:
        """End a request: it is answered, or whoever asked has gone away. A ticket that is void is none."""
        resident = self._tickets.pop(ticket, None)
        if resident is None:
            return
        resident.waiting.pop(ticket, None)
        if ticket in resident.running:
            resident.running.discard(ticket)
            resident.touched = now
        self._step(now)

    def wish(self, name: str, now: float) -> None:
        """Have an engine woken as if somebody waited for it."""
        resident = self._residents[name]
        if resident.wished is None and resident.phase is not Phase.AWAKE:
            resident.wished = now
        self._step(now)

    def pin(self, name: str, now: float) -> bool:
        """Keep an engine awake until ``unpin``; returns False where another one is pinned."""
        if self.pinned() not in {None, name}:
            return False
        self._residents[name].pinned = True
        self.wish(name, now)
        return True

    def unpin(self, name: str, now: float) -> None:
        """Let an engine take turns again."""
        self._residents[name].pinned = False
        self._step(now)

    # what engines do

    def woke(self, name: str, good: bool, now: float) -> None:
        """Note the end of a ``Wake``."""
        self._done(self._residents[name], Phase.AWAKE, good, now)

    def slept(self, name: str, good: bool, now: float) -> None:
        """Note the end of a ``Sleep``."""
        self._done(self._residents[name], Phase.ASLEEP, good, now)

    def saw(self, name: str, seen: Seen, epoch: int, now: float) -> None:
        """Note what a look showed; it is old where the engine's phase has changed since it began."""
        resident = self._residents[name]
        if epoch != resident.epoch or resident.phase in {Phase.WAKING, Phase.SLEEPING}:
            return
        if seen is Seen.SILENT:
            if resident.phase is Phase.GONE:
                self._enter(resident, Phase.UNKNOWN, now)
        else:
            self._saw(resident, _SEEN_AS[seen], now)
        self._step(now)

    def lost(self, name: str, now: float) -> None:
        """Note that a request could not reach an engine."""
        resident = self._residents[name]
        self._orders.append(Look(name, resident.epoch))
        self._step(now)

    def tick(self, now: float) -> None:
        """Let time pass."""
        self._step(now)

    # the rules

    def _refused_at_once(self, ticket: int, resident: _Resident, now: float) -> bool:
        pinned = self.pinned()
        if len(resident.waiting) >= self._policy.max_waiting:
            self._orders.append(Refuse(ticket, "queue_full", self._policy.min_awake_s))
        elif resident.phase is Phase.ASLEEP and now < resident.not_before:
            self._orders.append(Refuse(ticket, "wake_failed", resident.not_before - now))
        elif resident.phase is Phase.GONE and not resident.waiting and now - resident.touched < LOOK_AGAIN_S:
            self._orders.append(Refuse(ticket, "engine_unreachable", LOOK_AGAIN_S))
        elif resident.phase is not Phase.SLEEPLESS and pinned not in {None, resident.name}:
            self._orders.append(Refuse(ticket, "pinned_out", self._policy.max_wait_s, pinned or ""))
        else:
            if resident.phase is Phase.GONE:
                self._orders.append(Look(resident.name, resident.epoch))
            return False
        return True

    def _done(self, resident: _Resident, reached: Phase, good: bool, now: float) -> None:
        if good:
            self._took_s[reached] = now - resident.since
            resident.failures, resident.not_before = 0, 0.0
            self._enter(resident, reached, now)
        else:
            resident.failures += 1
            resident.missed = reached
            self._enter(resident, Phase.UNKNOWN, now)
            self._orders.append(Look(resident.name, resident.epoch))
        self._step(now)

    def _saw(self, resident: _Resident, phase: Phase, now: float) -> None:
        if phase is not resident.phase:
            self._enter(resident, phase, now)
        missed, resident.missed = resident.missed, None
        if phase is Phase.GONE:
            resident.touched = now
            self._refuse_all(resident, "engine_unreachable", LOOK_AGAIN_S)
        elif missed is phase:
            resident.failures, resident.not_before = 0, 0.0
        elif missed is not None:
            self._pause(resident, now)
        if phase is Phase.ASLEEP and resident.running and resident.wished is None:
            resident.wished = now  # somebody else put it to sleep under its requests

    def _pause(self, resident: _Resident, now: float) -> None:
        """Wait before the order that failed is given again."""
        pause = self._policy.first_backoff_s * 2 ** min(resident.failures - 1, 16)
        pause = min(pause, self._policy.last_backoff_s)
        resident.not_before = now + pause
        if resident.phase is Phase.ASLEEP:
            resident.wished = None
            self._refuse_all(resident, "wake_failed", pause)

    def _enter(self, resident: _Resident, phase: Phase, now: float) -> None:
        resident.phase, resident.since = phase, now
        resident.epoch += 1
        if phase is Phase.AWAKE:
            resident.served, resident.touched = False, now

    def _step(self, now: float) -> None:
        """Give every order that the rules demand now."""
        for resident in self._residents.values():
            self._expire(resident, now)
            if resident.phase is Phase.SLEEPLESS:
                self._let_in(resident, now)
        keeper = self._keeper = self._choose_keeper()
        for resident in self._residents.values():
            if resident.phase is Phase.AWAKE and resident is not keeper:
                self._put_to_sleep(resident, now)
        if keeper is not None:
            self._serve_or_leave(keeper, now)
        elif not any(resident.phase in _HOLDING for resident in self._residents.values()):
            self._wake_next(now)

    def _choose_keeper(self) -> _Resident | None:
        """Return who is awake by right: the same as before, else the pinned one, else the one most wanted."""
        if self._keeper is not None and self._keeper.phase is Phase.AWAKE:
            return self._keeper
        awake = [resident for resident in self._residents.values() if resident.phase is Phase.AWAKE]
        far = float("inf")
        return min(
            awake,
            key=lambda one: (not one.pinned, not one.running, far if one.oldest_claim is None else one.oldest_claim),
            default=None,
        )

    def _serve_or_leave(self, keeper: _Resident, now: float) -> None:
        rivals = [resident for resident in self._residents.values() if self._may_wake(resident, now)]
        if keeper.pinned:
            for rival in rivals:
                rival.wished = None
                self._refuse_all(rival, "pinned_out", self._policy.max_wait_s, keeper.name)
        elif (rivals and self._may_leave(keeper, now)) or self._is_forgotten(keeper, now):
            self._put_to_sleep(keeper, now)
            return
        self._let_in(keeper, now)

    def _let_in(self, resident: _Resident, now: float) -> None:
        if resident.wished is not None:
            resident.served, resident.wished = True, None
        for ticket in resident.waiting:
            resident.running.add(ticket)
            resident.served, resident.touched = True, now
            self._orders.append(GoOn(ticket))
        resident.waiting.clear()

    def _put_to_sleep(self, resident: _Resident, now: float) -> None:
        if resident.running or now < resident.not_before:
            return
        self._enter(resident, Phase.SLEEPING, now)
        self._orders.append(Sleep(resident.name))

    def _wake_next(self, now: float) -> None:
        claims = [(one.oldest_claim, one) for one in self._residents.values() if self._may_wake(one, now)]
        if claims:
            _, chosen = min(claims, key=lambda claim: (not claim[1].pinned, claim[0] or now))
            self._enter(chosen, Phase.WAKING, now)
            self._orders.append(Wake(chosen.name))

    def _may_wake(self, resident: _Resident, now: float) -> bool:
        """Tell whether an engine sleeps, is wanted, and may be woken again."""
        wanted = resident.pinned or resident.oldest_claim is not None
        return resident.phase is Phase.ASLEEP and wanted and now >= resident.not_before

    def _may_leave(self, keeper: _Resident, now: float) -> bool:
        """Tell whether the engine that is awake has had its time."""
        if keeper.idle and not keeper.served and keeper.wished is None and now >= keeper.not_before:
            return True
        return now >= self._leaves_at(keeper)

    def _leaves_at(self, keeper: _Resident) -> float:
        switch_s = min(sum(self._took_s.values()), self._policy.max_wait_s / 4)
        at = keeper.since + max(self._policy.min_awake_s, switch_s)
        if keeper.idle:
            at = min(at, keeper.touched + self._policy.grace_s)
        return max(at, keeper.not_before)

    def _is_forgotten(self, keeper: _Resident, now: float) -> bool:
        ttl = self._policy.ttl_s
        return ttl is not None and keeper.idle and keeper.wished is None and now >= keeper.touched + ttl

    def _expire(self, resident: _Resident, now: float) -> None:
        oldest = now - self._policy.max_wait_s
        late = [ticket for ticket, asked in resident.waiting.items() if asked <= oldest]
        for ticket in late:
            self._refuse(ticket, resident, "waited_too_long", self._policy.min_awake_s)
        if resident.wished is not None and resident.wished <= oldest:
            resident.wished = None

    def _refuse_all(self, resident: _Resident, why: str, retry_after_s: float, other: str = "") -> None:
        for ticket in list(resident.waiting):
            self._refuse(ticket, resident, why, retry_after_s, other)

    def _refuse(self, ticket: int, resident: _Resident, why: str, retry_after_s: float, other: str = "") -> None:
        del resident.waiting[ticket], self._tickets[ticket]
        self._orders.append(Refuse(ticket, why, retry_after_s, other))

    def _times(self) -> Iterator[float]:
        """Yield the times at which a rule may demand something new."""
        policy = self._policy
        for resident in self._residents.values():
            claim = resident.oldest_claim
            if claim is not None:
                yield claim + policy.max_wait_s
                yield resident.not_before
            if resident.phase is Phase.AWAKE:
                yield self._leaves_at(resident)
                if policy.ttl_s is not None and resident.idle:
                    yield resident.touched + policy.ttl_s
