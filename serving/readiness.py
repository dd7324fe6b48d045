"""Whether an engine is ready, and whether a running one is well: asked over HTTP on the loopback address."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from serving.spec import EngineSpec
from tools.domain import Note, note

_ANSWER_BYTES = 1 << 20
"""An answer that is longer counts as empty."""
_NAMES_SHOWN = 5
_NO_ROUTE = frozenset({400, 404, 405, 501})
"""What an engine says to a kind of request that its model is not for."""
_ASKS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("/v1/completions", {"prompt": "1", "max_tokens": 1, "temperature": 0}),
    ("/v1/embeddings", {"input": "1"}),
    ("/pooling", {"input": "1"}),
)
"""The smallest piece of work there is, by kind of model."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class Readiness:
    """Asks engines how they are. Use it as ``async with``.

    Redirects are not followed, and no proxy of the environment is asked.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Readiness:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None):
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def well(self, spec: EngineSpec, within_s: float) -> bool:
        """Tell whether an engine says that it is well."""
        status, _ = await self._call(spec, "GET", "/health", None, within_s)
        return status == 200

    async def unready(self, spec: EngineSpec, within_s: float) -> Note | None:
        """Return what still lacks of: its models are listed, and one token comes out; None when it is ready."""
        status, body = await self._call(spec, "GET", "/v1/models", None, within_s)
        try:
            listed = [row.id for row in msgspec.json.decode(body, type=_Models).data] if status == 200 else []
        except (msgspec.DecodeError, UnicodeDecodeError):
            listed = []
        missing = [name for name in spec.served_names if name not in listed]
        if missing:
            return note("fleet.names_missing", name=missing[0], listed=", ".join(listed[:_NAMES_SHOWN])[:200] or "-")
        first = None
        for path, words in _ASKS:
            status, _ = await self._call(spec, "POST", path, {"model": spec.served_names[0], **words}, within_s)
            if status == 200:
                return None
            first = status if first is None else first
            if status not in _NO_ROUTE:
                break
        return note("fleet.no_token", name=spec.served_names[0], status=first or "-")

    async def sleep(self, spec: EngineSpec, within_s: float) -> bool:
        """Put an engine to sleep; returns whether it took the wish."""
        status, _ = await self._call(spec, "POST", "/sleep?level=1&mode=wait", None, within_s)
        return status == 200

    async def _call(
        self, spec: EngineSpec, method: str, path: str, body: Mapping[str, Any] | None, within_s: float
    ) -> tuple[int, bytes]:
        """Return status and body; status 0 where nobody answers in time."""
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, auto_decompress=False)
        headers = {"Authorization": f"Bearer {spec.key}"} if spec.key else {}
        try:
            async with self._session.request(
                method,
                spec.url + path,
                json=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=within_s),
            ) as answer:
                said = bytearray()
                async for chunk in answer.content.iter_any():
                    said += chunk
                    if len(said) > _ANSWER_BYTES:
                        return answer.status, b""
                return answer.status, bytes(said)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, b""
