"""Looks at every engine again and again, so that requests go to those that answer."""

from __future__ import annotations

import asyncio

import aiohttp

from serving.relay import Relay
from serving.routes import HEALTH, MODELS
from serving.upstreams import Engine, Upstreams

WITHIN_S = 3.0
"""An engine that takes longer to say how it is counts as down."""
_UNKNOWN_PAGE = frozenset({404, 405})


async def check(engine: Engine, relay: Relay, within_s: float = WITHIN_S) -> bool:
    """Look at one engine and note what was seen.

    vLLM, SGLang and llama.cpp have ``/health`` (vLLM's is 503 when its core has died); who hasn't is asked for its
    models, as every OpenAI endpoint can be.
    """
    try:
        status, _ = await relay.control(engine, "GET", engine.health_path, b"", within_s)
        if status in _UNKNOWN_PAGE and engine.health_path == HEALTH:
            engine.health_path = MODELS
            status, _ = await relay.control(engine, "GET", MODELS, b"", within_s)
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    engine.healthy = status == 200
    return engine.healthy


async def watch(upstreams: Upstreams, relay: Relay, every_s: float) -> None:
    """Check every engine again and again, each in its own time, for ever."""
    async with asyncio.TaskGroup() as group:
        for engine in upstreams.engines:
            group.create_task(_watch(engine, relay, every_s))


async def _watch(engine: Engine, relay: Relay, every_s: float) -> None:
    while True:
        await check(engine, relay)
        await asyncio.sleep(every_s)
