"""Taking turns, decided: by example, and against a world that a random schedule drives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.orders import GoOn, Look, Order, Phase, Policy, Refuse, Seen, Sleep, Wake
from serving.residency import Group

POLICY = Policy(min_awake_s=2.0, grace_s=0.5, max_wait_s=60.0, max_waiting=3)


def group(*names: str, awake: str | None = None, policy: Policy = POLICY) -> Group:
    """A group whose engines have been looked at, at time 0."""
    made = Group(names, policy, 0.0)
    for name in names:
        made.saw(name, Seen.AWAKE if name == awake else Seen.ASLEEP, made.epoch(name), 0.0)
    assert not made.orders()
    return made


def test_the_first_request_wakes_its_engine_and_goes_on() -> None:
    g = group("a", "b")
    ticket = g.ask("a", 1.0)
    assert g.orders() == [Wake("a")]
    second = g.ask("a", 1.1)
    assert g.orders() == []
    g.woke("a", True, 3.0)
    assert g.orders() == [GoOn(ticket), GoOn(second)]


def test_nobody_is_woken_before_every_engine_has_been_seen() -> None:
    g = Group(("a", "b"), POLICY, 0.0)
    g.ask("a", 0.0)
    g.saw("a", Seen.ASLEEP, g.epoch("a"), 0.1)
    assert g.orders() == []
    g.saw("b", Seen.ASLEEP, g.epoch("b"), 0.2)
    assert g.orders() == [Wake("a")]


def test_a_switch_waits_for_the_least_time_and_for_running_requests() -> None:
    g = group("a", "b", awake="a")
    mine = g.ask("a", 0.0)
    other = g.ask("b", 0.5)
    assert g.orders() == [GoOn(mine)]
    assert g.due() == 2.0
    late = g.ask("a", 1.9)
    assert g.orders() == [GoOn(late)]
    g.tick(2.0)
    behind = g.ask("a", 2.1)
    assert g.orders() == []  # it leaves, but two are running
    g.leave(mine, 3.0)
    assert g.orders() == []
    g.leave(late, 4.0)
    assert g.orders() == [Sleep("a")]
    g.slept("a", True, 5.0)
    assert g.orders() == [Wake("b")]
    g.woke("b", True, 6.0)
    assert g.orders() == [GoOn(other)]
    g.leave(other, 6.1)
    g.tick(6.6)
    assert g.orders() == [Sleep("b")]  # nobody asked for it for the grace
    g.slept("b", True, 7.0)
    assert g.orders() == [Wake("a")]
    g.woke("a", True, 8.0)
    assert g.orders() == [GoOn(behind)]


def test_the_engine_stays_awake_at_least_as_long_as_a_switch_takes() -> None:
    g = group("a", "b", awake="a")
    g.ask("b", 0.0)
    assert g.orders() == [Sleep("a")]  # nobody uses a
    g.slept("a", True, 4.0)
    g.woke("b", True, 10.0)
    g.ask("a", 10.0)
    assert g.due() == 20.0


def test_a_rule_that_came_due_since_the_last_step_is_not_forgotten() -> None:
    g = group("a", "b", awake="a")
    g.leave(g.ask("a", 0.0), 0.1)
    g.ask("b", 0.2)
    due = g.due()
    assert due is not None
    g.tick(due - 1e-4)  # a timer that ends a little early
    g.orders()
    g.ask("b", due - 1e-5)
    assert g.due() == due
    g.tick(due + 1.0)
    assert g.orders() == [Sleep("a")]


def test_who_waits_longest_is_next() -> None:
    g = group("a", "b", "c", awake="a")
    mine = g.ask("a", 0.0)
    g.ask("c", 0.1)
    g.ask("b", 0.2)
    g.leave(mine, 2.5)
    assert g.orders()[-1] == Sleep("a")
    g.slept("a", True, 3.0)
    assert g.orders() == [Wake("c")]


def test_if_those_who_wait_go_away_the_engine_goes_on() -> None:
    g = group("a", "b", awake="a")
    g.ask("a", 0.0)
    other = g.ask("b", 0.1)
    g.tick(2.0)
    behind = g.ask("a", 2.1)
    g.orders()
    g.leave(other, 2.2)
    assert g.orders() == [GoOn(behind)]


def test_an_engine_woken_for_nobody_makes_room_at_once() -> None:
    g = group("a", "b")
    gone = g.ask("a", 0.0)
    g.leave(gone, 0.1)
    g.ask("b", 0.2)
    assert g.orders() == [Wake("a")]
    g.woke("a", True, 1.0)
    assert g.orders() == [Sleep("a")]


def test_bounds() -> None:
    g = group("a", "b", awake="a")
    g.ask("a", 0.0)
    g.orders()
    tickets = [g.ask("b", 1.0) for _ in range(4)]
    assert g.orders() == [Refuse(tickets[3], "queue_full", 2.0)]
    g.tick(50.0)
    assert g.due() == 61.0
    g.tick(61.0)
    assert g.orders() == [Refuse(ticket, "waited_too_long", 2.0) for ticket in tickets[:3]]


def test_a_wake_that_fails_pauses_longer_each_time() -> None:
    g = group("a", "b")
    now = 0.0
    for pause in (1.0, 2.0, 4.0):
        ticket = g.ask("a", now)
        assert g.orders() == [Wake("a")]
        g.woke("a", False, now)
        assert g.orders() == [Look("a", g.epoch("a"))]
        g.saw("a", Seen.ASLEEP, g.epoch("a"), now)
        assert g.orders() == [Refuse(ticket, "wake_failed", pause)]
        soon = g.ask("a", now + pause / 2)
        assert g.orders() == [Refuse(soon, "wake_failed", pause / 2)]
        now += pause
    g.ask("b", now)
    assert g.orders() == [Wake("b")]


def test_a_wake_that_only_seemed_to_fail() -> None:
    g = group("a", "b")
    ticket = g.ask("a", 0.0)
    g.woke("a", False, 1.0)
    g.orders()
    g.saw("a", Seen.AWAKE, g.epoch("a"), 1.1)
    assert g.orders() == [GoOn(ticket)]


def test_an_engine_that_would_not_sleep_keeps_working() -> None:
    g = group("a", "b", awake="a")
    g.ask("b", 0.0)
    assert g.orders() == [Sleep("a")]
    g.slept("a", False, 1.0)
    g.orders()
    g.saw("a", Seen.AWAKE, g.epoch("a"), 1.0)
    mine = g.ask("a", 1.1)
    assert g.orders() == [GoOn(mine)]
    g.leave(mine, 1.2)
    g.tick(1.9)
    assert g.orders() == []
    g.tick(2.0)
    assert g.orders() == [Sleep("a")]


def test_an_engine_that_is_gone_holds_nothing() -> None:
    g = group("a", "b", awake="a")
    mine = g.ask("a", 0.0)
    ticket = g.ask("b", 0.1)
    g.orders()
    g.leave(mine, 0.2)
    g.lost("a", 0.2)
    assert g.orders() == [Look("a", g.epoch("a"))]
    g.saw("a", Seen.GONE, g.epoch("a"), 0.3)
    assert g.orders() == [Wake("b")]
    refused = g.ask("a", 0.4)
    assert g.orders() == [Refuse(refused, "engine_unreachable", 1.0)]
    back = g.ask("a", 2.0)
    assert g.orders() == [Look("a", g.epoch("a"))]
    g.woke("b", True, 2.1)
    g.saw("a", Seen.AWAKE, g.epoch("a"), 2.2)
    assert g.orders() == [GoOn(ticket), Sleep("a")]
    g.slept("a", True, 3.0)
    g.leave(ticket, 5.0)
    assert g.orders() == [Sleep("b")]
    g.slept("b", True, 5.5)
    g.woke("a", True, 6.0)
    assert g.orders() == [Wake("a"), GoOn(back)]


def test_old_looks_do_not_count() -> None:
    g = group("a", "b")
    before = g.epoch("a")
    g.ask("a", 0.0)
    g.woke("a", True, 1.0)
    g.saw("a", Seen.ASLEEP, before, 1.1)
    assert g.phase("a") is Phase.AWAKE


def test_an_engine_put_to_sleep_by_others_is_woken_for_its_requests() -> None:
    g = group("a", "b", awake="a")
    g.ask("a", 0.0)
    g.orders()
    g.saw("a", Seen.ASLEEP, g.epoch("a"), 1.0)
    assert g.orders() == [Wake("a")]


def test_a_wish_wakes_ahead_of_requests() -> None:
    g = group("a", "b", awake="a")
    g.wish("b", 1.0)
    assert g.orders() == [Sleep("a")]
    g.slept("a", True, 2.0)
    assert g.orders() == [Wake("b")]
    g.ask("a", 2.5)
    g.woke("b", True, 3.0)
    assert g.orders() == []  # it has what it was woken for: its time
    g.tick(3.5)
    assert g.orders() == [Sleep("b")]


def test_a_pinned_engine_stays() -> None:
    g = group("a", "b", awake="a")
    assert g.pin("b", 0.0)
    assert not g.pin("a", 0.0)
    assert g.orders() == [Sleep("a")]
    out = g.ask("a", 0.1)
    assert g.orders() == [Refuse(out, "pinned_out", 60.0, "b")]
    g.slept("a", True, 1.0)
    g.woke("b", True, 2.0)
    assert g.orders() == [Wake("b")]
    g.tick(1000.0)
    assert g.orders() == []
    g.unpin("b", 1001.0)
    g.ask("a", 1001.0)
    assert g.orders() == [Sleep("b")]


def test_an_idle_engine_sleeps_after_its_time_to_live() -> None:
    g = group("a", "b", policy=Policy(ttl_s=30.0))
    ticket = g.ask("a", 0.0)
    g.woke("a", True, 1.0)
    g.leave(ticket, 10.0)
    g.orders()
    assert g.due() == 40.0
    g.tick(39.0)
    assert g.orders() == []
    g.tick(40.0)
    assert g.orders() == [Sleep("a")]


def test_an_engine_that_can_not_sleep_takes_no_part() -> None:
    g = Group(("a", "b"), POLICY, 0.0)
    first = g.ask("a", 0.0)
    g.saw("a", Seen.SLEEPLESS, g.epoch("a"), 0.1)
    assert g.orders() == [GoOn(first)]
    g.saw("b", Seen.ASLEEP, g.epoch("b"), 0.1)
    g.ask("b", 0.2)
    assert g.orders() == [Wake("b")]


def test_a_start_that_takes_long_is_waited_for() -> None:
    g = group("a", "b")
    ticket = g.ask("a", 0.0)
    late = g.ask("b", 0.0)
    assert g.orders() == [Wake("a")]
    g.tick(300.0)
    assert g.orders() == []
    assert g.due() is None
    g.woke("a", True, 301.0)
    assert g.orders() == [GoOn(ticket)]
    assert g.due() == 331.0  # a's turn: half of the longest wait, shorter than the switch
    g.tick(331.0)
    g.tick(361.0)
    assert g.orders() == [Refuse(late, "waited_too_long", 301.0)]


def test_sleeps_that_fail_do_not_prolong_waits() -> None:
    g = group("a", "b", awake="a")
    late = g.ask("b", 0.0)
    assert g.orders() == [Sleep("a")]
    g.slept("a", False, 70.0)
    assert g.orders() == [Look("a", g.epoch("a")), Refuse(late, "waited_too_long", 2.0)]


def test_the_turns_of_all_others_take_half_of_the_longest_wait() -> None:
    g = group("a", "b", "c", "d", awake="a")
    g.ask("b", 0.0)
    g.slept("a", True, 40.0)
    g.woke("b", True, 80.0)
    g.ask("a", 80.0)
    assert g.due() == 80.0 + 60.0 / 2 / 3


def test_an_idle_engine_stays_for_a_share_of_what_switching_costs() -> None:
    g = group("a", "b", awake="a")
    mine = g.ask("b", 0.0)
    g.slept("a", True, 10.0)
    g.woke("b", True, 40.0)
    g.leave(mine, 41.0)
    g.ask("a", 41.5)
    assert g.due() == 43.0  # 2 of 40
    g.orders()
    g.tick(43.0)
    assert g.orders() == [Sleep("b")]


def test_an_engine_that_has_ended_is_woken_when_it_is_asked() -> None:
    g = group("a", "b", awake="a")
    running = g.ask("a", 0.0)
    g.orders()
    g.saw("a", Seen.STOPPED, g.epoch("a"), 1.0)
    assert g.orders() == []  # its request breaks off by itself, and nobody else has asked
    g.leave(running, 1.1)
    other = g.ask("b", 1.2)
    assert g.orders() == [Wake("b")]
    g.woke("b", True, 2.0)
    assert g.orders() == [GoOn(other)]
    g.leave(other, 5.0)
    g.ask("a", 5.0)
    g.tick(5.0)
    assert g.orders() == [Sleep("b")]
    g.slept("b", True, 6.0)
    assert g.orders() == [Wake("a")]


def test_a_pinned_engine_that_has_ended_is_woken_unasked() -> None:
    g = group("a", "b", awake="a")
    g.pin("a", 0.0)
    g.saw("a", Seen.STOPPED, g.epoch("a"), 1.0)
    assert g.orders() == [Wake("a")]


def test_nobody_is_woken_beside_one_that_others_start_or_stop() -> None:
    g = group("a", "b", awake="a")
    g.saw("a", Seen.CHANGING, g.epoch("a"), 1.0)
    g.ask("b", 1.0)
    mine = g.ask("a", 1.1)
    assert g.orders() == []
    g.saw("a", Seen.STOPPED, g.epoch("a"), 2.0)
    assert g.orders() == [Wake("b")]
    g.saw("a", Seen.CHANGING, g.epoch("a"), 2.5)
    g.woke("b", True, 3.0)
    g.orders()
    g.saw("a", Seen.AWAKE, g.epoch("a"), 3.5)
    assert g.orders() == [Sleep("a")]  # two are awake, by no order of this group
    assert g.waiting("a") == 1
    g.leave(mine, 4.0)


def test_after_a_request_was_lost_nobody_goes_on_until_a_look() -> None:
    g = group("a", "b", awake="a")
    before = g.epoch("a")
    lost = g.ask("a", 0.0)
    g.orders()
    g.lost("a", 0.1)
    assert g.orders() == [Look("a", g.epoch("a"))]
    again = g.ask("a", 0.1)
    g.leave(lost, 0.1)
    g.saw("a", Seen.AWAKE, before, 0.2)  # a look that began before says nothing
    assert g.orders() == []
    assert not g.at_once("a", 0.2)
    g.saw("a", Seen.AWAKE, g.epoch("a"), 0.3)
    assert g.orders() == [GoOn(again)]


def test_wakes_that_fail_late_are_tried_again_late() -> None:
    g = group("a", "b")
    now = 0.0
    for pause in (40.0, 80.0, 160.0, 320.0, 400.0, 400.0):
        g.ask("a", now)
        assert g.orders() == [Wake("a")]
        g.woke("a", False, now + 40.0)
        g.orders()
        g.saw("a", Seen.STOPPED, g.epoch("a"), now + 40.0)
        (refuse,) = g.orders()
        assert isinstance(refuse, Refuse)
        assert refuse.retry_after_s == pause
        now += 40.0 + pause


def test_a_wish_does_not_wait_until_trying_again_is_due() -> None:
    g = group("a", "b")
    g.ask("a", 0.0)
    g.woke("a", False, 40.0)
    g.saw("a", Seen.STOPPED, g.epoch("a"), 40.0)
    g.orders()
    g.wish("a", 41.0)
    assert g.orders() == [Wake("a")]


def test_a_closed_group_switches_no_more() -> None:
    g = group("a", "b", awake="a")
    mine = g.ask("a", 0.0)
    other = g.ask("b", 0.1)
    g.orders()
    g.close(1.0)
    assert g.orders() == [Refuse(other, "gateway_stops", 5.0)]
    late = g.ask("a", 1.1)
    assert g.orders() == [Refuse(late, "gateway_stops", 5.0)]
    g.leave(mine, 10.0)
    g.tick(100.0)
    assert g.orders() == []


def test_who_would_go_on_at_once() -> None:
    g = group("a", "b", awake="a")
    assert g.at_once("a", 0.0)
    assert not g.at_once("b", 0.0)
    mine = g.ask("a", 0.0)
    g.ask("b", 0.1)
    assert g.at_once("a", 1.9)
    assert not g.at_once("a", 2.0)  # it is to go
    g.leave(mine, 3.0)
    assert not g.at_once("a", 3.0)


# Against a world


@dataclass
class Engine:
    """What an engine really does."""

    state: str = "asleep"  # asleep, waking, awake, sleeping, ending, dead
    hung: bool = False
    running: set[int] = field(default_factory=set)


HOLDING = {"awake", "waking", "sleeping", "ending"}
"""States in which an engine may hold the memory."""


class World(RuleBasedStateMachine):
    """Engines with delays and faults, callers that come and go, and the group between them."""

    faults = True
    own = False
    """Whether engines are processes of Rigfit's: one that is dead can be started, and one that hangs is ended."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.engines: dict[str, Engine] = {}
        self.asked: dict[int, tuple[str, float]] = {}
        self.served_s = 0.0
        self.switching: dict[str, float] = {}
        self.waiting: set[int] = set()
        self.over: set[int] = set()
        self.looks: list[tuple[str, Seen, int]] = []
        self.policy = Policy(min_awake_s=2.0, grace_s=0.5, max_wait_s=30.0, max_waiting=5)

    @initialize(count=st.integers(2, 3), awake=st.integers(0, 2))
    def begin(self, count: int, awake: int) -> None:
        self.engines = {name: Engine() for name in "abc"[:count]}
        if awake < count:
            self.engines["abc"[awake]].state = "awake"
        self.group = Group(self.engines, self.policy, self.now)
        for name in self.engines:
            self.group.saw(name, self.seen(name), self.group.epoch(name), self.now)
        self.obey()

    # the world's side of orders

    def seen(self, name: str) -> Seen:
        engine = self.engines[name]
        if engine.hung:
            return Seen.SILENT
        dead = Seen.STOPPED if self.own else Seen.GONE
        seen = {"dead": dead, "awake": Seen.AWAKE, "sleeping": Seen.AWAKE, "ending": Seen.CHANGING}
        return seen.get(engine.state, Seen.ASLEEP)

    def obey(self) -> None:
        for order in self.group.orders():
            self.carry_out(order)

    def carry_out(self, order: Order) -> None:
        match order:
            case Wake(name):
                others = {n: e.state for n, e in self.engines.items() if n != name}
                assert not HOLDING & set(others.values()), (name, others)
                self.switching[name] = self.now
                if self.own or self.engines[name].state != "dead":
                    self.engines[name].state = "waking"
            case Sleep(name):
                self.switching[name] = self.now
                assert not self.engines[name].running, "put to sleep under running requests"
                if self.engines[name].state == "awake":
                    self.engines[name].state = "sleeping"
            case GoOn(ticket):
                assert ticket in self.waiting
                name = self.asked[ticket][0]
                state = self.engines[name].state
                assert state in {"awake", "dead", "ending"}, f"forwarded to {name}, which is {state}"
                self.waiting.discard(ticket)
                self.engines[name].running.add(ticket)
            case Refuse(ticket):
                assert ticket in self.waiting
                self.waiting.discard(ticket)
                self.over.add(ticket)
            case Look(name, epoch):
                self.looks.append((name, self.seen(name), epoch))

    def pending(self, phase: Phase) -> list[str]:
        return [name for name in self.engines if self.group.phase(name) is phase]

    # callers

    @rule(pick=st.integers(0, 2), many=st.integers(1, 3))
    def ask(self, pick: int, many: int) -> None:
        name = list(self.engines)[pick % len(self.engines)]
        for _ in range(many):
            # the ticket is known only afterwards, its fate may be sealed before
            ticket = self.group.ask(name, self.now)
            assert ticket not in self.asked
            self.asked[ticket] = (name, self.served_s)
            self.waiting.add(ticket)
            self.obey()

    @precondition(lambda self: self.waiting)
    @rule(pick=st.integers(0, 100))
    def go_away(self, pick: int) -> None:
        ticket = sorted(self.waiting)[pick % len(self.waiting)]
        self.waiting.discard(ticket)
        self.over.add(ticket)
        self.group.leave(ticket, self.now)
        self.obey()

    @precondition(lambda self: any(engine.running for engine in self.engines.values()))
    @rule(pick=st.integers(0, 100))
    def finish(self, pick: int) -> None:
        running = sorted(ticket for engine in self.engines.values() for ticket in engine.running)
        self.end(running[pick % len(running)])

    def end(self, ticket: int) -> None:
        self.engines[self.asked[ticket][0]].running.discard(ticket)
        self.over.add(ticket)
        self.group.leave(ticket, self.now)
        self.obey()

    # time and engines

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.6, 2.1, 7.0, 31.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.group.due()) is not None and due <= end:
            self.go_on(due)
            self.group.tick(self.now)
            self.obey()
        self.go_on(end)

    def go_on(self, until: float) -> None:
        """Let time pass; that in which engines are switched does not count for those who wait."""
        if not self.switching:
            self.served_s += until - self.now
        self.now = until

    @rule(pick=st.integers(0, 2), good=st.booleans())
    def engine_finishes(self, pick: int, good: bool) -> None:
        busy = [*self.pending(Phase.WAKING), *self.pending(Phase.SLEEPING)]
        if busy:
            self.complete(busy[pick % len(busy)], good or not self.faults)

    def complete(self, name: str, good: bool) -> None:
        engine = self.engines[name]
        waking = self.group.phase(name) is Phase.WAKING
        if self.own:
            good = self.end_or_start(engine, waking, good)
        elif engine.state == "dead" or engine.hung:
            good = False  # who hangs gets round to it when it goes on
        elif engine.state in {"waking", "sleeping"}:
            engine.state = "awake" if waking is good else "asleep"
        began = self.switching.pop(name)
        if not waking and not good:
            self.served_s += self.now - began
        (self.group.woke if waking else self.group.slept)(name, good, self.now)
        self.obey()

    def end_or_start(self, engine: Engine, waking: bool, good: bool) -> bool:
        """Complete an order as the fleet does: what does not wake is started anew, what does not sleep is ended."""
        bad = engine.hung or engine.state in {"dead", "ending"}
        engine.hung = False
        if waking:
            engine.state = "awake" if good else "dead"
            return good
        if bad:
            engine.state = "dead" if good else "ending"
        else:
            engine.state = "asleep" if good else "ending"
        return good

    @precondition(lambda self: self.looks)
    @rule(pick=st.integers(0, 100))
    def look_ends(self, pick: int) -> None:
        name, seen, epoch = self.looks.pop(pick % len(self.looks))
        self.group.saw(name, seen, epoch, self.now)
        self.obey()

    @rule(pick=st.integers(0, 2))
    def look(self, pick: int) -> None:
        name = list(self.engines)[pick % len(self.engines)]
        self.group.saw(name, self.seen(name), self.group.epoch(name), self.now)
        self.obey()

    @precondition(lambda self: self.faults)
    @rule(pick=st.integers(0, 2))
    def engine_dies(self, pick: int) -> None:
        name = list(self.engines)[pick % len(self.engines)]
        self.engines[name].state = "dead"
        self.engines[name].hung = False
        for ticket in list(self.engines[name].running):
            self.end(ticket)
        self.group.lost(name, self.now)
        self.obey()

    @precondition(lambda self: self.faults)
    @rule(pick=st.integers(0, 2), hung=st.booleans())
    def engine_hangs_or_recovers(self, pick: int, hung: bool) -> None:
        engine = self.engines[list(self.engines)[pick % len(self.engines)]]
        engine.hung = hung and engine.state != "dead"
        self.catch_up(engine)

    def catch_up(self, engine: Engine) -> None:
        """Have an engine that no longer hangs do what it was told meanwhile, before it answers anything else."""
        told = next(name for name, other in self.engines.items() if other is engine)
        if not engine.hung and self.group.phase(told) not in {Phase.WAKING, Phase.SLEEPING}:
            engine.state = {"waking": "awake", "sleeping": "asleep"}.get(engine.state, engine.state)

    @precondition(lambda self: self.own and self.faults)
    @rule(pick=st.integers(0, 2))
    def others_end_an_engine(self, pick: int) -> None:
        """The fleet ends an engine that hangs, which takes a while in which it may hold the memory."""
        name = list(self.engines)[pick % len(self.engines)]
        engine = self.engines[name]
        if engine.state == "awake" and name not in self.switching:
            engine.state, engine.hung = "ending", False
            for ticket in list(engine.running):
                self.end(ticket)
        elif engine.state == "ending" and name not in self.switching:
            engine.state = "dead"

    @precondition(lambda self: self.faults and not self.own)
    @rule(pick=st.integers(0, 2))
    def engine_comes_back_asleep(self, pick: int) -> None:
        name = list(self.engines)[pick % len(self.engines)]
        engine = self.engines[name]
        # a start takes long enough for a look to see that nobody listens
        if engine.state == "dead" and self.group.phase(name) is Phase.GONE:
            engine.state = "asleep"

    # what must always hold

    @invariant()
    def one_is_awake_at_most(self) -> None:
        states = [engine.state for engine in self.engines.values()]
        assert sum(state in HOLDING for state in states) <= 1

    @invariant()
    def every_wait_is_bounded(self) -> None:
        if self.engines:
            self.group.tick(self.now)
            self.obey()
        late = [t for t in self.waiting if self.served_s - self.asked[t][1] >= self.policy.max_wait_s]
        assert not late

    @invariant()
    def nobody_is_forgotten(self) -> None:
        if self.engines:
            for name in self.engines:
                mine = [t for t in self.waiting if self.asked[t][0] == name]
                assert self.group.waiting(name) == len(mine)

    def teardown(self) -> None:
        """Let everything work from now on: every request comes to its end, and nothing stays."""
        if not self.engines:
            return
        for engine in self.engines.values():
            engine.hung = False
            engine.state = "dead" if engine.state == "ending" else engine.state
            self.catch_up(engine)
        for _ in range(200):
            for name in self.engines:
                if self.group.phase(name) in {Phase.WAKING, Phase.SLEEPING}:
                    self.complete(name, True)
            self.looks.clear()
            for name in self.engines:
                self.group.saw(name, self.seen(name), self.group.epoch(name), self.now)
                self.obey()
            for ticket in [t for engine in self.engines.values() for t in engine.running]:
                self.end(ticket)
            self.wait(0.3)
            if not self.waiting and not any(engine.running for engine in self.engines.values()):
                break
        assert not self.waiting
        assert self.over == set(self.asked)


class OwnWorld(World):
    """The engines are processes of Rigfit's."""

    own = True


class CalmWorld(World):
    """Nothing fails, and nobody's patience ends: then everybody is served."""

    faults = False

    def __init__(self) -> None:
        super().__init__()
        self.policy = Policy(min_awake_s=2.0, grace_s=0.5, max_wait_s=1e6, max_waiting=10**6)
        self.refused: list[Any] = []

    def carry_out(self, order: Order) -> None:
        assert not isinstance(order, Refuse), order
        super().carry_out(order)


TestWorld = pytest.mark.timeout(200)(World.TestCase)
TestWorld.settings = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
TestOwnWorld = pytest.mark.timeout(200)(OwnWorld.TestCase)
TestOwnWorld.settings = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
TestCalmWorld = CalmWorld.TestCase
TestCalmWorld.settings = settings(max_examples=150, stateful_step_count=60, deadline=None, derandomize=True)
