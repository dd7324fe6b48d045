"""One page from a stranger's server: limited in size, time and kind, and only from addresses that were checked.

The connection is made to the very address that was checked, so that a name that changes its address between the check
and the connection (DNS rebinding) gains nothing; each redirect is checked like the first address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tools.search.addresses import Resolve, look_up
from tools.search.at_once import within
from tools.search.hits import safe_url

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, TCPConnector
    from yarl import URL

MAX_BYTES = 512 * 1024
"""Most that is read of a page, unpacked; what comes after is left out."""
MAX_REDIRECTS = 3
PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain", "text/markdown"})
_HEADERS = {"User-Agent": "Rigfit (reads one page for one question)", "Accept": "text/html,text/plain;q=0.8"}
_STEP = 16 * 1024
_GONE_ON = frozenset({301, 302, 303, 307, 308})
_MOST_ADDRESSES = 8


class Refused(OSError):
    """A page that is not read: from a private address, too often redirected, of another kind, or not there."""


@dataclass(frozen=True, slots=True)
class Download:
    """What a server sent.

    Attributes:
        url: where it came from in the end.
        status: the HTTP status.
        kind: the content type without its parameters.
        charset: what the server says the bytes are encoded in, or None.
    """

    url: str
    status: int
    kind: str
    charset: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """How a page may be fetched.

    Attributes:
        allowed: whether an address and port may be connected to.
        resolve: a host's addresses.
        kinds: content types that are read; empty = any.
        max_bytes: most that is read.
    """

    allowed: Callable[[str, int], bool]
    resolve: Resolve = look_up
    kinds: frozenset[str] = PAGE_TYPES
    max_bytes: int = MAX_BYTES


def fetch(url: str, timeout_s: float, limits: Limits) -> Download:
    """Fetch an address, following redirects to where the same limits hold.

    Raises:
        Refused: the address, a redirect, the status or the content type is not one that is read.
        OSError: the server can't be reached.
        TimeoutError: it took longer than ``timeout_s``.
    """
    import asyncio

    deadline = time.monotonic() + timeout_s
    for _ in range(MAX_REDIRECTS + 1):
        addresses = _checked(url, deadline, limits)
        found, on = asyncio.run(_get(url, addresses, deadline, limits))
        if found is not None:
            return found
        url = on
    raise Refused("redirected too often")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _checked(url: str, deadline: float, limits: Limits) -> list[str]:
    """Return the addresses of a page's host, all of them allowed. What ``yarl`` reads is what aiohttp connects to."""
    from yarl import URL

    try:
        parts = URL(url)
        host, port = parts.host, parts.port
    except ValueError as error:
        raise Refused("no address") from error
    if not safe_url(url) or not host or not port:
        raise Refused("no address of a page")
    found = within(partial(limits.resolve, host, port), _left(deadline))[:_MOST_ADDRESSES]
    if not found or not all(limits.allowed(address, port) for address in found):
        raise Refused("not a public address")
    return list(found)


async def _get(url: str, addresses: Sequence[str], deadline: float, limits: Limits) -> tuple[Download | None, str]:
    """Ask once; return the page, or where it has gone."""
    import aiohttp

    limit = aiohttp.ClientTimeout(total=_left(deadline))
    try:
        async with _session(addresses, limit) as session, session.get(url, allow_redirects=False) as answer:
            if answer.status in _GONE_ON:
                return None, str(_joined(answer))
            return await _read(answer, limits), ""
    except (aiohttp.ClientError, ValueError) as error:
        raise error if isinstance(error, OSError) else OSError(type(error).__name__) from error


def _session(addresses: Sequence[str], limit: Any) -> ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=_connector(addresses),
        timeout=limit,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        max_line_size=8190,
        max_field_size=8190,
    )


def _connector(addresses: Sequence[str]) -> TCPConnector:
    """Return a connector that knows the checked addresses and no others."""
    import socket

    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Pinned(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in addresses
            ]

        async def close(self) -> None:
            """Nothing is held."""

    return aiohttp.TCPConnector(resolver=Pinned(), use_dns_cache=False, limit=1, force_close=True)


def _joined(answer: ClientResponse) -> URL:
    from yarl import URL

    return answer.url.join(URL(answer.headers.get("Location", "")))


async def _read(answer: ClientResponse, limits: Limits) -> Download:
    kind = answer.content_type.lower()
    if limits.kinds and (answer.status != 200 or kind not in limits.kinds):
        raise Refused(f"{answer.status} {kind}"[:80])
    body = bytearray()
    async for piece in answer.content.iter_chunked(_STEP):
        body += piece
        if len(body) >= limits.max_bytes:
            break
    return Download(str(answer.url), answer.status, kind, answer.charset, bytes(body[: limits.max_bytes]))
