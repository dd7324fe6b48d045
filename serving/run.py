"""A run: the engines of a plan, one endpoint in front of them, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prompts import text
from serving.config import GatewayConfig
from serving.engine_state import EngineState, FleetPolicy, Stage
from serving.fleet import Fleet
from serving.fleet_control import OwnEngines
from serving.keeper import Measure
from serving.locks import held
from serving.measured import StartUp
from serving.processes import birth
from serving.room import Room
from serving.run_gateway import KEY_VARIABLE, gateway_config
from serving.run_state import RunState, first_records
from serving.runs import FAILED, INTERRUPTED, STOPPED, RunRecord, Runs
from serving.server import Endpoint, address, loop_factory, opened_endpoint, raise_descriptor_limit
from serving.spec import LOOPBACK, EngineSpec, specs
from serving.wish import Wish
from tools.domain import Note
from tools.errors import ServiceError
from tools.launch.job import Job

_MEASURE_S = 20.0
_FOLLOW_S = 0.5
"""Between two looks at which engines sleep, for ``rigfit ps``."""
"""An engine that does not say so long what it measured is ready all the same."""


class Audience(Protocol):
    """Who is told how a run goes."""

    def opened(self, url: str) -> None:
        """The gateway accepts connections; models answer as they become ready."""
        ...

    def changed(self, state: EngineState) -> None:
        """An engine has a new state."""
        ...

    def said(self, sentence: str) -> None:
        """Something is to be known."""
        ...

    def ready(self, run: RunRecord) -> None:
        """Every engine is ready."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """What is to run.

    Attributes:
        specs: the engines, in start order.
        config: the gateway.
        secrets: engines' keys, by the names that the gateway knows them by.
        wish: what was told.
        option: of the plan.
        plan: as ``rigfit plan --json`` prints it.
    """

    specs: tuple[EngineSpec, ...]
    config: GatewayConfig
    secrets: Mapping[str, str]
    wish: Wish
    option: str
    plan: Mapping[str, Any]

    @property
    def cards(self) -> tuple[str, ...]:
        """The names of the cards that it needs for itself."""
        return tuple(sorted({card for spec in self.specs for card in spec.cards}))

    @property
    def turning(self) -> frozenset[str]:
        """The names of the engines that take turns."""
        names = {name for group in self.config.groups for name in group}
        return frozenset(spec.name for spec in self.specs if names & set(spec.served_names))


def compose(
    job: Job,
    wish: Wish,
    *,
    plan: Mapping[str, Any],
    command: Path,
    keys: tuple[str, ...] = (),
    upstream_secrets: Mapping[str, str] | None = None,
) -> Run:
    """Put a run together; nothing is started.

    Args:
        job: what is run.
        wish: what was told.
        plan: as ``rigfit plan --json`` prints it.
        command: the ``vllm`` of the engines' environment.
        keys: what clients must show.
        upstream_secrets: keys of engines elsewhere, by the names of their variables.

    Raises:
        BadValue: another engine than vLLM, or something that ``gateway_config`` refuses.
    """
    key = secrets.token_urlsafe(32)
    made = specs(job, command=command, ports=free_ports(len(job.units), besides=wish.port), key=key)
    return Run(
        specs=made,
        config=gateway_config(wish, job, made, keys),
        secrets={**(upstream_secrets or {}), KEY_VARIABLE: key},
        wish=wish,
        option=job.option,
        plan=plan,
    )


def free_ports(count: int, *, besides: int) -> tuple[int, ...]:
    """Return as many ports of the loopback address that nobody listens on now."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            probe = stack.enter_context(socket.socket())
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
            if port != besides:
                ports.append(port)
        return tuple(ports)


class Anything:
    """A room that is never short: for engines that are to be started though memory seems short."""

    async def shortage(self, spec: EngineSpec) -> Note | None:
        """Return None."""
        del spec
        return None


class AllGaveUp(ServiceError):
    """No engine of a run is left."""


def serve(
    run: Run,
    runs: Runs,
    locks: Path,
    room: Room,
    audience: Audience,
    *,
    measure: Measure | None = None,
    policy: FleetPolicy | None = None,
) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; a second one does not wait for running requests.

    Args:
        run: what.
        runs: where its state is kept.
        locks: folder of the cards' locks.
        room: who knows how much memory is free.
        audience: who is told how it goes.
        measure: what a start came to.
        policy: limits.

    Raises:
        CardTaken: another Rigfit uses one of the cards.
        AllGaveUp: no engine could be started, or none is left.
        StorageError: the run's state can't be written at all.
    """
    raise_descriptor_limit()
    with held(locks, (*run.cards, f"port:{run.wish.port}"), port=run.wish.port):
        record = _first_record(run)
        runs.write(record)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            one = _Supervisor(run, record, runs, room, audience, measure, policy or FleetPolicy())
            ended = runner.run(one.serve())
    if ended == FAILED:
        raise AllGaveUp("run.all_gave_up")


def _first_record(run: Run) -> RunRecord:
    now = time.time()
    return RunRecord(
        port=run.wish.port,
        url=address(run.wish.host, run.wish.port),
        pid=os.getpid(),
        born=birth(os.getpid()) or "",
        started=now,
        option=run.option,
        plan=run.plan,
        wish=run.wish,
        engines=first_records(run.specs, now),
    )


class _Supervisor:
    """One run while it lasts."""

    def __init__(
        self,
        run: Run,
        record: RunRecord,
        runs: Runs,
        room: Room,
        audience: Audience,
        measure: Measure | None,
        policy: FleetPolicy,
    ) -> None:
        self._run = run
        self._runs = runs
        self._audience = audience
        self._state = RunState(record, runs, audience.said)
        self._measuring = measure
        self._wanted = frozenset[str]()
        self._once_ready = set[str]()
        self._came_up = False
        self._closing = False
        self._end = asyncio.Event()
        self._how = ""
        self._fleet = Fleet(
            run.specs,
            logs=runs.logs / str(run.wish.port),
            room=room,
            policy=policy,
            changed=self._changed,
            measure=self._measure,
            on_demand=run.turning,
        )

    async def serve(self) -> str:
        """Run; returns how it ended, a word of ``serving.runs``."""
        keeping = asyncio.create_task(self._state.keep())
        serving = asyncio.create_task(self._while_open())
        self._listen_for_signals(serving)
        try:
            await asyncio.wait({serving})
            if not serving.cancelled():
                serving.result()
        finally:
            self._closing = True
            await self._fleet.close()
            keeping.cancel()
            await asyncio.wait({keeping})
            self._state.update(ended=self._how or FAILED, ended_at=time.time())
            self._state.write()
        return self._how

    async def _while_open(self) -> None:
        own = OwnEngines.of(self._fleet, self._run.specs)
        async with opened_endpoint(self._run.config, self._run.secrets, self._audience.said, own) as endpoint:
            gc.freeze()
            self._audience.opened(endpoint.url)
            works = [
                asyncio.create_task(work)
                for work in (self._fleet.watch(), self._bring_up(endpoint), self._follow_turns(endpoint))
            ]
            ended = asyncio.create_task(self._end.wait())
            try:
                running: set[asyncio.Task[Any]] = {ended, *works}
                while not ended.done():
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for one in done:
                        one.result()
            finally:
                for work in (ended, *works):
                    work.cancel()
                await asyncio.wait(works)

    async def _bring_up(self, endpoint: Endpoint) -> None:
        """Start every engine once and say how that went."""
        turning, own = self._run.turning, endpoint.own
        alone = [spec.name for spec in self._run.specs if spec.name not in turning]
        first = [engine.url for group in endpoint.groups for engine in endpoint.brought_up(*group)]
        self._wanted = frozenset(alone) | {own.names[url] for url in first if own}
        await asyncio.gather(self._fleet.start_all(alone), endpoint.bring_up())
        self._came_up = True
        if not self._tell_if_ready():
            self._say_what_is_up()

    async def _follow_turns(self, endpoint: Endpoint) -> None:
        """For ever: note which engines sleep."""
        while endpoint.own is not None and self._run.turning:
            own = endpoint.own.names
            names = {own[url] for url in endpoint.asleep if url in own}
            ready = {state.name for state in self._fleet.states if state.stage is Stage.READY}
            self._state.sleeping(names & ready)
            await asyncio.sleep(_FOLLOW_S)

    def _listen_for_signals(self, serving: asyncio.Task[None]) -> None:
        """The first signal ends the run, the second breaks running requests off; engines are ended whole, always."""
        loop = asyncio.get_running_loop()

        def end(how: str) -> None:
            if self._end.is_set() and not serving.cancelling():
                serving.cancel()
            self._how = self._how or how
            self._end.set()

        for number, how in _SIGNALS.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
                loop.add_signal_handler(number, end, how)

    def _changed(self, state: EngineState) -> None:
        if self._closing and state.stage is Stage.STOPPED and self._state.failed(state.name):
            return  # why it failed is worth more than that it is stopped now
        self._state.changed(state)
        self._audience.changed(state)
        if state.stage is Stage.GAVE_UP:
            self._say("run.gave_up", name=state.name, reason=self._reason(state))
            if not self._run.wish.upstreams and all(one.stage is Stage.GAVE_UP for one in self._fleet.states):
                self._how = self._how or FAILED
                self._end.set()

    async def _measure(self, spec: EngineSpec, log: Path) -> StartUp | None:
        found = None
        if self._measuring is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_MEASURE_S):
                    found = await self._measuring(spec, log)
        if found is not None:
            self._state.measured(found)
        self._once_ready.add(spec.name)
        self._tell_if_ready()
        return found

    def _tell_if_ready(self) -> bool:
        """Tell once that every engine that is to be up was ready; returns whether that is so."""
        if self._state.record.ready is None and self._came_up and self._wanted <= self._once_ready:
            self._state.update(ready=time.time())
            self._audience.ready(self._state.record)
        return self._state.record.ready is not None

    def _say_what_is_up(self) -> None:
        up = [one for one in self._state.record.engines if one.name in self._once_ready and one.stage == "ready"]
        if up:
            models = ", ".join(name for one in up for name in one.models)
            self._say("run.partly_up", url=f"{self._state.record.url}/v1", models=models)

    def _reason(self, state: EngineState) -> str:
        return self._text(state.reason) if state.reason else "?"

    def _text(self, note: Note) -> str:
        return text(self._run.wish.language, note.code, **note.params)

    def _say(self, code: str, **params: object) -> None:
        self._audience.said(text(self._run.wish.language, code, **params))


_SIGNALS = {signal.SIGINT: STOPPED, signal.SIGTERM: INTERRUPTED} | (
    {signal.SIGHUP: INTERRUPTED} if hasattr(signal, "SIGHUP") else {}
)
"""What ends a run: Ctrl+C is its user's wish, the others also come from a machine that goes down."""
