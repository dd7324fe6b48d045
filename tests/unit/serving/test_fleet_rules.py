"""The fleet's rules on a pretended machine, in pretended time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from pretended_engines import Script, spec
from watched_fleet import POLICY, Watched, Watching, always, until, within

from serving.engine_state import Stage


def test_a_start_goes_through_its_stages() -> None:
    watched = Watched([spec("a")], always(Script()))
    assert within(60, watched.fleet.start_all)
    assert watched.stages("a") == [
        Stage.WAITING,
        Stage.CHECKING,
        Stage.STARTING,
        Stage.LOADING,
        Stage.PROFILING,
        Stage.ANSWERING,
        Stage.READY,
    ]
    state = watched.fleet.state("a")
    assert state.ready_s == pytest.approx(3, abs=0.5)
    assert state.pid == 1001


def test_engines_on_one_card_start_in_order_and_those_on_another_at_once() -> None:
    watched = Watched(
        [spec("a"), spec("b"), spec("c", "nvidia:1"), spec("d", "nvidia:0", "nvidia:1")], always(Script())
    )
    assert within(60, watched.fleet.start_all)
    at = {name: time for time, name in watched.world.launched}
    assert at["a"] == at["c"] < at["b"] < at["d"]
    assert at["b"] - at["a"] >= 3


def test_a_sleeper_sleeps_before_the_next_one_starts() -> None:
    watched = Watched([spec("a", sleeps=True), spec("b")], always(Script()))
    assert within(60, watched.fleet.start_all)
    (slept, name), at = watched.world.slept[0], {name: time for time, name in watched.world.launched}
    assert name == "a"
    assert slept <= at["b"]
    assert len(watched.world.slept) == 1


def test_who_is_asked_for_stays_awake() -> None:
    watched = Watched([spec("a", sleeps=True)], always(Script()))
    assert within(60, lambda: watched.fleet.start("a"))
    assert not watched.world.slept


def test_an_engine_that_does_not_fall_asleep_says_so() -> None:
    watched = Watched([spec("a", sleeps=True)], always(Script()))
    watched.world.sleeps_well = False
    assert within(60, watched.fleet.start_all)
    reason = watched.fleet.state("a").reason
    assert reason is not None
    assert reason.code == "fleet.no_sleep"


def test_what_fails_is_tried_again_and_then_given_up() -> None:
    watched = Watched([spec("a")], always(Script("fails", takes_s=1)))

    async def work() -> None:
        async with Watching(watched.fleet):
            assert not await watched.fleet.start_all()
            assert watched.fleet.state("a").stage is Stage.FAILED
            await until(lambda: watched.fleet.state("a").stage is Stage.GAVE_UP)
            await asyncio.sleep(1000)

    within(5000, work)
    times = [time for time, _ in watched.world.launched]
    assert len(times) == 1 + POLICY.restarts
    waits = [later - earlier - 1 for earlier, later in pairwise(times)]
    assert waits == pytest.approx([1, 2, 4, 8, 16], abs=0.4)
    final = next(state for state in watched.seen["a"] if state.stage is Stage.GAVE_UP)
    assert final.reason is not None
    assert final.reason.code == "fleet.exit"
    assert final.restarts == POLICY.restarts


def test_what_no_further_start_mends_is_given_up_at_once() -> None:
    watched = Watched([spec("a")], always(Script("final")))

    async def work() -> None:
        async with Watching(watched.fleet):
            assert not await watched.fleet.start_all()
            assert watched.fleet.state("a").stage is Stage.GAVE_UP
            await asyncio.sleep(1000)

    within(5000, work)
    assert len(watched.world.launched) == 1


def test_a_person_may_start_again_what_was_given_up() -> None:
    watched = Watched([spec("a")], always(Script("final"), Script()))

    async def work() -> None:
        assert not await watched.fleet.start("a")
        assert await watched.fleet.start("a")

    within(100, work)
    assert watched.fleet.state("a").restarts == 0


def test_an_engine_that_dies_comes_back() -> None:
    watched = Watched([spec("a")], always(Script()))

    async def work() -> None:
        async with Watching(watched.fleet):
            await watched.fleet.start_all()
            watched.world.processes["a"].end(-9)
            await until(lambda: watched.fleet.state("a").stage is Stage.FAILED, 0.01)
            assert await watched.fleet.start("a")

    within(100, work)
    assert len(watched.world.launched) == 2


def test_an_engine_on_demand_does_not_come_back_by_itself() -> None:
    watched = Watched([spec("a")], always(Script()), on_demand={"a"})

    async def work() -> None:
        async with Watching(watched.fleet):
            await watched.fleet.start_all()
            for _ in range(20):  # however often
                watched.world.processes["a"].end(-9)
                await asyncio.sleep(30)
                assert watched.fleet.state("a").stage is Stage.FAILED
                assert await watched.fleet.start("a")

    within(10_000, work)
    assert len(watched.world.launched) == 21


@pytest.mark.parametrize("how", ["hung", "halted"])
def test_a_hung_engine_is_killed_and_comes_back(how: str) -> None:
    watched = Watched([spec("a")], always(Script()))

    async def work() -> None:
        async with Watching(watched.fleet):
            await watched.fleet.start_all()
            await asyncio.sleep(100)
            first = watched.world.processes["a"]
            setattr(first, how, True)
            hung_at = watched.world.now()
            await until(lambda: not first.alive)
            assert POLICY.hang_s <= watched.world.now() - hung_at <= POLICY.hang_s + 20
            await until(lambda: watched.fleet.state("a").stage is Stage.READY)

    within(1000, work)
    reasons = {state.reason.code for state in watched.seen["a"] if state.reason}
    assert "fleet.hung" in reasons


def test_an_engine_that_is_slow_for_a_while_is_left_alone() -> None:
    watched = Watched([spec("a")], always(Script()))

    async def work() -> None:
        async with Watching(watched.fleet):
            await watched.fleet.start_all()
            for _ in range(5):
                watched.world.processes["a"].hung = True
                await asyncio.sleep(POLICY.hang_s - 15)
                watched.world.processes["a"].hung = False
                await asyncio.sleep(20)

    within(1000, work)
    assert len(watched.world.launched) == 1


def test_an_engine_that_is_never_ready_is_ended_after_its_time() -> None:
    watched = Watched([spec("a", load_s=40)], always(Script("mute")))

    async def work() -> float:
        assert not await watched.fleet.start("a")
        return watched.world.now()

    assert 40 <= within(100, work) <= 45
    state = watched.fleet.state("a")
    assert state.reason is not None
    assert state.reason.code == "fleet.late"
    assert not watched.world.processes["a"].alive


def test_a_long_fetch_is_told_and_does_not_count_against_the_start() -> None:
    watched = Watched([spec("a", load_s=40)], always(Script(takes_s=230, fetches_s=200)))
    assert within(300, lambda: watched.fleet.start("a"))
    fetching = [state for state in watched.seen["a"] if state.reason and state.reason.code == "fleet.fetching"]
    shares = [state.share or 0 for state in fetching]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1, abs=0.05)
    assert {state.stage for state in fetching} <= {Stage.STARTING, Stage.LOADING}
    assert watched.fleet.state("a").reason is None
    assert watched.fleet.state("a").share is None


def test_a_fetch_that_stands_still_ends_the_start() -> None:
    watched = Watched([spec("a", load_s=40)], always(Script(takes_s=1000, fetches_s=100)))

    async def work() -> float:
        assert not await watched.fleet.start("a")
        return watched.world.now()

    assert 140 <= within(500, work) <= 150


def test_memory_is_waited_for_and_the_lack_said() -> None:
    watched = Watched([spec("a"), spec("b")], always(Script()))
    watched.world.lacks = {"a"}

    async def work() -> None:
        loop = asyncio.get_running_loop()
        start = asyncio.create_task(watched.fleet.start_all())
        await asyncio.sleep(10)
        assert watched.fleet.state("a").stage is Stage.CHECKING
        assert watched.fleet.state("a").reason is not None
        assert not await start
        assert loop.time() >= POLICY.room_s
        assert watched.fleet.state("a").stage is Stage.FAILED
        assert watched.fleet.state("b").stage is Stage.READY
        loop.call_later(5, watched.world.lacks.clear)
        assert await watched.fleet.start("a")

    within(200, work)
    assert watched.fleet.state("a").reason is None


def test_a_taken_port_fails_the_start_and_not_the_fleet() -> None:
    watched = Watched([spec("a"), spec("b")], always(Script()))
    watched.world.busy_ports = {"a"}
    assert not within(60, watched.fleet.start_all)
    assert [state.stage for state in watched.fleet.states] == [Stage.FAILED, Stage.READY]
    assert [name for _, name in watched.world.launched] == ["b"]


def test_stopping_breaks_a_start_off_and_the_next_waits_until_it_is_gone() -> None:
    watched = Watched([spec("a"), spec("b")], always(Script(takes_s=50, stops_s=4)))

    async def work() -> None:
        start = asyncio.create_task(watched.fleet.start_all())
        await asyncio.sleep(10)
        await watched.fleet.stop("a")
        assert watched.world.now() == pytest.approx(14)
        assert watched.fleet.state("a").stage is Stage.STOPPED
        assert not await start

    within(200, work)
    at = {name: time for time, name in watched.world.launched}
    assert at["b"] == pytest.approx(14, abs=0.1)
    assert watched.fleet.state("b").stage is Stage.READY


def test_stopping_while_a_failure_is_looked_into() -> None:
    watched = Watched([spec("a")], always(Script("fails", takes_s=2)))

    async def work() -> None:
        start = asyncio.create_task(watched.fleet.start("a"))
        await until(lambda: bool(watched.world.processes) and not watched.world.processes["a"].alive, 0.01)
        await asyncio.sleep(0.3)
        await watched.fleet.stop("a")
        assert not await start
        assert watched.fleet.state("a").stage is Stage.STOPPED

    within(200, work)


def test_what_does_not_die_is_not_called_stopped() -> None:
    watched = Watched([spec("a")], always(Script(stuck=True)))

    async def work() -> None:
        await watched.fleet.start_all()
        await watched.fleet.stop("a")
        state = watched.fleet.state("a")
        assert state.stage is Stage.STOPPING
        assert state.reason is not None
        assert state.reason.code == "fleet.stuck"
        assert not await watched.fleet.start("a")
        watched.world.processes["a"].end(-9)
        await asyncio.sleep(1)
        assert watched.fleet.state("a").stage is Stage.STOPPED
        assert await watched.fleet.start("a")
        watched.world.processes["a"].end(-9)

    within(200, work)


def test_a_caller_that_goes_away_does_not_break_the_start_off() -> None:
    watched = Watched([spec("a")], always(Script(takes_s=10)))

    async def work() -> None:
        caller = asyncio.create_task(watched.fleet.start("a"))
        await asyncio.sleep(5)
        caller.cancel()
        assert await watched.fleet.start("a")

    within(200, work)
    assert len(watched.world.launched) == 1


def test_failures_long_ago_are_forgotten() -> None:
    watched = Watched([spec("a")], always(Script()))

    async def work() -> None:
        async with Watching(watched.fleet):
            await watched.fleet.start_all()
            for _ in range(30):
                await asyncio.sleep(POLICY.window_s / 4)
                watched.world.processes["a"].end(1)
                await until(lambda: watched.fleet.state("a").stage is not Stage.READY, 0.01)
                await until(lambda: watched.fleet.state("a").stage is Stage.READY)

    within(30_000, work)
    assert len(watched.world.launched) == 31
