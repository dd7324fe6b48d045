"""Engines that take turns being awake, behind the gateway, over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway_client import Client, fronted, run, until
from simulated_engine import Card, SimulatedEngine

from serving.orders import Policy

QUICK = Policy(min_awake_s=0.1, grace_s=0.03, max_wait_s=10.0, first_backoff_s=0.2)


def pair(*names: str, **changes: Any) -> list[SimulatedEngine]:
    """Engines on one card; the first is awake."""
    card = Card()
    made = [SimulatedEngine(n, card, sleeping=i > 0, sleep_s=0.02, wake_s=0.03) for i, n in enumerate(names or "ab")]
    for engine in made:
        for name, value in changes.items():
            setattr(engine, name, value)
    return made


@asynccontextmanager
async def swapping(engines: list[SimulatedEngine], policy: Policy = QUICK, **changes: Any) -> AsyncIterator[Client]:
    groups = (tuple(engine.name for engine in engines),)
    async with fronted(*engines, **({"groups": groups, "policy": policy} | changes)) as client:
        yield client
    assert engines[0].card.clashes == []
    assert not any(engine.asked_asleep for engine in engines)


def test_an_engine_is_woken_for_its_request_and_the_other_sleeps() -> None:
    async def test() -> None:
        a, b = engines = pair()
        async with swapping(engines) as client:
            assert (await client.post({"model": "a"}))[0] == 200
            assert (await client.post({"model": "b"}))[1]["by"] == "b"
            assert a.controls == ["/sleep?level=1&mode=wait"]
            assert b.controls == ["/wake_up"]
            assert await client.states() == {"a": "asleep", "b": "ready"}
            assert (await client.post({"model": "a"}))[1]["by"] == "a"

    run(test)


def test_aliases_wake_the_engine_that_they_mean() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines, aliases={"other": "b"}) as client:
            assert (await client.post({"model": "other"}))[1]["by"] == "b"

    run(test)


def test_running_requests_finish_before_their_engine_sleeps() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines) as client:
            stream = asyncio.create_task(client.post({"model": "a", "stream": True, "n": 5, "gap": 0.1}))
            await until(lambda: engines[0].active == 1)
            status, answer, _ = await client.post({"model": "b"})
            assert (status, answer["by"]) == (200, "b")
            assert stream.done()
            assert stream.result()[1].endswith("data: [DONE]\n\n")

    run(test)


def test_two_models_asked_at_once_from_sleep() -> None:
    async def test() -> None:
        engines = pair("a", "b", "c")
        async with swapping(engines) as client:
            answers = await asyncio.gather(*(client.post({"model": name}) for name in "bcabcabca"))
            assert [(status, answer["by"]) for status, answer, _ in answers] == [(200, name) for name in "bcabcabca"]
            assert engines[0].card.switches <= 4  # those that wait for one model go together

    run(test)


def test_who_goes_away_while_the_engine_wakes() -> None:
    async def test() -> None:
        engines = pair(wake_s=0.2)
        async with swapping(engines) as client:
            waiting = asyncio.create_task(client.post({"model": "b"}))
            await until(lambda: "/wake_up" in engines[1].controls)
            waiting.cancel()
            assert (await client.post({"model": "a"}))[1]["by"] == "a"
            assert engines[1].got == []

    run(test)


def test_a_wake_that_fails_is_said_and_tried_again_later() -> None:
    async def test() -> None:
        engines = pair()
        engines[1].fail_wakes = 1
        async with swapping(engines) as client:
            status, answer, response = await client.post({"model": "b"})
            assert (status, answer["error"]["code"]) == (503, "model_wake_failed")
            assert int(response.headers["Retry-After"]) >= 1
            assert (await client.post({"model": "a"}))[0] == 200
            await client.answers_again("b")

    run(test)


def test_a_sleep_that_fails_is_tried_again() -> None:
    async def test() -> None:
        engines = pair()
        engines[0].fail_sleeps = 1
        async with swapping(engines) as client:
            assert (await client.post({"model": "b"}))[0] == 200
            assert engines[0].controls.count("/sleep?level=1&mode=wait") == 2

    run(test)


def test_an_engine_that_dies_asleep() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines) as client:
            await client.post({"model": "a"})
            await engines[1].stop()
            status, answer, _ = await client.post({"model": "b"})
            assert (status, answer["error"]["code"]) == (503, "engine_unreachable")
            assert (await client.post({"model": "a"}))[0] == 200
            await engines[1].restart(sleeping=True)
            await client.answers_again("b")

    run(test)


def test_an_engine_that_dies_awake_makes_room() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines) as client:
            running = asyncio.create_task(client.post({"model": "a", "gap": 5}))
            await until(lambda: engines[0].active == 1)
            waiting = asyncio.create_task(client.post({"model": "b"}))
            await engines[0].stop()
            assert (await running)[0] == 503
            assert (await waiting)[1]["by"] == "b"

    run(test)


def test_waiting_is_bounded_in_number_and_time() -> None:
    async def test() -> None:
        engines = pair()
        policy = Policy(min_awake_s=0.05, max_wait_s=0.3, max_waiting=2)
        async with swapping(engines, policy) as client:
            stream = asyncio.create_task(client.post({"model": "a", "gap": 1.0}))
            await until(lambda: engines[0].active == 1)
            loop = asyncio.get_running_loop()
            began = loop.time()
            answers = await asyncio.gather(*(client.post({"model": "b"}) for _ in range(3)))
            codes = sorted(answer["error"]["code"] for _, answer, _ in answers)
            assert codes == ["model_queue_full", "model_wait_too_long", "model_wait_too_long"]
            assert all(status == 503 and "Retry-After" in response.headers for status, _, response in answers)
            assert loop.time() - began < 0.8
            assert (await stream)[0] == 200

    run(test)


def test_a_hung_engine_never_lets_another_be_woken_beside_it() -> None:
    async def test() -> None:
        engines = pair()
        policy = Policy(min_awake_s=0.05, max_wait_s=0.5, first_backoff_s=0.1)
        async with swapping(engines, policy, switch_s=0.2) as client:
            await client.post({"model": "a"})
            engines[0].hung = True
            assert (await client.post({"model": "b"}))[1]["error"]["code"] == "model_wait_too_long"
            assert engines[1].controls == []
            engines[0].hung = False
            await asyncio.sleep(0.3)
            status, _, _ = await client.post({"model": "b"})
            assert status == 200

    run(test)


def test_wishes_and_pins() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines) as client:
            status, answer, _ = await client.post({"model": "b"}, "/rigfit/wake")
            assert (status, answer["model"]) == (202, "b")
            await until(lambda: not engines[1].sleeping)
            assert (await client.post({"model": "b"}, "/rigfit/pin"))[1]["pinned"]
            status, answer, _ = await client.post({"model": "a"})
            assert (status, answer["error"]["code"]) == (503, "model_pinned_out")
            assert (await client.post({"model": "a"}, "/rigfit/pin"))[0] == 503
            assert (await client.post({"model": "b"}, "/rigfit/unpin"))[0] == 202
            assert (await client.post({"model": "a"}))[0] == 200
            assert (await client.post({"model": "x"}, "/rigfit/wake"))[0] == 404
            assert (await client.get("/rigfit/wake"))[0] == 405

    run(test)


def test_a_model_that_is_pinned_from_the_start_is_woken_unasked() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines, pins=("b",)) as client:
            await until(lambda: not engines[1].sleeping)
            assert (await client.post({"model": "b"}))[0] == 200
            assert (await client.post({"model": "a"}))[0] == 503

    run(test)


def test_an_idle_engine_sleeps_after_its_time_to_live() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines, Policy(ttl_s=0.1)) as client:
            assert (await client.post({"model": "a"}))[0] == 200
            await until(lambda: engines[0].sleeping)
            assert (await client.post({"model": "a"}))[0] == 200

    run(test)


def test_wishes_need_engines_that_take_turns() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            assert (await client.post({"model": "a"}, "/rigfit/pin"))[0] == 409

    run(test)


def test_level_two_reads_the_weights_again() -> None:
    async def test() -> None:
        engines = pair()
        async with swapping(engines, sleep_level=2) as client:
            assert (await client.post({"model": "b"}))[0] == 200
            assert engines[0].controls == ["/sleep?level=2&mode=wait"]
            assert engines[1].controls == ["/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache"]

    run(test)


def test_an_engine_without_sleep_mode_stays_awake_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        a, b = SimulatedEngine("a", can_sleep=False), SimulatedEngine("b", sleeping=True)
        async with fronted(a, b, groups=(("a", "b"),), policy=QUICK) as client:
            answers = await asyncio.gather(*(client.post({"model": name}) for name in "abab"))
            assert [status for status, _, _ in answers] == [200] * 4
            assert await client.states() == {"a": "ready", "b": "ready"}

    run(test)
    said = capsys.readouterr().out
    assert said.count("--enable-sleep-mode") == 1


def test_two_names_of_one_engine_share_it() -> None:
    async def test() -> None:
        from serving.config import Upstream

        engines = pair()
        async with asyncio.TaskGroup():
            for engine in engines:
                await engine.start()
            upstreams = tuple(Upstream(n, e.url) for n, e in (("a", engines[0]), ("a2", engines[0]), ("b", engines[1])))
            for engine in engines:
                await engine.stop()
            engines[0].card.take("a")
            groups = (("a", "a2", "b"),)
            async with fronted(*engines, upstreams=upstreams, groups=groups, policy=QUICK) as client:
                answers = await asyncio.gather(*(client.post({"model": name}) for name in ("a", "a2", "b", "a2")))
                assert [answer["by"] for _, answer, _ in answers] == ["a", "a", "b", "a"]
        assert engines[0].card.clashes == []

    run(test)


@pytest.mark.parametrize("seed", range(2))
def test_mixed_load_loses_and_doubles_nothing(seed: int) -> None:
    """Hundreds of requests of three models, some of which go away, some of which stream."""

    async def test() -> None:
        chance = random.Random(seed)
        engines = pair("a", "b", "c")
        statuses: dict[int, int] = {}
        async with swapping(engines) as client:

            async def ask(number: int) -> None:
                await asyncio.sleep(chance.random() * 2)
                body = {"model": chance.choice("abc"), "id": number, "gap": chance.random() * 0.05}
                body |= {"stream": chance.random() < 0.5, "n": 2}
                asked = asyncio.create_task(client.post(body))
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random() * 0.3)
                    asked.cancel()
                    await asyncio.gather(asked, return_exceptions=True)
                    return
                statuses[number] = (await asked)[0]

            await asyncio.gather(*(ask(number) for number in range(300)))
        assert set(statuses.values()) == {200}
        done = [number for engine in engines for number in engine.done]
        got = [body["id"] for engine in engines for body in engine.bodies]
        assert len(got) == len(set(got)), "a request was doubled"
        assert set(statuses) <= set(done), "a request was lost"

    run(test, 60)
