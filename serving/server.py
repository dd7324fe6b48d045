"""Runs the gateway: sockets, limits, signals, and an end that lets running requests finish."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from serving.config import GatewayConfig
from serving.errors import Refused
from serving.fleet_control import FleetControl, OwnEngines
from serving.gateway import Gateway
from serving.health import check, watch
from serving.metrics import Metrics
from serving.notices import Notices, Say
from serving.orders import Phase
from serving.relay import Relay
from serving.sleep_api import SleepApi
from serving.turns import Control, Turns
from serving.upstreams import Engine, Upstreams

_BACKLOG = 1024
_LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the caller sees the answer."""
_DESCRIPTORS = 65_536
"""Descriptors wanted: two for each of some ten thousand streams, and room."""


def serve(config: GatewayConfig, secrets: Mapping[str, str], ready: Callable[[str], None], say: Say) -> None:
    """Run the gateway until SIGINT or SIGTERM; a second one does not wait for running requests.

    Args:
        config: how.
        secrets: engines' keys by the names of their variables.
        ready: called once with the address when connections are accepted.
        say: called with what whoever runs the gateway should know.
    """
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=loop_factory()) as runner, suppress(asyncio.CancelledError):
        runner.run(_serve(config, secrets, ready, say))


async def _serve(config: GatewayConfig, secrets: Mapping[str, str], ready: Callable[[str], None], say: Say) -> None:
    stop = asyncio.Event()
    loop, me = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        if stop.is_set() and me is not None:
            me.cancel()  # the second time: at once
        stop.set()

    with suppress(NotImplementedError):  # Windows: Ctrl+C ends the runner itself
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
    async with opened(config, secrets, say) as url:
        gc.freeze()
        ready(url)
        await stop.wait()


@asynccontextmanager
async def opened(
    config: GatewayConfig, secrets: Mapping[str, str], say: Say = print, own: OwnEngines | None = None
) -> AsyncIterator[str]:
    """Serve inside the block; yields the address. See ``opened_endpoint``."""
    async with opened_endpoint(config, secrets, say, own) as endpoint:
        yield endpoint.url


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A gateway that serves.

    Attributes:
        url: its address.
        groups: engines that take turns, group by group.
        own: the engines that Rigfit runs itself; None where it runs none.
    """

    url: str
    groups: tuple[tuple[tuple[Engine, ...], Turns], ...]
    own: OwnEngines | None = None

    @property
    def asleep(self) -> frozenset[str]:
        """Addresses of engines that sleep."""
        return frozenset(
            engine.url for engines, turns in self.groups for engine in engines if turns.phase(engine) is Phase.ASLEEP
        )

    def brought_up(self, engines: tuple[Engine, ...], turns: Turns) -> tuple[Engine, ...]:
        """Return the engines of a group that ``bring_up`` wakes.

        The one that is kept awake; else those that have sleep mode, so that each has been loaded before it is asked
        for; else, where engines have to be stopped and started, only the first: the next would end it.
        """
        kept = tuple(engine for engine in engines if turns.is_pinned(engine))
        sleepers = tuple(engine for engine in engines if self.own is None or engine.url in self.own.sleepers)
        return kept or sleepers or engines[:1]

    async def bring_up(self) -> list[Refused]:
        """Wake engines that take turns, one after the other in each group; returns what could not be woken, and why."""
        tried = await asyncio.gather(*(self._bring_up(engines, turns) for engines, turns in self.groups))
        return [failure for failures in tried for failure in failures]

    async def _bring_up(self, engines: tuple[Engine, ...], turns: Turns) -> list[Refused]:
        failures: list[Refused] = []
        for engine in self.brought_up(engines, turns):
            try:
                await turns.bring_up(engine)
            except Refused as refused:
                failures.append(refused)
        return failures


@asynccontextmanager
async def opened_endpoint(
    config: GatewayConfig, secrets: Mapping[str, str], say: Say = print, own: OwnEngines | None = None
) -> AsyncIterator[Endpoint]:
    """Serve inside the block. Leaving it lets running requests finish first.

    Args:
        config: how; models of one group are all run by others, or all in ``own``.
        secrets: engines' keys by the names of their variables.
        say: called with what whoever runs the gateway should know.
        own: the engines that Rigfit runs itself; those that take turns are started by nobody else meanwhile.
    """
    relay = Relay(config.limits, secrets, far=config.far, language=config.language)
    upstreams = Upstreams.of(config.upstreams, config.aliases)
    metrics = Metrics(upstreams.models)
    notices = Notices(config.language, say)
    groups = _groups(config, upstreams, _control(config, relay, notices, own), metrics, notices)
    members = {engine.url: group for engines, group in groups for engine in engines}
    turns = {engine: members[engine.url] for engine in upstreams.engines if engine.url in members}
    gateway = Gateway(config, upstreams, relay, metrics, turns, own)
    server = web.Server(
        gateway.handle,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=config.limits.header_s,
        lingering_time=_LINGER_S,
        logger=_logger(),
    )
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    tasks = [asyncio.create_task(group.watch(config.check_s)) for _, group in groups]
    quiet = frozenset(own.names) if own is not None else frozenset[str]()
    tasks.append(asyncio.create_task(watch(upstreams, relay, config.check_s, notices, quiet)))
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=_BACKLOG, reuse_address=True)
        await site.start()
        try:
            yield Endpoint(address(config.host, site.port), tuple(groups), own)
        finally:  # also where it is left in haste: whoever waited must wake no engine that its owner ends now
            gateway.stopping = True
            for _, group in groups:
                group.close()
        await site.stop()
        server.pre_shutdown()
        await gateway.idle(config.limits.drain_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await relay.close()


def _control(config: GatewayConfig, relay: Relay, notices: Notices, own: OwnEngines | None) -> Control:
    api = SleepApi(relay, config.sleep_level, config.switch_s)
    return api if own is None else FleetControl(own, api, partial(check, relay=relay), notices)


def _groups(
    config: GatewayConfig, upstreams: Upstreams, control: Control, metrics: Metrics, notices: Notices
) -> list[tuple[tuple[Engine, ...], Turns]]:
    """Return the groups of engines that take turns: of each model the engine that was named first."""
    groups: list[tuple[tuple[Engine, ...], Turns]] = []
    for names in config.groups:
        engines = tuple(dict.fromkeys(upstreams.models[name][0] for name in names))
        turns = Turns(engines, config.policy, control, metrics, notices.sleepless)
        for name in set(config.pins) & set(names):
            turns.pin(upstreams.models[name][0])
        groups.append((engines, turns))
    return groups


def address(host: str, port: int) -> str:
    """Return the URL of a host, which may be an IPv6 address, and a port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_descriptor_limit() -> None:
    """Raise this process's own limit of open files as far as it may; 1,024 is a usual start."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop where it is installed; it has no build for Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _logger() -> logging.Logger:
    """Return a logger for failures of the gateway itself: what callers send broken is no news and would fill a disk."""
    logger = logging.getLogger("rigfit.gateway")
    logger.addFilter(_not_the_callers)
    return logger


def _not_the_callers(record: logging.LogRecord) -> bool:
    failure = record.exc_info[1] if record.exc_info else None
    return not isinstance(failure, HttpProcessingError | ConnectionError)
