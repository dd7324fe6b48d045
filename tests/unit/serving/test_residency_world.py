"""Taking turns, decided, against a world that a random schedule drives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.orders import GoOn, Look, Order, Phase, Policy, Refuse, Seen, Sleep, Wake
from serving.residency import Group


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
