"""Takes in request bodies: whole, within bounds of size, time and memory."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from serving.config import Limits
from serving.errors import Refused


class Intake:
    """Reads bodies and counts the bytes that are held.

    Attributes:
        held_bytes: bodies that were read and not yet released.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held_bytes = 0

    async def read(self, request: web.BaseRequest) -> bytes:
        """Return a request's body; ``release`` it when it has been sent on.

        Raises:
            Refused: it is compressed, too large, too slow, or there is no room for it.
        """
        await self._check_head(request)
        if request.content.is_eof():
            chunks = [self._hold(0, request.content.read_nowait())]
        else:
            chunks = await self._chunks(request)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self, body: bytes) -> None:
        """Give back the room of a body that was read."""
        self.held_bytes -= len(body)

    async def _chunks(self, request: web.BaseRequest) -> list[bytes]:
        chunks, size, complete = list[bytes](), 0, False
        try:
            async with asyncio.timeout(self._limits.body_s):
                while chunk := await request.content.readany():
                    chunks.append(self._hold(size, chunk))
                    size += len(chunk)
            complete = True
        except TimeoutError as error:
            raise Refused("body_too_slow", seconds=self._limits.body_s) from error
        except web.RequestPayloadError as error:
            raise Refused("body_broken") from error
        finally:
            if not complete:
                self.held_bytes -= size
        return chunks

    def _hold(self, held: int, chunk: bytes) -> bytes:
        """Account for the next piece of a body of which ``held`` bytes are there."""
        if held + len(chunk) > self._limits.body_bytes:
            raise Refused("body_too_large", mib=self._limits.body_bytes >> 20)
        if self.held_bytes + len(chunk) > self._limits.held_bytes:
            raise Refused("gateway_full", retry_after_s=1)
        self.held_bytes += len(chunk)
        return chunk

    async def _check_head(self, request: web.BaseRequest) -> None:
        """Refuse by the headers alone what will be refused anyway."""
        headers = request.headers
        if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise Refused("compressed")
        if (request.content_length or 0) > self._limits.body_bytes:
            raise Refused("body_too_large", mib=self._limits.body_bytes >> 20)
        expected = headers.get(hdrs.EXPECT, "").lower()
        if expected == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        elif expected:
            raise Refused("wrong_expectation")
