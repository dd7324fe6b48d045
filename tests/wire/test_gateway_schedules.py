"""Random schedules of callers and faults, over real sockets: nothing is lost, doubled, or sent to who sleeps."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from gateway_client import Client, fronted, run, run_and_fronted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated_engine import Card, SimulatedEngine
from simulated_fleet import SimulatedFleet

from serving.orders import Policy

POLICY = Policy(
    min_awake_s=0.06, grace_s=0.02, max_wait_s=1.5, max_waiting=12, first_backoff_s=0.05, last_backoff_s=0.1
)
LONGEST_ANSWER_S = 0.2
Found = dict[int, tuple[int, float]]
"""Status and time of each call that was answered, by its number."""


@dataclass(frozen=True)
class Call:
    """Somebody asks ``at`` some time, and goes away after ``patience``, if that is not None."""

    at: float
    model: str
    stream: bool
    gap: float
    patience: float | None


@dataclass(frozen=True)
class Fault:
    """Something goes wrong at an engine."""

    at: float
    model: str
    what: str


TIMES = st.floats(0, 0.6)
MODELS = st.sampled_from("abc")
CALLS = st.lists(
    st.builds(
        Call,
        TIMES,
        MODELS,
        st.booleans(),
        st.floats(0, LONGEST_ANSWER_S / 2),
        st.none() | st.none() | st.floats(0, 0.3),
    ),
    min_size=1,
    max_size=24,
)
FAULTS = st.lists(st.builds(Fault, TIMES, MODELS, st.sampled_from(["wake", "sleep", "die", "hang"])), max_size=3)


async def play(
    calls: list[Call], faults: list[Fault], policy: Policy, switch_s: float
) -> tuple[Found, list[SimulatedEngine]]:
    """Have engines that others run serve calls, and return what came of each call that had patience."""
    card = Card()
    behind = [SimulatedEngine(n, card, sleeping=n != "a", sleep_s=0.01, wake_s=0.02) for n in "abc"]
    found: Found = {}
    async with fronted(*behind, groups=(("a", "b", "c"),), policy=policy, check_s=0.05, switch_s=switch_s) as client:
        async with asyncio.TaskGroup() as group:
            for number, call in enumerate(calls):
                group.create_task(_call(client, number, call, found))
            for fault in faults:
                group.create_task(_fault({engine.name: engine for engine in behind}, fault))
        states = await _settle(client)
        assert set(states) == {"a", "b", "c"}
    return found, behind


async def play_own(
    calls: list[Call], faults: list[Fault], policy: Policy, can_sleep: bool
) -> tuple[Found, list[SimulatedEngine]]:
    """Have engines that Rigfit runs serve calls; see ``play``."""
    card = Card()
    behind = [
        SimulatedEngine(n, card, can_sleep, sleeping=True, start_s=0.03, stop_s=0.01, sleep_s=0.01, wake_s=0.02)
        for n in "abc"
    ]
    found: Found = {}
    async with run_and_fronted(*behind, policy=policy, check_s=0.05, switch_s=0.2) as (client, fleet, _):
        async with asyncio.TaskGroup() as group:
            for number, call in enumerate(calls):
                group.create_task(_call(client, number, call, found))
            for fault in faults:
                group.create_task(_own_fault(fleet, fault))
        await _settle(client)
        for name in "abc":
            assert await _recovers(client, name), f"{name} did not come back"
        if not faults:
            _, figures = await client.get("/metrics")
            assert "rigfit_gateway_retries_total{" not in figures, "asked an engine that was stopped"
    return found, behind


async def _call(client: Client, number: int, call: Call, found: Found) -> None:
    await asyncio.sleep(call.at)
    body: dict[str, Any] = {"model": call.model, "id": number, "gap": call.gap, "stream": call.stream, "n": 2}
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(call.patience):
            status, answer, _ = await client.post(body)
    except TimeoutError:
        return
    except aiohttp.ClientPayloadError:
        status = 0  # broken off under way, and not to be taken for whole
    else:
        if status == 200 and call.stream:
            assert answer.endswith("data: [DONE]\n\n")
    found[number] = (status, asyncio.get_running_loop().time() - began)


async def _fault(engines: dict[str, SimulatedEngine], fault: Fault) -> None:
    await asyncio.sleep(fault.at)
    engine = engines[fault.model]
    match fault.what:
        case "wake":
            engine.fail_wakes += 1
        case "sleep":
            engine.fail_sleeps += 1
        case "hang":
            engine.hung = True
            await asyncio.sleep(0.2)
            engine.hung = False
        case _ if engine.runner is not None:
            await engine.stop()
            await asyncio.sleep(0.3)
            await engine.restart(sleeping=True)
        case _:
            pass


async def _own_fault(fleet: SimulatedFleet, fault: Fault) -> None:
    await asyncio.sleep(fault.at)
    engine = fleet.engines[fault.model]
    match fault.what:
        case "wake":
            engine.fail_wakes += 1
            engine.fail_starts += 1
        case "sleep":
            engine.fail_sleeps += 1
        case "hang":  # for good: somebody has to end it
            engine.hung = engine.runner is not None
            await asyncio.sleep(0.4)
            if engine.hung:
                await fleet.die(fault.model)
        case _:
            await fleet.die(fault.model)


async def _recovers(client: Client, name: str) -> bool:
    """Tell whether a model is served again within a while, now that nothing fails any more."""
    for _ in range(100):
        if (await client.post({"model": name, "id": f"after {name}"}))[0] == 200:
            return True
        await asyncio.sleep(0.05)
    return False


async def _settle(client: Client) -> dict[str, str]:
    await asyncio.sleep(0.1)
    return await client.states()


def check(calls: list[Call], found: Found, behind: list[SimulatedEngine]) -> None:
    assert behind[0].card.clashes == []
    got = [body["id"] for engine in behind for body in engine.bodies if isinstance(body["id"], int)]
    assert len(got) == len(set(got)), "doubled"
    done = {number for engine in behind for number in engine.done}
    assert {number for number, (status, _) in found.items() if status == 200} <= done, "answered, but by no engine"
    patient = {number for number, call in enumerate(calls) if call.patience is None}
    assert patient <= set(found), "lost"


@settings(max_examples=7, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS)
def test_without_faults_everybody_is_served(calls: list[Call]) -> None:
    async def test() -> None:
        found, behind = await play(calls, [], replace(POLICY, max_wait_s=20.0), 10.0)
        check(calls, found, behind)
        assert not any(engine.asked_asleep for engine in behind)
        assert {status for status, _ in found.values()} <= {200}

    run(test)


@settings(max_examples=7, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, FAULTS)
def test_with_faults_every_request_comes_to_an_end(calls: list[Call], faults: list[Fault]) -> None:
    async def test() -> None:
        found, behind = await play(calls, faults, POLICY, 0.3)
        check(calls, found, behind)
        assert all(took < POLICY.max_wait_s + LONGEST_ANSWER_S + 5 for _, took in found.values()), "beyond the bound"
        if not any(fault.what == "die" for fault in faults):
            assert not any(engine.asked_asleep for engine in behind)
            assert {status for status, _ in found.values()} <= {200, 503}

    run(test)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, st.booleans())
def test_own_engines_serve_everybody_without_faults(calls: list[Call], can_sleep: bool) -> None:
    async def test() -> None:
        found, behind = await play_own(calls, [], replace(POLICY, max_wait_s=20.0), can_sleep)
        check(calls, found, behind)
        assert not any(engine.asked_asleep for engine in behind)
        assert {status for status, _ in found.values()} <= {200}

    run(test)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, FAULTS, st.booleans())
def test_own_engines_come_back_from_faults(calls: list[Call], faults: list[Fault], can_sleep: bool) -> None:
    """Whatever fails: every request comes to an end in time, none is doubled, and no two engines hold the memory."""

    async def test() -> None:
        found, behind = await play_own(calls, faults, POLICY, can_sleep)
        check(calls, found, behind)
        assert all(took < POLICY.max_wait_s + LONGEST_ANSWER_S + 5 for _, took in found.values()), "beyond the bound"
        assert not any(engine.asked_asleep for engine in behind)

    run(test)


def test_thousands_of_requests_through_faults() -> None:
    """Two thousand requests of three models on one card, of which every engine fails in every way now and then."""

    async def test() -> None:
        chance = random.Random(11)
        calls = [
            Call(
                chance.random() * 4,
                chance.choice("aaabbc"),
                chance.random() < 0.5,
                chance.random() * 0.02,
                chance.random() * 0.3 if chance.random() < 0.1 else None,
            )
            for _ in range(2000)
        ]
        faults = [
            Fault(0.3 + number * 0.3, chance.choice("abc"), chance.choice(["wake", "sleep", "die", "hang"]))
            for number in range(12)
        ]
        policy = replace(POLICY, max_wait_s=10.0, max_waiting=10_000)
        found, behind = await play_own(calls, faults, policy, True)
        check(calls, found, behind)
        assert not any(engine.asked_asleep for engine in behind)
        statuses = Counter(status for status, _ in found.values())
        assert set(statuses) <= {0, 200, 503, 504}
        assert statuses[200] > 0

    run(test, 60)
