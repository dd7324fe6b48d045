"""A client of the gateway, and a gateway in front of simulated engines, for tests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
from simulated_engine import SimulatedEngine, engines
from simulated_fleet import SimulatedFleet

from serving.config import GatewayConfig, Upstream
from serving.fleet_control import OwnEngines
from serving.server import Endpoint, opened, opened_endpoint

CHAT = "/v1/chat/completions"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
"""How a question begins; its framing follows."""


def asked(body: bytes) -> bytes:
    """Return a whole question, as it is sent."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Client:
    """Asks the gateway."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session = url, session

    async def post(self, body: Any, path: str = CHAT, **options: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | options.pop("headers", {})
        async with self.session.post(self.url + path, data=data, headers=headers, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text, answer

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.get(self.url + path, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def answers_again(self, model: str) -> None:
        """Wait until a model that failed answers; until then it says why not, and when to ask again."""
        async with asyncio.timeout(20):
            while (asked := await self.post({"model": model}))[0] != 200:
                status, answer, response = asked
                assert status == 503, answer
                assert answer["error"]["code"]
                assert int(response.headers["Retry-After"]) >= 1
                await asyncio.sleep(0.05)

    async def states(self) -> dict[str, str]:
        _, answer = await self.get("/v1/models")
        return {row["id"]: row["state"] for row in answer["data"]}


@asynccontextmanager
async def fronted(
    *behind: SimulatedEngine, secrets: dict[str, str] | None = None, upstreams: Any = None, **changes: Any
) -> AsyncIterator[Client]:
    """Run engines and a gateway inside the block."""
    async with engines(*behind):
        named = upstreams or tuple(Upstream(engine.name, engine.url) for engine in behind)
        config = replace(GatewayConfig(named, port=0, check_s=0.1), **changes)
        connector = aiohttp.TCPConnector(limit=0)
        async with opened(config, secrets or {}) as url, aiohttp.ClientSession(connector=connector) as session:
            yield Client(url, session)


@asynccontextmanager
async def run_and_fronted(
    *behind: SimulatedEngine, elsewhere: tuple[SimulatedEngine, ...] = (), said: list[str] | None = None, **changes: Any
) -> AsyncIterator[tuple[Client, SimulatedFleet, Endpoint]]:
    """Run a fleet of engines that take turns, further engines elsewhere, and a gateway inside the block."""
    fleet = SimulatedFleet(*behind)
    own = OwnEngines(
        fleet,
        {engine.url: engine.name for engine in behind},
        frozenset(engine.url for engine in behind if engine.can_sleep),
    )
    async with engines(*elsewhere):
        upstreams = tuple(Upstream(engine.name, engine.url) for engine in (*behind, *elsewhere))
        groups = (tuple(engine.name for engine in behind),)
        config = replace(GatewayConfig(upstreams, port=0, check_s=0.1, groups=groups), **changes)
        connector = aiohttp.TCPConnector(limit=0)
        say = (said if said is not None else []).append
        try:
            async with (
                opened_endpoint(config, {}, say, own) as endpoint,
                aiohttp.ClientSession(connector=connector) as session,
            ):
                yield Client(endpoint.url, session), fleet, endpoint
        finally:
            await fleet.close()


def run(test: Callable[[], Awaitable[None]], within_s: float = 30) -> None:
    """Run a test inside an event loop of its own."""

    async def limited() -> None:
        async with asyncio.timeout(within_s):
            await test()

    asyncio.run(limited())


async def until(met: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not met():
            await asyncio.sleep(0.005)


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
