"""Engines that Rigfit runs itself take turns: by sleep mode, or by being stopped and started."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from gateway_client import Client, run, run_and_fronted, until
from simulated_engine import Card, SimulatedEngine
from simulated_fleet import SimulatedFleet

from serving.orders import Policy
from serving.server import Endpoint

QUICK = Policy(min_awake_s=0.1, grace_s=0.03, max_wait_s=10.0, first_backoff_s=0.2, last_backoff_s=0.3)


def trio(**changes: Any) -> list[SimulatedEngine]:
    """Engines on one card, of which none runs yet."""
    card = Card()
    made = [
        SimulatedEngine(n, card, sleeping=True, start_s=0.05, stop_s=0.02, sleep_s=0.01, wake_s=0.02) for n in "abc"
    ]
    for engine in made:
        for name, value in changes.items():
            setattr(engine, name, value)
    return made


@asynccontextmanager
async def turning(
    engines: list[SimulatedEngine], policy: Policy = QUICK, **changes: Any
) -> AsyncIterator[tuple[Client, SimulatedFleet, Endpoint]]:
    async with run_and_fronted(*engines, policy=policy, **changes) as three:
        yield three
    assert engines[0].card.clashes == []
    assert not any(engine.asked_asleep for engine in engines)


def test_engines_without_sleep_mode_are_stopped_and_started_and_that_is_said() -> None:
    async def test() -> None:
        said: list[str] = []
        async with turning(trio(can_sleep=False), said=said) as (client, fleet, _):
            for name in "abab":
                status, answer, _ = await client.post({"model": name})
                assert (status, answer["by"]) == (200, name)
            assert fleet.started == ["a", "b", "a", "b"]
            assert fleet.stopped == ["a", "b", "a"]
            assert await client.states() == {"a": "stopped", "b": "ready", "c": "stopped"}
            assert (await client.get("/health"))[0] == 200
        assert len(said) == 3
        assert all("stopped and started" in sentence for sentence in said)

    run(test)


def test_engines_with_sleep_mode_are_started_once() -> None:
    async def test() -> None:
        engines = trio()
        async with turning(engines) as (client, fleet, endpoint):
            assert await endpoint.bring_up() == []
            assert fleet.started == ["a", "b", "c"]
            assert await client.states() == {"a": "asleep", "b": "asleep", "c": "ready"}
            assert endpoint.asleep == {engine.url for engine in engines[:2]}
            answers = await asyncio.gather(*(client.post({"model": name}) for name in "abcabc"))
            assert [(status, answer["by"]) for status, answer, _ in answers] == [(200, name) for name in "abcabc"]
            assert fleet.started == ["a", "b", "c"]
            assert fleet.stopped == []

    run(test)


def test_of_engines_without_sleep_mode_only_the_first_is_brought_up() -> None:
    async def test() -> None:
        async with turning(trio(can_sleep=False)) as (_, fleet, endpoint):
            assert await endpoint.bring_up() == []
            assert fleet.started == ["a"]

    run(test)


def test_one_that_is_kept_awake_is_brought_up_alone() -> None:
    async def test() -> None:
        async with turning(trio(), pins=("b",)) as (_, fleet, endpoint):
            assert await endpoint.bring_up() == []
            assert fleet.started == ["b"]

    run(test)


def test_sleep_mode_that_turns_out_to_be_missing() -> None:
    """The plan said it had it; the engine has no such route."""

    async def test() -> None:
        said: list[str] = []
        engines = trio()
        async with turning(engines, said=said) as (client, fleet, _):
            engines[0].can_sleep = False
            for name in "aba":
                assert (await client.post({"model": name}))[0] == 200
            assert fleet.stopped == ["a"]
            assert fleet.started == ["a", "b", "a"]
            await until(lambda: bool(said))
        assert any("“a”" in sentence for sentence in said)

    run(test)


def test_running_requests_finish_before_their_engine_is_stopped() -> None:
    async def test() -> None:
        engines = trio(can_sleep=False)
        async with turning(engines) as (client, fleet, _):
            stream = asyncio.create_task(client.post({"model": "a", "stream": True, "n": 5, "gap": 0.1}))
            await until(lambda: engines[0].active == 1)
            status, answer, _ = await client.post({"model": "b"})
            assert (status, answer["by"]) == (200, "b")
            assert stream.done()
            assert stream.result()[1].endswith("data: [DONE]\n\n")
            assert fleet.stopped == ["a"]

    run(test)


def test_mixed_load_loses_and_doubles_nothing_where_engines_are_stopped_and_started() -> None:
    async def test() -> None:
        chance = random.Random(3)
        engines = trio(can_sleep=False)
        statuses: dict[int, int] = {}
        async with turning(engines) as (client, fleet, _):

            async def ask(number: int) -> None:
                await asyncio.sleep(chance.random() * 2)
                body = {"model": chance.choice("aabc"), "id": number, "gap": chance.random() * 0.05}
                statuses[number] = (await client.post(body | {"stream": chance.random() < 0.5, "n": 2}))[0]

            await asyncio.gather(*(ask(number) for number in range(300)))
            assert len(fleet.started) > 3
        assert set(statuses.values()) == {200}
        got = [body["id"] for engine in engines for body in engine.bodies]
        assert sorted(got) == list(range(300))

    run(test)


@pytest.mark.parametrize("fault", ["refuses", "hangs", "is killed"])
def test_an_engine_that_does_not_wake_is_started_anew(fault: str) -> None:
    async def test() -> None:
        engines = trio()
        async with turning(engines, switch_s=0.3) as (client, fleet, endpoint):
            await endpoint.bring_up()
            a = engines[0]
            if fault == "refuses":
                a.fail_wakes = 1
            elif fault == "hangs":
                a.hung = True
            else:
                await fleet.die("a")
            status, answer, _ = await client.post({"model": "a"})
            assert (status, answer["by"]) == (200, "a")
            assert fleet.started == ["a", "b", "c", "a"]

    run(test)


def test_a_start_that_fails_is_said_with_its_reason_and_tried_again_later() -> None:
    async def test() -> None:
        engines = trio(can_sleep=False)
        engines[1].fail_starts = 1
        async with turning(engines) as (client, fleet, _):
            waiting = [asyncio.create_task(client.post({"model": "b"})) for _ in range(3)]
            for status, answer, response in await asyncio.gather(*waiting):
                assert (status, answer["error"]["code"]) == (503, "model_start_failed")
                assert "status 1" in answer["error"]["message"]
                assert int(response.headers["Retry-After"]) >= 1
            assert (await client.states())["b"] == "failed"
            assert (await client.post({"model": "b"}))[1]["error"]["code"] == "model_start_failed"  # at once
            assert (await client.post({"model": "a"}))[0] == 200
            await client.answers_again("b")
            assert fleet.started == ["b", "a", "b"]

    run(test)


def test_a_switch_that_ends_in_an_error_of_ours_is_one_that_failed() -> None:
    async def test() -> None:
        async with turning(trio(can_sleep=False)) as (client, fleet, _):
            fleet.raises = 1
            status, answer, _ = await client.post({"model": "b"})
            assert (status, answer["error"]["code"]) == (503, "model_wake_failed")
            assert (await client.post({"model": "a"}))[0] == 200
            await client.answers_again("b")

    run(test)


def test_a_request_outlasts_the_longest_wait_while_its_start_goes_well() -> None:
    async def test() -> None:
        policy = Policy(min_awake_s=0.05, max_wait_s=0.3)
        async with turning(trio(can_sleep=False, start_s=0.6), policy) as (client, _, _):
            waiting = asyncio.create_task(client.post({"model": "a"}))
            await asyncio.sleep(0.2)
            assert (await client.states())["a"] == "starting"
            assert (await waiting)[0] == 200
            assert (await client.post({"model": "b"}))[0] == 200

    run(test)


@pytest.mark.parametrize("phase", ["awake", "busy", "asleep", "starting", "stopping"])
@pytest.mark.parametrize("can_sleep", [True, False])
def test_an_engine_that_dies_is_started_again_when_it_is_asked(phase: str, can_sleep: bool) -> None:
    async def test() -> None:
        engines = trio(can_sleep=can_sleep)
        async with turning(engines) as (client, fleet, endpoint):
            running = None
            if phase == "starting":
                engines[0].start_s = 0.3
                running = asyncio.create_task(client.post({"model": "a"}))
                await until(lambda: "a" in fleet.started)
            else:
                await endpoint.bring_up()
                assert (await client.post({"model": "a"}))[0] == 200
            if phase == "busy":
                running = asyncio.create_task(client.post({"model": "a", "gap": 5}))
                await until(lambda: engines[0].active == 1)
            if phase == "asleep":
                assert (await client.post({"model": "b"}))[0] == 200
            if phase == "stopping":
                running = asyncio.create_task(client.post({"model": "b"}))
                await asyncio.sleep(0.12)
            await fleet.die("a")
            if running is not None:
                assert (await running)[0] == (200 if phase == "stopping" else 503)
            if phase == "starting":
                await asyncio.sleep(0.4)
            status, answer, _ = await client.post({"model": "a"})
            assert (status, answer["by"]) == (200, "a")
            assert (await client.post({"model": "b"}))[0] == 200

    run(test)


def test_a_hung_engine_is_stopped_so_that_the_next_can_start() -> None:
    async def test() -> None:
        engines = trio()
        async with turning(engines, switch_s=0.3) as (client, fleet, _):
            assert (await client.post({"model": "a"}))[0] == 200
            engines[0].hung = True
            status, answer, _ = await client.post({"model": "b"})
            assert (status, answer["by"]) == (200, "b")
            assert fleet.stopped == ["a"]

    run(test)


def test_nobody_is_woken_while_the_fleet_ends_an_engine() -> None:
    async def test() -> None:
        engines = trio(can_sleep=False, stop_s=0.5)
        async with turning(engines) as (client, fleet, _):
            assert (await client.post({"model": "a"}))[0] == 200
            ending = asyncio.create_task(fleet.stop("a"))
            await asyncio.sleep(0.25)  # a look has shown that something happens to it
            assert (await client.post({"model": "b"}))[0] == 200
            await ending

    run(test)


def test_who_goes_away_while_the_engine_starts() -> None:
    async def test() -> None:
        engines = trio(can_sleep=False, start_s=0.2)
        async with turning(engines) as (client, fleet, _):
            waiting = asyncio.create_task(client.post({"model": "b"}))
            await until(lambda: "b" in fleet.started)
            waiting.cancel()
            assert (await client.post({"model": "a"}))[1]["by"] == "a"
            assert engines[1].got == []

    run(test)


def test_an_idle_engine_is_stopped_after_its_time_to_live() -> None:
    async def test() -> None:
        policy = Policy(min_awake_s=0.05, ttl_s=0.1)
        async with turning(trio(can_sleep=False), policy) as (client, fleet, _):
            assert (await client.post({"model": "a"}))[0] == 200
            await until(lambda: fleet.stopped == ["a"])
            assert (await client.post({"model": "a"}))[0] == 200

    run(test)


def test_wishes_and_pins_start_engines() -> None:
    async def test() -> None:
        async with turning(trio(can_sleep=False)) as (client, fleet, _):
            assert (await client.post({"model": "b"}, "/rigfit/wake"))[0] == 202
            await until(lambda: fleet.state("b").stage.value == "ready")
            assert (await client.post({"model": "c"}, "/rigfit/pin"))[0] == 202
            await until(lambda: fleet.state("c").stage.value == "ready")
            assert (await client.post({"model": "a"}))[1]["error"]["code"] == "model_pinned_out"
            await fleet.die("c")
            await until(lambda: fleet.state("c").stage.value == "ready")  # it is kept awake

    run(test)


@pytest.mark.parametrize("phase", ["starting", "stopping", "busy"])
def test_the_gateway_ends_in_the_midst(phase: str) -> None:
    """Who waits is refused, who runs is served, and nothing is switched any more."""

    async def test() -> None:
        engines = trio(can_sleep=False, start_s=0.1, stop_s=0.3)
        async with aiohttp.ClientSession() as session:
            async with turning(engines) as (client, fleet, _):
                patient = Client(client.url, session)
                asked = [asyncio.create_task(patient.post({"model": "a", "gap": 0.2, "stream": True, "n": 2}))]
                await until(lambda: "a" in fleet.started if phase == "starting" else bool(engines[0].active))
                if phase == "stopping":
                    assert (await asked[0])[0] == 200
                asked.append(asyncio.create_task(patient.post({"model": "b"})))
                await until(lambda: phase != "stopping" or "a" in fleet.stopped)
                await asyncio.sleep(0.02)
            answers = [(status, answer) for status, answer, _ in await asyncio.gather(*asked)]
        assert answers[1][0] == 503
        assert answers[1][1]["error"]["code"] == "stopping"
        assert answers[0][0] == (503 if phase == "starting" else 200)
        assert "b" not in fleet.started

    run(test)
