"""One request to one engine and its answer back, byte for byte, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import aiohttp
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, istr
from yarl import URL

from serving.addresses import NearResolver
from serving.calls import Answer, Calls
from serving.config import Limits
from serving.errors import Refused
from serving.upstreams import Engine
from tools.errors import BadValue

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

_ANSWERED = frozenset({"content-type", "content-encoding", "cache-control", "date", "retry-after", "x-request-id"})
_ANSWERED_PREFIXES = ("x-ratelimit-", "openai-", "anthropic-")
"""An engine's headers that a caller gets to see, and how others begin that it sees too."""

_AT_ONCE_BYTES = 1 << 16
"""Answers of a known length up to this go out in one piece; it fits a socket's buffers, so it waits for no reader."""
_BODILESS = frozenset({204, 304})
"""Answers that have neither a body nor its length (RFC 9110, 8.6)."""
_CONTROL_BYTES = 1 << 18
"""Most that is read of an answer that is for the gateway itself."""


class Question(NamedTuple):
    """What an engine is asked.

    Attributes:
        path: one of the paths that the gateway knows, never a caller's.
        body: what is sent.
        content_type: what the body is.
        asked: the caller's headers, of which the allowed ones go along.
    """

    path: str
    body: bytes
    content_type: str
    asked: Mapping[str, str]


class Whole(web.StreamResponse):
    """A short answer, written in one piece: an eighth of the gateway's work less than ``web.Response``."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        super().__init__(status=status)
        self._lines = [f"{name}: {value}" for name, value in headers]
        self._whole = body
        self._kept = True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""
        return self._kept

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write all.

        Raises:
            ConnectionResetError: the caller went away.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller went away")
        self._kept = request.keep_alive
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *self._lines]
        if self.status not in _BODILESS:
            lines.append(f"Content-Length: {len(self._whole)}")
        if not self._kept:
            lines.append("Connection: close")
        elif request.version < HttpVersion11:
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines)
        transport.write(f"{head}\r\n\r\n".encode() + self._whole)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: all is written."""


class Relay:
    """Sends requests to engines. Open it inside a running event loop; close it afterwards."""

    def __init__(self, limits: Limits, secrets: Mapping[str, str], *, far: bool, language: str) -> None:
        self._calls = Calls(limits.connect_s, limits.silence_s, None if far else NearResolver())
        self._limits = limits
        self._language = language
        self._bearers = {variable: _bearer(variable, secret) for variable, secret in secrets.items()}
        self._urls: dict[tuple[Engine, str], URL] = {}

    async def close(self) -> None:
        """Close every connection to engines."""
        await self._calls.close()

    async def ask(self, engine: Engine, question: Question) -> Answer:
        """Send a question to an engine and wait for the head of its answer.

        Raises:
            aiohttp.ClientError: the engine did not begin to answer.
            TimeoutError: it was silent for too long.
        """
        headers = {"Content-Type": question.content_type}
        asked = question.asked
        headers.update((name, asked[name]) for name in _ASKED if name in asked)
        self._authorize(engine, headers)
        return await self._calls.call("POST", self._url(engine, question.path), headers, question.body)

    async def control(self, engine: Engine, method: str, path: str, body: bytes, within_s: float) -> tuple[int, bytes]:
        """Ask an engine for something of its own, not for a caller; returns the status and the answer's beginning.

        Raises:
            aiohttp.ClientError: there was no answer.
            TimeoutError: not in time.
        """
        headers = {"Content-Type": "application/json"} if body else {}
        self._authorize(engine, headers)
        async with asyncio.timeout(within_s):
            async with await self._calls.call(method, self._url(engine, path), headers, body) as answer:
                got = b""
                while len(got) < _CONTROL_BYTES and (piece := await answer.content.readany()):
                    got += piece
                return answer.status, got[:_CONTROL_BYTES]

    async def hand_back(self, request: web.BaseRequest, answer: Answer, extra: Mapping[str, str]) -> web.StreamResponse:
        """Send an engine's answer to the caller.

        An answer that the engine breaks off is broken off here too: after an error event where a stream stands between
        two events, and without the end that would make it look whole.

        Raises:
            Refused: the engine broke off, and nothing has been sent yet.
        """
        headers = [*_passed_back(answer), *extra.items()]
        length = answer.length
        if length is not None and length <= _AT_ONCE_BYTES:
            try:
                body = await answer.content.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Refused("engine_broke_off") from error
            return Whole(answer.status, headers, body)
        response = web.StreamResponse(status=answer.status, headers=CIMultiDict(headers))
        response.content_length = length
        await response.prepare(request)
        await self._pump(request, answer, response)
        return response

    async def _pump(self, request: web.BaseRequest, answer: Answer, response: web.StreamResponse) -> None:
        content, last = answer.content, b"\n\n"
        while True:
            try:
                chunk = await content.readany()
            except (aiohttp.ClientError, TimeoutError):
                if last.endswith(b"\n\n") and answer.is_events:
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
            headers["Authorization"] = self._bearers[engine.key_env]

    def _url(self, engine: Engine, path: str) -> URL:
        place = (engine, path)
        if place not in self._urls:
            self._urls[place] = URL(engine.url + path, encoded=True)
        return self._urls[place]


def _bearer(variable: str, secret: str) -> str:
    key = secret.strip()
    if not key.isascii() or not key.isprintable():
        raise BadValue("errors_serving.bad_upstream_secret", name=variable)
    return f"Bearer {key}"


def _passed_back(answer: Answer) -> Iterator[tuple[str, str]]:
    """Return an engine's headers that a caller gets to see; nothing in them can begin another line."""
    yield "Server", "rigfit"
    for name, value in answer.headers.items():
        low = name.lower()
        if (low in _ANSWERED or low.startswith(_ANSWERED_PREFIXES)) and name.isprintable() and value.isprintable():
            yield name, value
