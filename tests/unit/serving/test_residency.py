"""Taking turns, decided, where all goes well."""

from __future__ import annotations

from decided_turns import POLICY, group

from serving.orders import GoOn, Policy, Refuse, Seen, Sleep, Wake
from serving.residency import Group


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
