"""An engine that answers like vLLM's server, with vLLM's sleep routes, delays and faults, and that writes down all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Card:
    """The memory that engines of one group share: two awake at once is what must never be."""

    awake: set[str] = field(default_factory=set)
    clashes: list[tuple[str, ...]] = field(default_factory=list)
    switches: int = 0

    def take(self, name: str) -> None:
        self.awake.add(name)
        self.switches += 1
        if len(self.awake) > 1:
            self.clashes.append(tuple(sorted(self.awake)))

    def give(self, name: str) -> None:
        self.awake.discard(name)


@dataclass
class SimulatedEngine:
    """State and record of one engine.

    A request body may steer it: ``n`` pieces, ``gap`` seconds before each, ``status``, ``cut`` to break off after that
    many pieces, ``id`` to be found in ``done``.
    """

    name: str = "m"
    card: Card = field(default_factory=Card)
    can_sleep: bool = True
    has_health: bool = True
    start_s: float = 0.0
    stop_s: float = 0.0
    fail_starts: int = 0
    sleep_s: float = 0.0
    wake_s: float = 0.0
    sleeping: bool = False
    status: int = 200
    fail_wakes: int = 0
    fail_sleeps: int = 0
    hung: bool = False
    url: str = ""
    active: int = 0
    got: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)
    done: list[Any] = field(default_factory=list)
    cancelled: int = 0
    asked_asleep: list[Any] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    runner: web.AppRunner | None = None
    port: int = 0

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()
        if not self.sleeping:
            self.card.take(self.name)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body, _ in self.got]

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30, middlewares=[self._hang])
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/v1/responses"):
            app.router.add_post(path, self._generate)
        app.router.add_get("/v1/models", self._models)
        if self.has_health:
            app.router.add_get("/health", self._health)
        for path in ("/collective_rpc", "/update_weights", "/reset_prefix_cache", "/v1/load_lora_adapter"):
            app.router.add_post(path, self._control)
        if self.can_sleep:
            app.router.add_post("/sleep", self._sleep)
            app.router.add_post("/wake_up", self._wake_up)
            app.router.add_get("/is_sleeping", self._is_sleeping)
        self.runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.01)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site.port
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Die: every connection breaks, and memory is free."""
        if self.runner is not None:
            for connection in self.runner.server.connections if self.runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()
            await self.runner.cleanup()
            self.runner = None
        self.card.give(self.name)

    async def restart(self, *, sleeping: bool = False) -> None:
        self.sleeping = sleeping
        if not sleeping:
            self.card.take(self.name)
        await self.start()

    @web.middleware
    async def _hang(self, request: web.Request, handler: Any) -> web.StreamResponse:
        while self.hung:
            await asyncio.sleep(0.01)
        return await handler(request)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.got.append((request.path, body, request.headers.copy()))
        self.active += 1
        try:
            if self.sleeping:
                self.asked_asleep.append(body.get("id"))
            while self.sleeping:  # vLLM queues and says nothing
                self._changed.clear()
                await self._changed.wait()
            answer = await self._answer(request, body)
            self.done.append(body.get("id"))
            return answer
        except ConnectionResetError:  # who asked is gone, or this engine dies
            self.cancelled += 1
            return web.Response(status=500)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1
            self._notify()

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        status = body.get("status", self.status)
        if not body.get("stream"):
            await asyncio.sleep(body.get("gap", 0))
            if body.get("cut") == 0:
                assert request.transport is not None
                request.transport.abort()
            payload = {"model": body["model"], "by": self.name, "choices": [{"message": {"content": "hello"}}]}
            if "size" in body:
                payload["padding"] = "y" * body["size"]
            answer = web.json_response(payload, status=status, headers={"X-Request-Id": "r1", "Set-Cookie": "a=b"})
            return answer
        response = web.StreamResponse(status=status, headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(body.get("n", 3)):
            if body.get("cut") == number:
                assert request.transport is not None
                request.transport.close()
                return response
            await asyncio.sleep(body.get("gap", 0))
            await response.write(f'data: {{"choices":[{{"delta":{{"content":"w{number}"}}}}]}}\n\n'.encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.name, "object": "model"}]})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.status)  # 200 also while asleep, as vLLM's is

    async def _control(self, request: web.Request) -> web.Response:
        self.controls.append(request.path)
        return web.json_response({"results": [None]})

    async def _sleep(self, request: web.Request) -> web.Response:
        self.controls.append(request.path_qs)
        await asyncio.sleep(self.sleep_s)
        if self.fail_sleeps:
            self.fail_sleeps -= 1
            return web.Response(status=500)
        while request.query.get("mode") == "wait" and self.active:
            self._changed.clear()
            await self._changed.wait()
        self.sleeping = True
        self.card.give(self.name)
        return web.json_response({"status": "sleeping", "level": int(request.query.get("level", 1))})

    async def _wake_up(self, request: web.Request) -> web.Response:
        self.controls.append(request.path_qs)
        self.card.take(self.name)
        await asyncio.sleep(self.wake_s)
        if self.fail_wakes:
            self.fail_wakes -= 1
            self.card.give(self.name)
            return web.Response(status=500)
        self.sleeping = request.query.get("tags") == "weights"
        self._notify()
        return web.json_response({"status": "sleeping" if self.sleeping else "awake", "tags": None})

    async def _is_sleeping(self, request: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self.sleeping})

    def _notify(self) -> None:
        self._changed.set()


@asynccontextmanager
async def engines(*wanted: SimulatedEngine) -> AsyncIterator[None]:
    """Run engines inside the block."""
    for engine in wanted:
        await engine.start()
    try:
        yield
    finally:
        for engine in wanted:
            await engine.stop()
