"""Callers and engines that go away in the middle."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from gateway_client import CHAT, fronted, run, until
from simulated_engine import SimulatedEngine

from serving.config import Limits, Upstream


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
