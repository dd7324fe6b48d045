"""The engines behind the gateway: replicas, remote endpoints, keys, health."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from gateway_client import fronted, run
from simulated_engine import SimulatedEngine, engines

from serving.config import GatewayConfig, Upstream
from serving.server import opened


def test_replicas_share_the_work_and_stand_in_for_each_other() -> None:
    async def test() -> None:
        one, two = SimulatedEngine("a"), SimulatedEngine("a")
        async with fronted(one, two) as client:
            await asyncio.gather(*(client.post({"model": "a", "gap": 0.1}) for _ in range(10)))
            assert (len(one.got), len(two.got)) == (5, 5)
            await one.stop()
            answers = await asyncio.gather(*(client.post({"model": "a"}) for _ in range(10)))
            assert [status for status, _, _ in answers] == [200] * 10
            two.status = 503
            await one.restart()
            assert (await client.post({"model": "a"}))[0] == 200

    run(test)


def test_a_stream_that_has_begun_is_never_asked_for_again() -> None:
    async def test() -> None:
        one, two = SimulatedEngine("a"), SimulatedEngine("a")
        async with fronted(one, two) as client:
            with pytest.raises(aiohttp.ClientPayloadError):
                await client.post({"model": "a", "stream": True, "n": 5, "cut": 1, "id": 1})
            assert len(one.got) + len(two.got) == 1

    run(test)


def test_an_endpoint_without_health_is_asked_for_its_models() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a", has_health=False)
        async with fronted(engine) as client:
            await asyncio.sleep(0.25)
            assert (await client.get("/v1/models"))[1]["data"][0]["state"] == "ready"

    run(test)


def test_an_engine_sees_its_own_key_and_nothing_of_the_callers() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        await engine.start()
        upstreams = (Upstream("a", engine.url, "ENGINE_KEY"),)
        await engine.stop()
        engine.card.take("a")
        async with fronted(engine, upstreams=upstreams, secrets={"ENGINE_KEY": "secret"}, keys=("k",)) as client:
            sent = {
                "Authorization": "Bearer k",
                "Cookie": "session=1",
                "X-Forwarded-For": "1.2.3.4",
                "Connection": "x-evil",
                "X-Evil": "1",
                "X-Request-Id": "r7",
                "traceparent": "00-1-1-00",
            }
            status, _, response = await client.post({"model": "a"}, headers=sent)
            assert status == 200
            assert "Set-Cookie" not in response.headers
            assert response.headers["X-Request-Id"] == "r1"
        seen = engine.got[0][2]
        assert seen["Authorization"] == "Bearer secret"
        assert (seen["X-Request-Id"], seen["traceparent"]) == ("r7", "00-1-1-00")
        assert not {"Cookie", "X-Forwarded-For", "X-Evil", "User-Agent"} & set(seen)

    run(test)


def test_no_engine_is_a_503_that_says_when_to_return() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            await engine.stop()
            status, answer, response = await client.post({"model": "a"})
            assert (status, answer["error"]["code"]) == (503, "engine_unreachable")
            assert int(response.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.3)
            assert (await client.get("/health"))[0] == 503
            await engine.restart()
            assert (await client.post({"model": "a"}))[0] == 200

    run(test)


def test_a_redirect_is_not_followed() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            assert (await client.post({"model": "a", "status": 307}, allow_redirects=False))[0] == 307

    run(test)


def test_engines_own_errors_pass_through() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            for code in (400, 404, 422, 429, 500, 503):
                assert (await client.post({"model": "a", "status": code}))[0] == code

    run(test)


def test_a_name_that_its_engine_does_not_know_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        engine = SimulatedEngine("real/name")
        async with engines(engine):
            config = GatewayConfig(
                (Upstream("mine", engine.url), Upstream("real/name", engine.url)), port=0, check_s=0.05
            )
            async with opened(config, {}):
                await asyncio.sleep(0.3)

    run(test)
    said = capsys.readouterr().out
    assert said.count("“mine”") == 1
    assert "it serves: real/name" in said
