"""How long waits are when engines take turns: thousands of requests in made-up time against the stated limit."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.orders import GoOn, Order, Phase, Policy, Refuse, Seen, Sleep, Wake
from serving.residency import Group


@dataclass
class Card:
    """Engines that do what they are told, in the times that they take.

    Attributes:
        names: the engines; all sleep at first.
        policy: how turns are taken.
        wake_s: for one wake.
        sleep_s: for one sleep.
        waits: how long each request waited, by model.
        refused: why requests were.
        wakes: how many there were.
    """

    names: str
    policy: Policy
    wake_s: float
    sleep_s: float
    waits: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    wakes: int = 0

    def __post_init__(self) -> None:
        self.group = Group(self.names, self.policy, 0.0)
        for name in self.names:
            self.group.saw(name, Seen.ASLEEP, self.group.epoch(name), 0.0)
        self.waits = {name: [] for name in self.names}
        self.events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self.number = itertools.count()
        self.came: dict[int, tuple[str, float, float]] = {}
        self.busy: dict[str, set[int]] = {name: set() for name in self.names}

    @property
    def switch_s(self) -> float:
        return self.wake_s + self.sleep_s

    def turn_s(self) -> float:
        """How long an engine stays awake at most while others wait, without the answers that run then."""
        others = len(self.names) - 1
        return max(self.policy.min_awake_s, min(self.switch_s, self.policy.max_wait_s / 2 / others))

    def limit_s(self, answer_s: float) -> float:
        """The longest wait, as docs/serving.md states it."""
        n = len(self.names)
        return n * (self.switch_s + answer_s) + (n - 1) * self.turn_s()

    def later(self, at: float, what: str, *about: object) -> None:
        heapq.heappush(self.events, (at, next(self.number), what, about))

    def play(self, requests: Iterator[tuple[float, str, float]]) -> float:
        """Let requests (when, which model, how long the answer takes) come; returns when the last event was."""
        for at, name, answer_s in requests:
            self.later(at, "ask", name, answer_s)
        now = 0.0
        while self.events or self.group.due() is not None:
            due = self.group.due()
            if due is not None and (not self.events or due <= self.events[0][0]):
                now = due
                self.group.tick(now)
            else:
                now, _, what, about = heapq.heappop(self.events)
                self.happen(what, about, now)
            for order in self.group.orders():
                self.obey(order, now)
        assert not self.came, "somebody is neither answered nor refused"
        return now

    def happen(self, what: str, about: tuple[object, ...], now: float) -> None:
        match what, about:
            case "ask", (str(name), float(answer_s)):
                ticket = self.group.ask(name, now)
                self.came[ticket] = (name, now, answer_s)
            case "answered", (int(ticket), str(name)):
                self.busy[name].discard(ticket)
                self.group.leave(ticket, now)
            case "woke", (str(name),):
                self.group.woke(name, True, now)
            case _, (str(name),):
                self.group.slept(name, True, now)
            case _:
                raise AssertionError(what)

    def obey(self, order: Order, now: float) -> None:
        match order:
            case GoOn(ticket):
                name, came, answer_s = self.came.pop(ticket)
                assert self.group.phase(name) is Phase.AWAKE
                self.waits[name].append(now - came)
                self.busy[name].add(ticket)
                self.later(now + answer_s, "answered", ticket, name)
            case Refuse(ticket, why):
                self.came.pop(ticket)
                self.refused.append(why)
            case Wake(name):
                assert all(self.group.phase(other) is Phase.ASLEEP for other in self.names if other != name)
                self.wakes += 1
                self.later(now + self.wake_s, "woke", name)
            case Sleep(name):
                assert not self.busy[name]
                self.later(now + self.sleep_s, "slept", name)
            case _:
                raise AssertionError(order)


def arrivals(
    names: str, chance: random.Random, for_s: float, a_second: float, answer_s: float
) -> Iterator[tuple[float, str, float]]:
    """Yield requests at random times for random models, some of which are asked far more often than others."""
    weights = [1.0 / (place + 1) for place in range(len(names))]
    at = 0.0
    while (at := at + chance.expovariate(a_second)) < for_s:
        yield at, chance.choices(names, weights)[0], chance.random() * answer_s


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(2, 5),
    st.floats(0.01, 90),
    st.floats(0.01, 20),
    st.floats(0, 30),
    st.sampled_from([0.02, 0.2, 2.0]),
    st.integers(0, 2**32),
)
def test_no_wait_is_longer_than_the_stated_limit(
    n: int, wake_s: float, sleep_s: float, answer_s: float, a_second: float, seed: int
) -> None:
    policy = Policy(max_wait_s=max(120.0, 2 * n * answer_s), max_waiting=10**6)
    card = Card("abcde"[:n], policy, wake_s, sleep_s)
    card.play(arrivals(card.names, random.Random(seed), 200 / a_second, a_second, answer_s))
    assert card.refused == []
    assert max(max(waits, default=0.0) for waits in card.waits.values()) <= card.limit_s(answer_s) + 1e-6


def test_24_switches_a_minute_lose_nobody_and_keep_the_limit() -> None:
    """An hour of vLLM's sleep at level 1: a wake and a sleep take half a second."""
    card = Card("abc", Policy(), wake_s=0.4, sleep_s=0.1)
    ended = card.play(arrivals(card.names, random.Random(5), 3600.0, 4.0, 1.0))
    assert card.refused == []
    assert sum(map(len, card.waits.values())) > 14_000
    assert card.wakes >= 24 * ended / 60 * 0.7  # answers that run on at the end of a turn take their time
    assert max(max(waits) for waits in card.waits.values()) <= card.limit_s(1.0)


def test_a_minute_of_24_switches() -> None:
    """As many as the policy allows: everybody is asked all the time, and answers are short."""
    card = Card("ab", Policy(), wake_s=0.4, sleep_s=0.1)
    ended = card.play(arrivals(card.names, random.Random(6), 600.0, 10.0, 0.05))
    assert card.wakes >= 23.5 * ended / 60
    assert card.refused == []
    assert max(max(waits) for waits in card.waits.values()) <= card.limit_s(0.05)


def test_stopping_and_starting_takes_turns_of_half_a_minute_and_refuses_nobody() -> None:
    """Starts of 90 s, which is longer than most would wait for others to be served."""
    card = Card("ab", Policy(), wake_s=90.0, sleep_s=4.0)
    card.play(arrivals(card.names, random.Random(7), 7200.0, 1.0, 20.0))
    assert card.refused == []
    assert max(max(waits) for waits in card.waits.values()) <= card.limit_s(20.0)


def test_a_model_that_is_asked_rarely_is_not_starved() -> None:
    card = Card("ab", Policy(), wake_s=0.4, sleep_s=0.1)
    often = [(at / 20, "a", 0.5) for at in range(20 * 600)]
    rarely = [(float(at), "b", 0.5) for at in range(30, 600, 60)]
    card.play(iter([*often, *rarely]))
    assert len(card.waits["b"]) == len(rarely)
    assert max(card.waits["b"]) <= card.limit_s(0.5)
