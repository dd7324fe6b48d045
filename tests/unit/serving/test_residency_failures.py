"""Taking turns, decided, where engines fail, end, or are started and put to sleep by others."""

from __future__ import annotations

from decided_turns import group

from serving.orders import GoOn, Look, Phase, Refuse, Seen, Sleep, Wake


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


def test_sleeps_that_fail_do_not_prolong_waits() -> None:
    g = group("a", "b", awake="a")
    late = g.ask("b", 0.0)
    assert g.orders() == [Sleep("a")]
    g.slept("a", False, 70.0)
    assert g.orders() == [Look("a", g.epoch("a")), Refuse(late, "waited_too_long", 2.0)]


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
