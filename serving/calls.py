"""One HTTP/1.1 question to an engine and its answer, on aiohttp's connections and parser.

Without ``aiohttp.ClientSession``, whose cookies, redirects, retries and compression a gateway must not have: a question
takes half of the processor's time so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, StreamWriter
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy
from yarl import URL

_IDLE_S = 3.0
"""How long an unused connection is kept: uvicorn, so vLLM and SGLang, close theirs after 5 s."""
_AT_ONCE_BYTES = 1 << 16
"""Bodies up to this are written at once; longer ones as the engine takes them, while its answer is awaited."""
_PIECE_BYTES = 1 << 18
_MOST_HEADS = 8
"""Interim answers (RFC 9110, 15.2) and the final one."""


class NotHttp(aiohttp.ClientError):
    """The other side does not speak HTTP/1.1."""


class Answer:
    """The head of an answer; ``content`` is its body, byte for byte as it was sent.

    Leaving it as a context manager gives the connection back where the body was read to its end, else breaks it off,
    which ends the engine's work.

    Attributes:
        status: HTTP's.
        headers: all of them.
        content: the body.
    """

    __slots__ = ("_connection", "_sending", "content", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: CIMultiDictProxy[str],
        content: StreamReader,
        connection: Connection,
        sending: asyncio.Task[None] | None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._connection = connection
        self._sending = sending

    @property
    def length(self) -> int | None:
        """Bytes of the body where that is known; a body in chunks has no length, whatever else is said."""
        if hdrs.TRANSFER_ENCODING in self.headers:
            return None
        length = self.headers.get(hdrs.CONTENT_LENGTH)
        return None if length is None else int(length)

    @property
    def is_events(self) -> bool:
        """Tell whether it is a stream of server-sent events."""
        return self.headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("text/event-stream")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sent = self._sending is None or self._sending.done()
        if sent and self.content.is_eof():
            self._connection.release()
        else:
            _break_off(self._connection, self._sending)


class Calls:
    """Connections to engines. Open it inside a running event loop; close it afterwards.

    Args:
        connect_s: time to reach an engine.
        silence_s: longest time without a byte from an engine that answers.
        resolver: what looks names up; None = the machine's own.
    """

    def __init__(self, connect_s: float, silence_s: float, resolver: AbstractResolver | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S, resolver=resolver)
        self._timeout = aiohttp.ClientTimeout(sock_connect=connect_s)
        self._silence_s = silence_s
        self._places: dict[URL, aiohttp.ClientRequest] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()

    async def call(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and wait for the head of its answer.

        Args:
            method: GET or POST.
            url: where to; encoded as it is to be sent.
            headers: without ``Host`` and ``Content-Length``, which are set here.
            body: the whole of it.

        Raises:
            aiohttp.ClientError: there was no answer.
            TimeoutError: none in time; aiohttp.ConnectionTimeoutError where the engine could not even be reached.
            ValueError: a header's value can't be one.
        """
        head = _head(method, url, headers, body)
        connection = await self._connect(url)
        sending: asyncio.Task[None] | None = None
        answer: Answer | None = None
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(
                read_until_eof=True, auto_decompress=False, read_timeout=self._silence_s, read_bufsize=_AT_ONCE_BYTES
            )
            sending = self._write(protocol, transport, head, body)
            for _ in range(_MOST_HEADS):
                message, content = await protocol.read()
                if message.code >= 200:
                    answer = Answer(message.code, message.headers, content, connection, sending)
                    return answer
                if message.code == 101:
                    break
            raise NotHttp("no final answer")
        except HttpProcessingError as error:
            raise NotHttp(error.message) from error
        finally:
            if answer is None:
                _break_off(connection, sending)

    def _write(
        self, protocol: ResponseHandler, transport: asyncio.Transport, head: bytes, body: bytes
    ) -> asyncio.Task[None] | None:
        """Write a request, or have a long one written; the engine's silence counts from now."""
        protocol.start_timeout()
        if len(body) <= _AT_ONCE_BYTES:
            transport.write(head + body)
            return None
        transport.write(head)
        return self._loop.create_task(_send(StreamWriter(protocol, self._loop), body))

    async def _connect(self, url: URL) -> Connection:
        if url not in self._places:
            self._places[url] = aiohttp.ClientRequest(hdrs.METH_GET, url, loop=self._loop)
        try:
            return await self._connector.connect(self._places[url], [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(str(url)) from error


async def _send(writer: StreamWriter, body: bytes) -> None:
    whole = memoryview(body)
    try:
        for start in range(0, len(body), _PIECE_BYTES):
            await writer.write(whole[start : start + _PIECE_BYTES])
    except (aiohttp.ClientError, ConnectionError):
        return  # whoever waits for the answer is told the same


def _break_off(connection: Connection, sending: asyncio.Task[None] | None) -> None:
    """Close a connection at once, whatever is still to be sent."""
    if sending is not None:
        sending.cancel()
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()


def _head(method: str, url: URL, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += (f"{name}: {value}" for name, value in headers.items())
    if body or method == hdrs.METH_POST:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1 or "\0" in text:
        raise ValueError("a line break in a header")
    return f"{text}\r\n\r\n".encode("utf-8", "surrogateescape")
