"""The gateway in front of simulated engines, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from gateway_client import CHAT, Client, fronted, raw, run, until
from recording_engine import recording
from simulated_engine import SimulatedEngine, engines
from yarl import URL

from serving.config import GatewayConfig, Upstream
from serving.server import opened


def test_each_model_is_answered_by_its_own_engine() -> None:
    async def test() -> None:
        a, b = SimulatedEngine("a"), SimulatedEngine("b")
        async with fronted(a, b) as client:
            for name in ("a", "b", "a"):
                status, answer, _ = await client.post({"model": name, "messages": []})
                assert (status, answer["by"]) == (200, name)
        assert [len(e.got) for e in (a, b)] == [2, 1]

    run(test)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/tokenize", "/v1/responses"])
def test_other_questions_are_routed_alike(path: str) -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            assert (await client.post({"model": "a", "input": "x"}, path))[0] == 200
        assert engine.got[0][0] == path

    run(test)


def test_a_body_reaches_the_engine_byte_for_byte() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        body = '{"x":1.0,  "model" : "a", "seed": 123456789012345678901234567890, "y":"é\\u00e9"}'.encode()
        async with fronted(engine) as client:
            await client.post(body)
        assert engine.got[0][2]["Content-Length"] == str(len(body))
        assert engine.bodies[0]["seed"] == 123456789012345678901234567890

    run(test)


def test_an_alias_reaches_the_engine_under_the_name_it_knows() -> None:
    async def test() -> None:
        engine = SimulatedEngine("org/real-name")
        async with fronted(engine, aliases={"short": "org/real-name"}) as client:
            status, _, _ = await client.post(b'{"model":"short","temperature":1.0,"big":12345678901234567890123}')
            assert status == 200
        assert engine.bodies == [{"model": "org/real-name", "temperature": 1.0, "big": 12345678901234567890123}]

    run(test)


def test_models_are_listed_as_openai_lists_them() -> None:
    async def test() -> None:
        up, down = SimulatedEngine("up"), SimulatedEngine("down")
        async with fronted(up, down, aliases={"other": "up"}) as client:
            await asyncio.sleep(0.1)
            await down.stop()
            await asyncio.sleep(0.3)
            status, answer = await client.get("/v1/models")
            health, _ = await client.get("/health")
        assert (status, health, answer["object"]) == (200, 200, "list")
        rows = {row["id"]: row for row in answer["data"]}
        assert {name: row["state"] for name, row in rows.items()} == {"up": "ready", "down": "down", "other": "ready"}
        assert rows["other"]["root"] == "up"
        assert all(row["object"] == "model" and row["owned_by"] and row["created"] > 0 for row in rows.values())

    run(test)


def test_an_unknown_model_is_a_404_that_names_the_models() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a"), aliases={"b": "a"}) as client:
            status, answer, response = await client.post({"model": 'x"\r\nSet-Cookie: a=b\x1b[31m' + "y" * 5000})
            error = answer["error"]
            assert (status, error["type"], error["code"], error["param"]) == (
                404,
                "invalid_request_error",
                "model_not_found",
                "model",
            )
            assert "a, b" in error["message"]
            assert len(error["message"]) < 300
            assert "\x1b" not in error["message"]
            assert "Set-Cookie" not in response.headers
            assert 'model="x' not in (await client.get("/metrics"))[1]

    run(test)


def test_a_stream_comes_as_it_is_made() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            body = {"model": "a", "stream": True, "n": 3, "gap": 0.15}
            times = []
            async with client.session.post(client.url + CHAT, json=body) as answer:
                assert answer.content_type == "text/event-stream"
                async for chunk in answer.content.iter_any():
                    times.append((asyncio.get_running_loop().time(), chunk))
        text = b"".join(chunk for _, chunk in times)
        assert text.count(b"data: ") == 4
        assert text.endswith(b"data: [DONE]\n\n")
        assert times[2][0] - times[0][0] > 0.25

    run(test)


def test_large_bodies_and_answers_arrive_whole() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            body = {"model": "a", "image": "x" * 5_000_000, "size": 3_000_000}
            status, answer, _ = await client.post(body)
            assert (status, len(answer["padding"])) == (200, 3_000_000)
        assert engine.bodies == [body]

    run(test)


def test_keys() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, keys=("k1", "k2")) as client:
            for headers in ({}, {"Authorization": "Bearer k"}, {"Authorization": "k1"}, {"Authorization": "Basic k1"}):
                status, answer, _ = await client.post({"model": "a"}, headers=headers)
                assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
            assert (await client.get("/v1/models"))[0] == 401
            assert (await client.get("/metrics"))[0] == 401
            assert (await client.get("/health"))[0] == 200
            for headers in ({"Authorization": "Bearer k2"}, {"Authorization": "bearer k1"}, {"x-api-key": "k1"}):
                assert (await client.post({"model": "a"}, headers=headers))[0] == 200
        assert len(engine.got) == 3

    run(test)


def test_a_stop_lets_running_requests_finish() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with engines(engine):
            config = GatewayConfig((Upstream("a", engine.url),), port=0)
            async with aiohttp.ClientSession() as session:
                async with opened(config, {}) as url:
                    client = Client(url, session)
                    body = {"model": "a", "stream": True, "n": 4, "gap": 0.1}
                    running = asyncio.create_task(client.post(body))
                    await until(lambda: engine.active == 1)
                status, text, _ = await running
                assert status == 200
                assert text.endswith("data: [DONE]\n\n")
                with pytest.raises(aiohttp.ClientConnectorError):
                    await client.get("/health")

    run(test)


def test_hundreds_of_streams_at_once() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with engines(engine):
            config = GatewayConfig((Upstream("a", engine.url),), port=0)
            connector = aiohttp.TCPConnector(limit=0)
            async with opened(config, {}) as url, aiohttp.ClientSession(connector=connector) as session:
                client = Client(url, session)
                body = {"model": "a", "stream": True, "n": 2, "gap": 0.5}
                answers = await asyncio.gather(*(client.post(body) for _ in range(200)))
        assert all(status == 200 and text.endswith("[DONE]\n\n") for status, text, _ in answers)

    run(test)


def test_metrics_know_models_and_statuses() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            await client.post({"model": "a"})
            await client.post({"model": "nosuch"})
            text = (await client.get("/metrics"))[1]
            assert 'rigfit_gateway_requests_total{model="a",status="200"} 1.0' in text
            assert 'rigfit_gateway_requests_total{model="",status="404"} 1.0' in text
            assert 'rigfit_gateway_first_byte_seconds_count{model="a"} 1.0' in text

    run(test)


async def get(client: Client, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Get a path just as it is written here."""
    async with client.session.get(URL(client.url + path, encoded=True), headers=headers) as answer:
        return answer.status, await answer.json()


def test_one_model_is_told_by_its_name() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("org/real"), aliases={"short": "org/real"}, keys=("k",)) as client:
            key = {"Authorization": "Bearer k"}
            while (await get(client, "/v1/models/short", key))[1]["state"] != "ready":
                await asyncio.sleep(0.02)
            _, listed = await client.get("/v1/models", headers=key)
            for name, path in (("org/real", "org/real"), ("org/real", "org%2Freal"), ("short", "sh%6Frt?x=1")):
                status, row = await get(client, f"/v1/models/{path}", key)
                assert (status, row["id"], row["root"]) == (200, name, "org/real")
                assert row in listed["data"]
            status, answer = await client.get("/v1/models/org/other", headers=key)
            error = answer["error"]
            assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
            for path in ("/v1/models/", "/v1/models/%ff", "/v1/models/../../health", "/v1/models/org/real/"):
                assert (await get(client, path, key))[0] == 404
            assert (await client.get("/v1/models/org/real"))[0] == 401
            async with client.session.delete(client.url + "/v1/models/short", headers=key) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "GET")

    run(test)


def test_the_head_of_what_may_be_got() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            while (await client.states())["a"] != "ready":
                await asyncio.sleep(0.02)
            asked = b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
            last = b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            first, second, rest = (await raw(client.url, asked + last)).split(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 200")
            assert second.startswith(b"HTTP/1.1 200")
            assert rest == b""
            length = int(first.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            async with client.session.get(client.url + "/v1/models") as answer:
                assert len(await answer.read()) == length
            async with client.session.head(client.url + CHAT) as answer:
                assert answer.status == 405

    run(test)


def test_what_follows_a_question_mark_stays_behind() -> None:
    async def test() -> None:
        async with recording() as engine, fronted(upstreams=(Upstream("m", engine.url),)) as client:
            query = "?api-version=2026-01-01&level=2&model=x&/../sleep#x"
            assert (await client.post({"model": "m"}, CHAT + query))[0] == 200
            assert engine.got[0].line == f"POST {CHAT}"
            assert (await client.get("/v1/models?after_id=a&limit=1"))[0] == 200

    run(test)
