"""An engine that writes down what reaches it, byte for byte, and answers what the test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Got:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


async def fine(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"object": "list", "data": [{"id": "m"}]})


@dataclass
class RecordingEngine:
    """A server for one test.

    Attributes:
        answer: what every request is answered with.
        got: the requests, less looks at health.
        looks: requests by GET.
    """

    answer: Answer = fine
    got: list[Got] = field(default_factory=list)
    looks: list[Got] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        line = f"{request.method} {request.raw_path}"
        got = Got(line, {name.lower(): value for name, value in request.headers.items()}, await request.content.read())
        (self.looks if request.method == "GET" else self.got).append(got)
        return await self.answer(request)


@asynccontextmanager
async def recording(answer: Answer = fine, tls: ssl.SSLContext | None = None) -> AsyncIterator[RecordingEngine]:
    """Run one inside the block."""
    engine = RecordingEngine(answer)
    runner = web.ServerRunner(web.Server(engine.handle, handler_cancellation=True, access_log=None), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    engine.url = f"{'https' if tls else 'http'}://127.0.0.1:{site.port}"
    try:
        yield engine
    finally:
        await runner.cleanup()


@asynccontextmanager
async def deaf() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """Run a server that accepts connections and reads nothing; yields its URL and the connections it has."""
    connections: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            if not (await reader.read(1)):
                return
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(30)
        finally:
            connections.remove(writer)
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
