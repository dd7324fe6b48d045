"""One request to one engine and its answer back, byte for byte, as it comes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, istr
from yarl import URL

from serving.addresses import NearResolver
from serving.config import Limits
from serving.errors import Refused
from serving.upstreams import Engine

_ASKED = tuple(
    map(
        istr,
        (
            "Accept",
            "Accept-Encoding",
            "X-Request-Id",
            "traceparent",
            "tracestate",
            "OpenAI-Beta",
            "OpenAI-Organization",
            "OpenAI-Project",
            "anthropic-version",
            "anthropic-beta",
        ),
    )
)
"""A caller's headers that an engine gets to see. Framing, credentials, cookies and hops are the gateway's own."""

_ANSWERED = frozenset({"content-type", "content-encoding", "cache-control", "retry-after", "x-request-id"})
_ANSWERED_PREFIXES = ("x-ratelimit-", "openai-", "anthropic-")
"""An engine's headers that a caller gets to see, and how others begin that it sees too."""

_AT_ONCE_BYTES = 1 << 16
"""Answers of a known length up to this go out in one piece; it fits a socket's buffers, so it waits for no reader."""
_IDLE_S = 3.0
"""How long an unused connection to an engine is kept: uvicorn, so vLLM and SGLang, close theirs after 5 s."""
_LARGE_BODY_BYTES = 1 << 20
_CONTROL_BYTES = 1 << 18
"""Most that is read of an answer that is for the gateway itself."""

_SKIPPED = tuple(map(istr, ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")))


class Relay:
    """Sends requests to engines. Open it inside a running event loop; close it afterwards."""

    def __init__(self, limits: Limits, secrets: Mapping[str, str], *, far: bool, language: str) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S, resolver=None if far else NearResolver())
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_SKIPPED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.silence_s),
        )
        self._limits = limits
        self._language = language
        self._secrets = secrets
        self._urls: dict[tuple[Engine, str], URL] = {}

    async def close(self) -> None:
        """Close every connection to engines."""
        await self._session.close()

    async def ask(
        self, engine: Engine, path: str, body: bytes, asked: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """Send a JSON body to an engine and wait for the head of its answer.

        Args:
            engine: who is asked.
            path: one of the paths that the gateway knows, never a caller's.
            body: the JSON.
            asked: the caller's headers, of which the allowed ones go along.

        Raises:
            aiohttp.ClientError: the engine did not begin to answer.
            TimeoutError: it was silent for too long.
        """
        headers: dict[str, str] = {"Content-Type": "application/json"}
        if asked:
            headers.update((name, asked[name]) for name in _ASKED if name in asked)
        data = body if len(body) <= _LARGE_BODY_BYTES else io.BytesIO(body)
        url = self._url(engine, path)
        self._authorize(engine, headers)
        return await self._session.post(url, data=data, headers=headers, allow_redirects=False)

    async def control(self, engine: Engine, method: str, path: str, body: bytes, within_s: float) -> tuple[int, bytes]:
        """Ask an engine for something of its own, not for a caller; returns the status and the answer's beginning.

        Raises:
            aiohttp.ClientError: there was no answer.
            TimeoutError: not in time.
        """
        headers = {"Content-Type": "application/json"} if body else {}
        self._authorize(engine, headers)
        limit = aiohttp.ClientTimeout(total=within_s, sock_connect=self._limits.connect_s)
        url = self._url(engine, path)
        async with self._session.request(
            method, url, data=body or None, headers=headers, timeout=limit, allow_redirects=False
        ) as answer:
            return answer.status, await answer.content.read(_CONTROL_BYTES)

    async def hand_back(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, extra: Mapping[str, str]
    ) -> web.StreamResponse:
        """Send an engine's answer to the caller.

        An answer that the engine breaks off is broken off here too: after an error event where a stream stands between
        two events, and without the end that would make it look whole.

        Raises:
            Refused: the engine broke off, and nothing has been sent yet.
        """
        headers = _passed_back(answer)
        headers.update(extra)
        length = answer.content_length
        if length is not None and length <= _AT_ONCE_BYTES:
            try:
                body = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Refused("engine_broke_off") from error
            return web.Response(status=answer.status, body=body, headers=headers)
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = length
        await response.prepare(request)
        await self._pump(request, answer, response)
        return response

    async def _pump(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        content, last = answer.content, b"\n\n"
        while True:
            try:
                chunk = await content.readany()
            except (aiohttp.ClientError, TimeoutError):
                if last.endswith(b"\n\n") and answer.content_type == "text/event-stream":
                    await self._write(request, response, self._broken_event())
                request.protocol.force_close()
                return
            if not chunk:
                return
            await self._write(request, response, chunk)
            last = chunk

    async def _write(self, request: web.BaseRequest, response: web.StreamResponse, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.write_s):
                await response.write(chunk)
        except TimeoutError:
            request.protocol.force_close()
            raise ConnectionResetError("the caller does not read") from None

    def _broken_event(self) -> bytes:
        return b"data: " + Refused("engine_broke_off").body(self._language) + b"\n\n"

    def _authorize(self, engine: Engine, headers: dict[str, str]) -> None:
        if engine.key_env is not None:
            headers["Authorization"] = f"Bearer {self._secrets[engine.key_env]}"

    def _url(self, engine: Engine, path: str) -> URL:
        place = (engine, path)
        if place not in self._urls:
            self._urls[place] = URL(engine.url + path, encoded=True)
        return self._urls[place]


def _passed_back(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    headers = CIMultiDict[str]({"Server": "rigfit"})
    for name, value in answer.headers.items():
        low = name.lower()
        if low in _ANSWERED or low.startswith(_ANSWERED_PREFIXES):
            headers.add(name, value)
    return headers
