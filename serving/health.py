"""Looks at every engine again and again, so that requests go to those that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import aiohttp
import msgspec

from serving.notices import Notices
from serving.relay import Relay
from serving.routes import HEALTH, MODELS
from serving.upstreams import Engine, Upstreams

WITHIN_S = 3.0
"""An engine that takes longer to say how it is counts as down."""
_NO_SUCH_PAGE = range(300, 500)
"""What endpoints answer where ``/health`` is not theirs: unknown, elsewhere, not allowed."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def check(engine: Engine, relay: Relay, within_s: float = WITHIN_S) -> bool:
    """Look at one engine and note what was seen.

    vLLM, SGLang and llama.cpp have ``/health`` (vLLM's is 503 when its core has died); who hasn't is asked for its
    models, as every OpenAI endpoint can be.
    """
    try:
        status, _ = await relay.control(engine, "GET", engine.health_path, b"", within_s)
        if status in _NO_SUCH_PAGE and engine.health_path == HEALTH:
            engine.health_path = MODELS
            status, _ = await relay.control(engine, "GET", MODELS, b"", within_s)
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    engine.healthy = status == 200
    return engine.healthy


async def unknown_names(engine: Engine, relay: Relay) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names that an engine is to answer for and does not list, and those that it lists.

    An engine that lists nothing readable has no unknown names.
    """
    try:
        status, body = await relay.control(engine, "GET", MODELS, b"", WITHIN_S)
        listed = tuple(row.id for row in msgspec.json.decode(body, type=_Models).data)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError):
        return (), ()
    if status != 200 or not listed:
        return (), ()
    return tuple(name for name in engine.models if name not in listed), listed


async def watch(
    upstreams: Upstreams, relay: Relay, every_s: float, notices: Notices, quiet: Collection[str] = ()
) -> None:
    """Check every engine again and again, each in its own time, for ever.

    Args:
        upstreams: the engines.
        relay: what carries the questions.
        every_s: seconds between two checks.
        notices: told when an engine's health changes, and once of names that it does not know.
        quiet: addresses of engines of which somebody else tells.
    """
    async with asyncio.TaskGroup() as group:
        for engine in upstreams.engines:
            group.create_task(_watch(engine, relay, every_s, notices, engine.url in quiet))


async def _watch(engine: Engine, relay: Relay, every_s: float, notices: Notices, quiet: bool) -> None:
    named = quiet
    while True:
        before = engine.healthy
        await check(engine, relay)
        if not quiet and engine.healthy is not before and (before is not None or not engine.healthy):
            notices.health(engine)
        if engine.healthy and not named:
            named = True
            unknown, listed = await unknown_names(engine, relay)
            for name in unknown:
                notices.misnamed(engine, name, listed)
        await asyncio.sleep(every_s)
