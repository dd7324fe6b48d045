"""Who of several engines is awake, where only one can be: decisions alone, without clocks, sockets or tasks.

A ``Group`` is told what happens (somebody asks, an engine woke, a look saw it asleep) and at what time, and answers
with orders (wake this one, put that one to sleep, let this request go on). The rules:

- An engine is woken only where no other one holds the card's memory or may hold it.
- A request goes on only to an engine that is awake, and an engine is put to sleep only when none of them is running.
- The engine that waits longest is next; all that wait for it go on together.
- An engine that was woken stays awake for a least time, and not shorter than the last switch took, so that switching
  takes half of the time at most; but all the others' turns together take half of the longest wait at most. It may go
  earlier where nobody asked for it lately.
- Then it takes no new requests, lets the running ones finish, and sleeps.
- A wait is bounded by the time in which others are served. What switches take comes on top: each of them is bounded
  by whoever carries it out, and no engine has two turns before the one that waits longest.

So with n engines that answer within D, switches that take S and turns of T = max(least time, min(S, longest wait /
2(n-1))), a request waits n (S + D) + (n-1) T at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serving.orders import GoOn, Look, Order, Phase, Policy, Refuse, Seen, Sleep, Wake
from serving.resident import Claim, Resident, ServedTime

_SWITCHING = frozenset({Phase.WAKING, Phase.SLEEPING})
_HOLDING = frozenset({Phase.UNKNOWN, Phase.WAKING, Phase.AWAKE, Phase.SLEEPING})
_SEEN_AS = {
    Seen.AWAKE: Phase.AWAKE,
    Seen.ASLEEP: Phase.ASLEEP,
    Seen.STOPPED: Phase.ASLEEP,
    Seen.GONE: Phase.GONE,
    Seen.SLEEPLESS: Phase.SLEEPLESS,
}
LOOK_AGAIN_S = 1.0
"""A request for an engine that is gone has it looked at again, if the last look is older than this."""
CLOSED_RETRY_S = 5.0
"""When asking again makes sense for who was refused because the gateway stops: another may be there then."""
_GRACE_SHARE = 1 / 20
"""An engine that nobody asks for stays awake for this share of what a switch takes, before it goes early."""
_ROUNDING_S = 1e-6
"""So much too early a wait may end: sums of times are not exact, and nobody comes back for what is missing."""
_WASTE = 10
"""Wakes that fail again and again take one in so many parts of the time at most."""


class Group:
    """Engines of which one may be awake.

    Times are seconds of any clock that never goes back.
    """

    def __init__(self, names: Iterable[str], policy: Policy, now: float) -> None:
        self._residents = {name: Resident(name, since=now, touched=now) for name in names}
        self._policy = policy
        self._tickets: dict[int, Resident] = {}
        self._last_ticket = 0
        self._keeper: Resident | None = None
        self._took_s = {Phase.AWAKE: 0.0, Phase.ASLEEP: 0.0}
        self._served = ServedTime()
        self._closed = False
        self._stepped = now
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

    def is_unclear(self, name: str) -> bool:
        """Tell whether a look should soon show what an engine does."""
        resident = self._residents[name]
        return resident.doubtful or resident.phase is Phase.UNKNOWN

    def at_once(self, name: str, now: float) -> bool:
        """Tell whether a request for an engine would go on without waiting."""
        resident = self._residents[name]
        if resident.phase is not Phase.AWAKE:
            return resident.phase is Phase.SLEEPLESS
        return resident is self._keeper and not resident.doubtful and not self._is_leaving(resident, now)

    def pinned(self) -> str | None:
        """Return the engine that is held awake."""
        return next((resident.name for resident in self._residents.values() if resident.pinned), None)

    def due(self) -> float | None:
        """Return when ``tick`` should be called at the latest, if nothing happens before.

        It may have passed already: what counts is when the rules were last applied, since timers may end too early.
        """
        return min((at for at in self._times(self._stepped) if at > self._stepped), default=None)

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
            resident.waiting[ticket] = self._claim(now)
            resident.touched = now
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
        """Have an engine woken as if somebody waited for it, also where it has failed to wake just now."""
        resident = self._residents[name]
        if resident.phase is Phase.ASLEEP:
            resident.not_before = 0.0
        if resident.wished is None and resident.phase is not Phase.AWAKE:
            resident.wished = self._claim(now)
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

    def close(self, now: float) -> None:
        """Give no more orders but to those requests that can go on at once; refuse all others."""
        self._step(now)
        self._closed = True
        for resident in self._residents.values():
            self._refuse_all(resident, "gateway_stops", CLOSED_RETRY_S)

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
        if seen in _SEEN_AS:
            resident.doubtful = False
            self._saw(resident, seen, now)
        elif resident.phase is Phase.GONE or (seen is Seen.CHANGING and resident.phase is not Phase.UNKNOWN):
            self._enter(resident, Phase.UNKNOWN, now)
        self._step(now)

    def lost(self, name: str, now: float) -> None:
        """Note that a request could not reach an engine; what looks saw before does not count."""
        resident = self._residents[name]
        if resident.phase not in _SWITCHING:
            resident.doubtful = True
            resident.epoch += 1
        self._orders.append(Look(name, resident.epoch))
        self._step(now)

    def tick(self, now: float) -> None:
        """Let time pass."""
        self._step(now)

    # the rules

    def _refused_at_once(self, ticket: int, resident: Resident, now: float) -> bool:
        pinned = self.pinned()
        if self._closed:
            self._orders.append(Refuse(ticket, "gateway_stops", CLOSED_RETRY_S))
        elif len(resident.waiting) >= self._policy.max_waiting:
            self._orders.append(Refuse(ticket, "queue_full", self._soon_s()))
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

    def _done(self, resident: Resident, reached: Phase, good: bool, now: float) -> None:
        took_s = now - resident.since
        if good:
            self._took_s[reached] = took_s
            resident.failures, resident.not_before = 0, 0.0
            self._enter(resident, reached, now)
        else:
            resident.failures += 1
            resident.missed, resident.tried_s = reached, took_s
            if reached is Phase.ASLEEP:
                self._served.count(took_s)  # it may fail for ever, and a wait has an end
            self._enter(resident, Phase.UNKNOWN, now)
            self._orders.append(Look(resident.name, resident.epoch))
        self._step(now)

    def _saw(self, resident: Resident, seen: Seen, now: float) -> None:
        phase = _SEEN_AS[seen]
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
        if seen is Seen.ASLEEP and resident.running and resident.wished is None:
            resident.wished = self._claim(now)  # somebody else put it to sleep under its requests

    def _pause(self, resident: Resident, now: float) -> None:
        """Wait before the order that failed is given again."""
        first, last = self._policy.first_backoff_s, self._policy.last_backoff_s
        if resident.phase is Phase.ASLEEP:
            first, last = max(first, resident.tried_s), max(last, _WASTE * resident.tried_s)
        pause = min(first * 2 ** min(resident.failures - 1, 16), last)
        resident.not_before = now + pause
        if resident.phase is Phase.ASLEEP:
            resident.wished = None
            self._refuse_all(resident, "wake_failed", pause)

    def _enter(self, resident: Resident, phase: Phase, now: float) -> None:
        resident.phase, resident.since = phase, now
        resident.epoch += 1
        resident.doubtful = False
        if phase is Phase.AWAKE:
            resident.served, resident.touched = False, now
        self._served.note(any(one.phase in _SWITCHING for one in self._residents.values()), now)

    def _claim(self, now: float) -> Claim:
        return Claim(now, self._served.at(now))

    def _step(self, now: float) -> None:
        """Give every order that the rules demand now."""
        self._stepped = now
        if self._closed:
            return
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

    def _choose_keeper(self) -> Resident | None:
        """Return who is awake by right: the same as before, else the pinned one, else the one most wanted."""
        if self._keeper is not None and self._keeper.phase is Phase.AWAKE:
            return self._keeper
        awake = [resident for resident in self._residents.values() if resident.phase is Phase.AWAKE]
        far = float("inf")
        return min(
            awake,
            key=lambda one: (not one.pinned, not one.running, far if one.oldest_claim is None else one.oldest_claim.at),
            default=None,
        )

    def _serve_or_leave(self, keeper: Resident, now: float) -> None:
        if keeper.pinned:
            for rival in self._rivals(now):
                rival.wished = None
                self._refuse_all(rival, "pinned_out", self._policy.max_wait_s, keeper.name)
        elif self._is_leaving(keeper, now):
            self._put_to_sleep(keeper, now)
            return
        if not keeper.doubtful:
            self._let_in(keeper, now)

    def _rivals(self, now: float) -> list[Resident]:
        return [resident for resident in self._residents.values() if self._may_wake(resident, now)]

    def _is_leaving(self, keeper: Resident, now: float) -> bool:
        """Tell whether the engine that is awake takes no new requests, because it goes to sleep."""
        if keeper.pinned:
            return False
        return (self._may_leave(keeper, now) and bool(self._rivals(now))) or self._is_forgotten(keeper, now)

    def _let_in(self, resident: Resident, now: float) -> None:
        if resident.wished is not None:
            resident.served, resident.wished = True, None
        for ticket in resident.waiting:
            resident.running.add(ticket)
            resident.served, resident.touched = True, now
            self._orders.append(GoOn(ticket))
        resident.waiting.clear()

    def _put_to_sleep(self, resident: Resident, now: float) -> None:
        if resident.running or now < resident.not_before:
            return
        self._enter(resident, Phase.SLEEPING, now)
        self._orders.append(Sleep(resident.name))

    def _wake_next(self, now: float) -> None:
        claims = [(one.oldest_claim, one) for one in self._residents.values() if self._may_wake(one, now)]
        if claims:
            _, chosen = min(claims, key=lambda claim: (not claim[1].pinned, claim[0].at if claim[0] else now))
            self._enter(chosen, Phase.WAKING, now)
            self._orders.append(Wake(chosen.name))

    def _may_wake(self, resident: Resident, now: float) -> bool:
        """Tell whether an engine sleeps, is wanted, and may be woken again."""
        wanted = resident.pinned or resident.oldest_claim is not None
        return resident.phase is Phase.ASLEEP and wanted and now >= resident.not_before

    def _may_leave(self, keeper: Resident, now: float) -> bool:
        """Tell whether the engine that is awake has had its time."""
        if keeper.idle and not keeper.served and keeper.wished is None and now >= keeper.not_before:
            return True
        return now >= self._leaves_at(keeper)

    def _leaves_at(self, keeper: Resident) -> float:
        others = max(1, len(self._residents) - 1)
        turn_s = max(self._policy.min_awake_s, min(self._switch_s(), self._policy.max_wait_s / 2 / others))
        at = keeper.since + turn_s
        if keeper.idle:
            at = min(at, keeper.touched + max(self._policy.grace_s, self._switch_s() * _GRACE_SHARE))
        return max(at, keeper.not_before)

    def _switch_s(self) -> float:
        """Return how long it took to put one engine to sleep and to wake another, the last time."""
        return sum(self._took_s.values())

    def _soon_s(self) -> float:
        """Return when asking again makes sense for who was refused because others are busy."""
        return max(self._policy.min_awake_s, self._switch_s())

    def _is_forgotten(self, keeper: Resident, now: float) -> bool:
        ttl = self._policy.ttl_s
        return ttl is not None and keeper.idle and keeper.wished is None and now >= keeper.touched + ttl

    def _expire(self, resident: Resident, now: float) -> None:
        oldest = self._served.at(now) - self._policy.max_wait_s + _ROUNDING_S
        late = [ticket for ticket, claim in resident.waiting.items() if claim.served_at <= oldest]
        for ticket in late:
            self._refuse(ticket, resident, "waited_too_long", self._soon_s())
        if resident.wished is not None and resident.wished.served_at <= oldest:
            resident.wished = None

    def _refuse_all(self, resident: Resident, why: str, retry_after_s: float, other: str = "") -> None:
        for ticket in list(resident.waiting):
            self._refuse(ticket, resident, why, retry_after_s, other)

    def _refuse(self, ticket: int, resident: Resident, why: str, retry_after_s: float, other: str = "") -> None:
        del resident.waiting[ticket], self._tickets[ticket]
        self._orders.append(Refuse(ticket, why, retry_after_s, other))

    def _times(self, now: float) -> Iterator[float]:
        """Yield the times at which a rule may demand something new."""
        policy, served_s = self._policy, self._served.at(now)
        for resident in self._residents.values():
            claim = resident.oldest_claim
            if claim is not None:
                if not self._served.stands:
                    yield now + (claim.served_at + policy.max_wait_s - served_s)
                yield resident.not_before
            if resident.phase is Phase.AWAKE:
                yield self._leaves_at(resident)
                if policy.ttl_s is not None and resident.idle:
                    yield resident.touched + policy.ttl_s
