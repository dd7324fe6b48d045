"""What a hostile or clumsy client sends to the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from gateway_client import CHAT, HEAD, fronted, raw, run
from simulated_engine import SimulatedEngine

from serving.config import Limits
from serving.routes import FORWARDED


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
        (b'{"model":"a","x":NaN}', 400, "invalid_json"),
        (b'{"model":"a","x":-Infinity}', 400, "invalid_json"),
        (b'{"model":"a\xff"}', 400, "invalid_json"),
        (b'{"model":"\\ud800"}', 400, "invalid_json"),
        (b'{"model":"a","x":"\x00"}', 400, "invalid_json"),
        (b'\xef\xbb\xbf{"model":"a"}', 400, "invalid_json"),
        ('{"model":"a"}'.encode("utf-16"), 400, "invalid_json"),
        (b'{"model":"a",}', 400, "invalid_json"),
        (b"{'model':'a'}", 400, "invalid_json"),
        (b'{"model":"a\\u0000"}', 404, "model_not_found"),
        (b'{"MODEL":"a"}', 400, "missing_required_parameter"),
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
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/./v1/chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat/completions%3f",
        "/v1/chat/completions%0d%0aX:1",
        "/v1/chat/completions\\..\\..\\sleep",
        "/v1/models/../../sleep",
        "/v1/models/..%2f..%2fsleep",
        "/v1/audio/transcriptions/../../../sleep",
        "127.0.0.1:8000",
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
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: 13\r\n",
        b"Transfer_Encoding: chunked\r\nContent-Length: -13\r\n",
        b"Content-Length: 13\r\nContent-Length: 13\r\n X: y\r\n",
        b"Content-Length: 18446744073709551629\r\n",
    ],
)
def test_requests_can_not_be_smuggled(framing: bytes) -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            got = await raw(client.url, HEAD + framing + b"\r\n" + b'{"model":"a"}' + SMUGGLED, wait_s=1)
            assert b"HTTP/1.1 4" in got or b"HTTP/1.0 4" in got
            assert not engine.controls
            assert len(engine.got) <= 1
            assert all(body == {"model": "a"} for body in engine.bodies)

    run(test)


def test_chunked_bodies_and_pipelines_are_framed_anew() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            chunked = HEAD + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"model"\r\n5\r\n:"a"}\r\n0\r\n\r\n'
            plain = HEAD + b"Content-Length: 13\r\nConnection: close\r\n\r\n" + b'{"model":"a"}'
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
    "chunks",
    [
        b'd;x="y\n0\r\n\r\n',
        b'+d\r\n{"model":"a"}\r\n0\r\n\r\n',
        b'-1\r\n{"model":"a"}\r\n0\r\n\r\n',
        b'0xd\r\n{"model":"a"}\r\n0\r\n\r\n',
        b'1000000000000000d\r\n{"model":"a"}\r\n0\r\n\r\n',
        b'd\n{"model":"a"}\n0\n\n',
        b'd\r\n{"model":"a"}0\r\n\r\n',
        b'd\r\n{"model":"a"}XX0\r\n\r\n',
    ],
)
def test_chunks_that_can_not_be_told_apart_reach_no_engine(chunks: bytes) -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, limits=Limits(body_s=0.5)) as client:
            got = await raw(client.url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + SMUGGLED, wait_s=1)
            assert got.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
            assert b" 200 " not in got
        assert not engine.got
        assert not engine.controls

    run(test)


@pytest.mark.parametrize(
    "spoken",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + 32 * b"\x00",
        b"GET /v1/models\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x00" * 5000,
    ],
    ids=["http2", "tls", "http0.9", "http9.9", "zeros"],
)
def test_who_speaks_another_language_is_shown_out(spoken: bytes) -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a"), limits=Limits(header_s=0.5)) as client:
            got = await raw(client.url, spoken, wait_s=2)
            assert not got or got.split(b" ")[1] in {b"400", b"404", b"505"}
            assert (await client.get("/health"))[0] == 200

    run(test)


def test_an_older_caller_gets_an_answer_that_it_can_read() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            for stream in (b"true", b"false"):
                body = b'{"model":"a","stream":%b}' % stream
                head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
                got = await raw(client.url, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                assert got.split(b" ")[1] == b"200"
                assert b"chunked" not in got.lower()

    run(test)


def test_a_head_that_comes_drop_by_drop_is_awaited_no_longer() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a"), limits=Limits(header_s=0.4)) as client:
            host, port = client.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n")
            began = asyncio.get_running_loop().time()
            while not reader.at_eof() and asyncio.get_running_loop().time() - began < 5:
                with suppress(ConnectionError):
                    writer.write(b"X: y\r\n")
                    await writer.drain()
                with suppress(TimeoutError, ConnectionError):
                    await asyncio.wait_for(reader.read(1), 0.1)
            assert asyncio.get_running_loop().time() - began < 3
            writer.close()

    run(test)


def test_of_two_models_in_one_body_the_engine_that_is_asked_reads_its_own() -> None:
    async def test() -> None:
        a, b = SimulatedEngine("a"), SimulatedEngine("b")
        async with fronted(a, b, aliases={"other": "b"}) as client:
            for body in (
                b'{"model":"a","model":"b"}',
                b'{"model":"a","mod\\u0065l":"b"}',
                b'{"model":"a","x":{"model":"a"},"model":"b"}',
                b'{"model":"a","model":"other"}',
                b'{"x":[{"model":"a"}],"model":"other","y":"\\"model\\":\\"a\\""}',
            ):
                assert (await client.post(body))[1]["by"] == "b"
        assert not a.got
        assert [body["model"] for body in b.bodies] == ["b"] * 5

    run(test)
