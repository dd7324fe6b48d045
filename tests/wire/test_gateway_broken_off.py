"""Callers and engines that go away in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import psutil
import pytest
from aiohttp import web
from gateway_client import CHAT, HEAD, Client, asked, fronted, raw, run, until
from recording_engine import deaf, recording
from simulated_engine import Card, SimulatedEngine

from serving.config import Limits, Upstream
from serving.orders import Policy


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


def test_a_caller_that_does_not_read_is_let_go() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, limits=Limits(write_s=0.3)) as client:
            host, port = client.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(asked(b'{"model":"a","size":60000000}'))
            in_flight = f'rigfit_gateway_requests_in_flight{{engine="{engine.url}"}} '
            for now in ("1.0", "0.0"):
                async with asyncio.timeout(10):
                    while in_flight + now not in (await client.get("/metrics"))[1]:
                        await asyncio.sleep(0.02)
            assert len(await reader.read(100)) == 100  # what had been sent is still there
            writer.close()

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


@asynccontextmanager
async def saying(words: bytes, then_s: float = 0.0) -> AsyncIterator[str]:
    """Run an engine that says the same to whoever asks, waits, and closes the connection; yields its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        await writer.drain()
        await asyncio.sleep(then_s)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize(
    "spoken",
    [
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"choices"',
        b"220 mail.example ESMTP\r\n",
    ],
    ids=["breaks-off", "nonsense"],
)
def test_a_short_answer_that_is_not_whole_is_an_error(spoken: bytes) -> None:
    async def test() -> None:
        async with saying(spoken) as url, fronted(upstreams=(Upstream("a", url),)) as client:
            status, answer, _ = await client.post({"model": "a"})
            assert (status, answer["error"]["code"]) == (502, "engine_broke_off")

    run(test)


async def connect(client: Client, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    return reader, writer


def test_who_leaves_while_waiting_for_a_turn_is_never_asked_for() -> None:
    async def test() -> None:
        card = Card()
        awake, asleep = SimulatedEngine("a", card), SimulatedEngine("b", card, sleeping=True)
        async with fronted(awake, asleep, groups=(("a", "b"),), policy=Policy(min_awake_s=0.1, grace_s=0.1)) as client:
            await client.post({"model": "a"})
            busy = asyncio.create_task(client.post({"model": "a", "gap": 0.5}))
            await until(lambda: awake.active == 1)
            _, leaving = await connect(client, asked(b'{"model":"b","id":"left"}'))
            stays = asyncio.create_task(client.post({"model": "b", "id": "stays"}))
            waiting = f'rigfit_gateway_requests_waiting{{engine="{asleep.url}"}} '
            for now in ("2.0", "1.0"):
                while waiting + now not in (await client.get("/metrics"))[1]:
                    await asyncio.sleep(0.01)
                leaving.close()
            assert (await busy)[0] == (await stays)[0] == 200
        assert asleep.done == ["stays"]
        assert not card.clashes

    run(test)


def test_who_leaves_in_the_middle_of_a_body_gives_its_room_back() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine, limits=Limits(held_bytes=1_000_000)) as client:
            half = HEAD + b"Content-Length: 1000000\r\n\r\n" + b'{"model":"a","x":"' + b"x" * 600_000
            other = {"model": "a", "x": "y" * 500_000}
            for _ in range(3):
                async with asyncio.timeout(10):
                    _, leaving = await connect(client, half)
                    await asyncio.sleep(0.1)
                    while (await client.post(other))[0] != 503:  # the other one was faster: once more
                        leaving.close()
                        _, leaving = await connect(client, half)
                        await asyncio.sleep(0.1)
                    leaving.close()
                    while (await client.post(other))[0] != 200:
                        await asyncio.sleep(0.01)
        assert {len(body["x"]) for body in engine.bodies} == {500_000}  # of what is not whole nothing is passed on

    run(test)


def test_who_leaves_while_the_engine_does_not_take_the_body_frees_its_connection() -> None:
    async def test() -> None:
        async with deaf() as (url, connections), fronted(upstreams=(Upstream("a", url),), check_s=60) as client:
            body = b'{"model":"a","x":"' + b"x" * 30_000_000 + b'"}'
            posting = asyncio.create_task(client.post(body))
            await until(lambda: len(connections) == 2)  # one is the look at its health
            await asyncio.sleep(0.2)
            in_flight = f'rigfit_gateway_requests_in_flight{{engine="{url}"}} '
            assert in_flight + "1.0" in (await client.get("/metrics"))[1]
            posting.cancel()
            async with asyncio.timeout(5):
                while in_flight + "0.0" not in (await client.get("/metrics"))[1]:
                    await asyncio.sleep(0.01)
            assert posting.cancelled()
            port = int(url.rpartition(":")[2])
            await until(lambda: not [line for line in psutil.Process().net_connections() if line.raddr[1:] == (port,)])

    run(test)


def test_who_leaves_with_requests_in_the_pipeline_ends_the_first_and_the_others_never_begin() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            for stream in (b"true", b"false"):
                first = asked(b'{"model":"a","n":3,"gap":30,"stream":%b}' % stream)
                _, leaving = await connect(client, first + 20 * asked(b'{"model":"a","id":"late"}'))
                await until(lambda: engine.active == 1)
                leaving.close()
                await until(lambda: engine.active == 0)
            await asyncio.sleep(0.1)
        assert engine.cancelled == 2
        assert engine.done == []

    run(test)


def test_who_leaves_in_the_middle_of_a_stream_ends_it() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            reader, leaving = await connect(client, asked(b'{"model":"a","n":1000,"gap":0.02,"stream":true}'))
            await reader.readuntil(b"w2")
            leaving.close()
            await until(lambda: engine.active == 0)
        assert engine.cancelled == 1

    run(test)


def test_an_engine_that_answers_before_it_took_the_body_is_heard() -> None:
    async def test() -> None:
        async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
            await writer.drain()
            await asyncio.sleep(1)
            writer.close()

        server = await asyncio.start_server(hasty, "127.0.0.1", 0, limit=1024)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with fronted(upstreams=(Upstream("a", url),), check_s=60) as client:
            status, answer, _ = await client.post(b'{"model":"a","x":"' + b"x" * 30_000_000 + b'"}')
            assert (status, answer) == (413, {})
        server.close()

    run(test)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
    ],
    ids=["two-framings", "interim", "until-the-end"],
)
def test_answers_are_framed_anew(head: bytes) -> None:
    async def test() -> None:
        async with saying(head) as url, fronted(upstreams=(Upstream("a", url),)) as client:
            got = await raw(
                client.url, asked(b'{"model":"a"}') + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", wait_s=0.5
            )
            if not got.startswith(b"HTTP/1.1 502"):  # what can't be read for sure may be refused
                first, _, second = got.partition(b"{}")
                assert first.count(b"HTTP/1.1 200 OK\r\n") == 1
                assert second.count(b"HTTP/1.1 200 OK\r\n") == 1
                assert first.lower().count(b"content-length") + first.lower().count(b"transfer-encoding") == 1

    run(test)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 99 * b"HTTP/1.1 102 P\r\n\r\n"],
)
def test_answers_that_never_come_are_errors(head: bytes) -> None:
    async def test() -> None:
        async with saying(head, 5) as url, fronted(upstreams=(Upstream("a", url),), check_s=60) as client:
            status, said, _ = await client.post({"model": "a"})
            assert (status, said["error"]["code"]) == (502, "engine_broke_off")

    run(test)


@pytest.mark.parametrize("length", [2, 200_000], ids=["short", "long"])
def test_an_engine_can_not_write_headers_of_its_own_choice(length: int) -> None:
    async def test() -> None:
        evil = b"X-Request-Id: r\rSet-Cookie: a=b\r\nOpenAI-X: \x00\r\nopenai-y: \xff\tz\r\nSet-Cookie: c=d\r\n"
        rest = b"Retry-After: 3\r\nContent-Length: %d\r\n\r\n" % length
        spoken = b"HTTP/1.1 200 OK\r\n" + evil + rest + b"x" * length
        async with saying(spoken) as url, fronted(upstreams=(Upstream("a", url),)) as client:
            got = await raw(client.url, asked(b'{"model":"a"}'), wait_s=0.5)
            head = got.partition(b"\r\n\r\n")[0]
            assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 502"))  # an engine that can't be read may be refused
            assert b"Set-Cookie" not in head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            assert b"\x00" not in head

    run(test)


def test_a_short_answer_without_a_body_has_none() -> None:
    async def test() -> None:
        async def nothing(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=204)

        async with recording(nothing) as engine, fronted(upstreams=(Upstream("a", engine.url),)) as client:
            got = await raw(client.url, 2 * asked(b'{"model":"a"}'), wait_s=0.5)
            assert got.count(b"HTTP/1.1 204 No Content\r\n") == 2
            assert got.endswith(b"\r\n\r\n")
            assert b"Content-Length" not in got

    run(test)
