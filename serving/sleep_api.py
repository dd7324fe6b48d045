"""vLLM's sleep mode over HTTP: the only calls the gateway makes to an engine's controls.

Source: vLLM 0.32, vllm/entrypoints/serve/dev/sleep/api_router.py; the routes are there with VLLM_SERVER_DEV_MODE=1.
``/health`` says nothing here: it is 200 while the engine sleeps.
"""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec

from serving.orders import Seen
from serving.relay import Relay
from serving.upstreams import Engine
from tools.domain import Note

LOOK_S = 3.0
"""An engine that takes longer to say whether it sleeps counts as silent."""
_POLL_S = 0.05
_NO_WAY_IN = frozenset({301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 501})
"""What servers answer that know nothing of sleep, or would not let the gateway steer it."""
_RELOAD = b'{"method":"reload_weights"}'


class _Sleeping(msgspec.Struct):
    is_sleeping: bool


class SleepApi:
    """Puts engines to sleep and wakes them.

    Args:
        relay: what carries the calls.
        level: 1 keeps the weights in the machine's memory, 2 drops them and reads them again from disk.
        within_s: longest time for one sleep or one wake.
    """

    def __init__(self, relay: Relay, level: int = 1, within_s: float = 120.0) -> None:
        self._relay = relay
        self._level = level
        self._within_s = within_s
        self._answer = msgspec.json.Decoder(_Sleeping)

    async def sleep(self, engine: Engine) -> bool:
        """Put an engine to sleep once its requests are through; returns whether it sleeps.

        ``mode=wait`` lets requests finish that did not come through this gateway; the default would abort them.
        """
        calls = ((f"/sleep?level={self._level}&mode=wait", b""),)
        return await self._all(engine, calls) and await self._becomes(engine, Seen.ASLEEP)

    async def wake(self, engine: Engine) -> bool:
        """Wake an engine; returns whether it is awake.

        After level 2 the weights' memory comes back empty and is filled from disk before the cache is made
        (docs.vllm.ai, features/sleep_mode: level 2 over HTTP).
        """
        calls = (("/wake_up", b""),)
        if self._level > 1:
            calls = (("/wake_up?tags=weights", b""), ("/collective_rpc", _RELOAD), ("/wake_up?tags=kv_cache", b""))
        return await self._all(engine, calls) and await self._becomes(engine, Seen.AWAKE)

    async def look(self, engine: Engine) -> Seen:
        """Ask an engine whether it sleeps."""
        try:
            status, body = await self._relay.control(engine, "GET", "/is_sleeping", b"", LOOK_S)
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError):
            return Seen.GONE
        except (aiohttp.ClientError, TimeoutError):
            return Seen.SILENT
        if status in _NO_WAY_IN:
            return Seen.SLEEPLESS
        if status != 200:
            return Seen.SILENT
        try:
            return Seen.ASLEEP if self._answer.decode(body).is_sleeping else Seen.AWAKE
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Seen.SLEEPLESS  # a page that some servers show for every path

    def why(self, engine: Engine) -> Note | None:
        """Return None: what went wrong stands in the engine's own log."""
        del engine

    async def _all(self, engine: Engine, calls: tuple[tuple[str, bytes], ...]) -> bool:
        for path, body in calls:
            try:
                status, _ = await self._relay.control(engine, "POST", path, body, self._within_s)
            except (aiohttp.ClientError, TimeoutError):
                return False
            if status != 200:
                return False
        return True

    async def _becomes(self, engine: Engine, wanted: Seen) -> bool:
        """Look until an engine is what it was told to be; vLLM answers only then, others may answer before."""
        seen = await self.look(engine)
        end = asyncio.get_running_loop().time() + self._within_s
        while seen is not wanted and asyncio.get_running_loop().time() < end:
            if seen in {Seen.GONE, Seen.SILENT}:
                return False
            await asyncio.sleep(_POLL_S)
            seen = await self.look(engine)
        return seen is wanted
