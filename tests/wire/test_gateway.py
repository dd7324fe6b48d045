"""The gateway in front of simulated engines, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from gateway_client import CHAT, Client, fronted, run, until
from simulated_engine import SimulatedEngine, engines

from serving.config import GatewayConfig, Limits, Upstream
from serving.routes import FORWARDED
from serving.server import opened


async def raw(url: str, *pieces: bytes, wait_s: float = 5) -> bytes:
    """Send bytes as they are and return all that comes back until the end or a pause."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    got = b""
    try:
        async with asyncio.timeout(wait_s):
            while chunk := await reader.read(65536):
                got += chunk
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return got


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


def test_a_client_that_goes_away_frees_the_engine() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            for stream in (True, False):
                asked = asyncio.create_task(client.post({"model": "a", "stream": stream, "gap": 30}))
                await until(lambda: engine.active == 1)
                asked.cancel()
                await until(lambda: engine.active == 0)
        assert engine.cancelled == 2

    run(test)


def test_an_engine_that_breaks_off_never_looks_complete() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            got = list[bytes]()

            async def ask() -> None:
                body = {"model": "a", "stream": True, "n": 5, "cut": 2}
                async with client.session.post(client.url + CHAT, json=body) as answer:
                    async for chunk in answer.content.iter_any():
                        got.append(chunk)

            with pytest.raises(aiohttp.ClientPayloadError):
                await ask()
            events = [json.loads(line[6:]) for line in b"".join(got).decode().splitlines() if line]
            assert events[-1]["error"]["code"] == "engine_broke_off"
            assert len(events) == 3
            status, answer, _ = await client.post({"model": "a", "cut": 0})
            assert (status, answer["error"]["code"]) == (503, "engine_unreachable")

    run(test)


def test_a_short_answer_that_breaks_off_is_an_error() -> None:
    async def test() -> None:
        async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            writer.write(head + b'{"choices"')
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(broken, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with fronted(upstreams=(Upstream("a", url),)) as client:
            status, answer, _ = await client.post({"model": "a"})
            assert (status, answer["error"]["code"]) == (502, "engine_broke_off")
        server.close()

    run(test)


def test_an_engine_that_talks_nonsense_is_an_error() -> None:
    async def test() -> None:
        async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with fronted(upstreams=(Upstream("a", url),)) as client:
            status, answer, _ = await client.post({"model": "a"})
            assert (status, answer["error"]["code"]) == (502, "engine_broke_off")
        server.close()

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


def test_a_caller_that_does_not_read_is_let_go() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, limits=Limits(write_s=0.3)) as client:
            host, port = client.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            body = b'{"model":"a","size":60000000}'
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            in_flight = f'rigfit_gateway_requests_in_flight{{engine="{engine.url}"}} '
            for now in ("1.0", "0.0"):
                async with asyncio.timeout(10):
                    while in_flight + now not in (await client.get("/metrics"))[1]:
                        await asyncio.sleep(0.02)
            assert len(await reader.read(100)) == 100  # what had been sent is still there
            writer.close()

    run(test)


def test_engines_own_errors_pass_through() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            for code in (400, 404, 422, 429, 500, 503):
                assert (await client.post({"model": "a", "status": code}))[0] == code

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


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "missing_required_parameter"),
        (b'"a"', 400, "missing_required_parameter"),
        (b"{}", 400, "missing_required_parameter"),
        (b'{"model":null}', 400, "missing_required_parameter"),
        (b'{"model":["a"]}', 400, "missing_required_parameter"),
        (b'{"model":"a","x":' + b"[" * 100_000, 400, "invalid_json"),
        (b'{"model":"a"}{"model":"a"}', 400, "invalid_json"),
    ],
)
def test_bodies_that_no_engine_shall_see(body: bytes, status: int, code: str) -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            got, answer, _ = await client.post(body)
            assert (got, answer["error"]["code"]) == (status, code)
            assert (await client.post({"model": "a"}))[0] == 200
        assert len(engine.got) == 1

    run(test)


def test_too_large_bodies_are_refused_before_they_are_read() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, limits=Limits(body_bytes=1 << 20)) as client:
            big = b'{"model":"a","x":"' + b"x" * (2 << 20) + b'"}'
            status, answer, _ = await client.post(big)
            assert (status, answer["error"]["code"]) == (413, "request_too_large")

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(big), 100_000):
                    yield big[start : start + 100_000]

            headers = {"Content-Type": "application/json"}
            async with client.session.post(client.url + CHAT, data=pieces(), headers=headers) as chunked:
                assert chunked.status == 413
            ask = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            head = ask + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
            assert (await raw(client.url, head)).startswith(b"HTTP/1.1 413")
        assert not engine.got

    run(test)


def test_a_body_is_awaited_for_a_while_only() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a"), limits=Limits(body_s=0.2, header_s=0.3)) as client:
            ask = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            got = await raw(client.url, ask + b"Content-Length: 100\r\n\r\n{")
            assert got.startswith(b"HTTP/1.1 408")
            # a head that never ends, and a connection that says nothing
            for begun in (ask, b""):
                began = asyncio.get_running_loop().time()
                assert await raw(client.url, begun) == b""
                assert asyncio.get_running_loop().time() - began < 2

    run(test)


def test_a_careful_client_is_told_to_go_on() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            body = b'{"model":"a"}'
            head = (
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            got = await raw(client.url, head, body)
            assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")

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


def test_only_pages_that_are_allowed_may_call() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, origins=("https://chat.example",)) as client:
            status, answer, _ = await client.post({"model": "a"}, headers={"Origin": "http://evil.example"})
            assert (status, answer["error"]["code"]) == (403, "origin_not_allowed")
            status, _, response = await client.post({"model": "a"}, headers={"Origin": "https://chat.example"})
            assert (status, response.headers["Access-Control-Allow-Origin"]) == (200, "https://chat.example")
            options = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
            async with client.session.options(client.url + CHAT, headers=options) as preflight:
                assert preflight.status == 204
                assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert len(engine.got) == 1

    run(test)


@pytest.mark.parametrize(
    "target",
    [
        "/sleep",
        "/wake_up",
        "/is_sleeping",
        "/collective_rpc",
        "/update_weights",
        "/reset_prefix_cache",
        "/v1/load_lora_adapter",
        "/v1/../sleep",
        "/v1/chat/completions/../../../sleep",
        "/v1/%2e%2e/sleep",
        "/v1%2fchat%2fcompletions",
        "/v1/chat/completions/",
        "//sleep",
        "/v1/chat/completions%00",
        "/V1/chat/completions",
        "/v1/chat/completions;x",
        "/sleep?level=1",
        "/sleep#/v1/chat/completions",
        "http://127.0.0.1/v1/chat/completions",
        "*",
    ],
)
def test_nothing_but_the_listed_paths_can_be_reached(target: str) -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            for method in ("POST", "GET", "PUT", "DELETE", "PATCH"):
                body = b'{"model":"a"}' if method != "GET" else b""
                head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                got = await raw(client.url, head.encode() + body)
                assert got.split(b" ")[1] in {b"404", b"405", b"400"}, got
        assert not engine.controls
        assert not engine.got

    run(test)


def test_no_listed_path_is_a_control() -> None:
    controls = {"sleep", "wake_up", "collective_rpc", "update", "lora", "reset", "pause", "abort", "profile", "scale"}
    assert not [path for path in FORWARDED if any(word in path for word in controls)]


SMUGGLED = b"POST /sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 13\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 13\r\nContent-Length: 60\r\n",
        b"Content-Length: +13\r\n",
        b"Content-Length: 0x0d\r\n",
        b"Content-Length: 13, 13\r\n",
        b"Content-Length : 13\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: a\nContent-Length: 13\r\n",
        b"X: a\rContent-Length: 13\r\n",
        b" Content-Length: 13\r\n",
        b"X: \x00\r\nContent-Length: 13\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 13\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ],
)
def test_requests_can_not_be_smuggled(framing: bytes) -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + framing
            got = await raw(client.url, head + b"\r\n" + b'{"model":"a"}' + SMUGGLED, wait_s=1)
            assert b"HTTP/1.1 4" in got or b"HTTP/1.0 4" in got
            assert not engine.controls
            assert len(engine.got) <= 1
            assert all(body == {"model": "a"} for body in engine.bodies)

    run(test)


def test_chunked_bodies_and_pipelines_are_framed_anew() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            chunked = head + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"model"\r\n5\r\n:"a"}\r\n0\r\n\r\n'
            plain = head + b"Content-Length: 13\r\nConnection: close\r\n\r\n" + b'{"model":"a"}'
            got = await raw(client.url, chunked + plain)
            assert got.count(b"HTTP/1.1 200") == 2
        assert [headers.get("Content-Length") for _, _, headers in engine.got] == ["13", "13"]
        assert not any("Transfer-Encoding" in headers for _, _, headers in engine.got)

    run(test)


@pytest.mark.parametrize("header", [b"X: " + b"y" * 20_000, b"".join(b"X%d: 1\r\n" % n for n in range(500))[:-2]])
def test_heads_are_bounded(header: bytes) -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            got = await raw(client.url, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n", wait_s=1)
            assert got.split(b" ")[1] in {b"400", b"431"}

    run(test)


def test_bodies_in_another_dress_are_refused() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}, {"Expect": "a pony"}):
                status, answer, _ = await client.post({"model": "a"}, headers=headers)
                assert status in {415, 417, 400}
                assert status == 400 or answer["error"]["message"]
        assert not engine.got

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


def test_a_redirect_is_not_followed() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            assert (await client.post({"model": "a", "status": 307}, allow_redirects=False))[0] == 307

    run(test)
