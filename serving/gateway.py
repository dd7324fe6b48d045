"""One OpenAI endpoint in front of several engines: reads which model is asked for and passes the rest through."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import unquote

import aiohttp
from aiohttp import HttpVersion10, hdrs, web

from serving.body import JsonReader, Reader
from serving.calls import Answer
from serving.choice import Choice
from serving.config import GatewayConfig
from serving.errors import Refused, shown
from serving.fleet_control import OwnEngines
from serving.form import FormReader
from serving.intake import Intake
from serving.keys import KeyRing
from serving.metrics import CONTENT_TYPE, NO_MODEL, Metrics
from serving.origins import Origins
from serving.relay import Question, Relay
from serving.routes import FORMS, FORWARDED, HEALTH, METRICS, MODEL, MODELS, PIN, TURNS, UNPIN, WAKE, is_own
from serving.states import States
from serving.turns import Turns
from serving.upstreams import Engine, Upstreams

_ELSEWHERE = frozenset({429, 502, 503})
"""An engine's answers that another replica may better."""


class Gateway:
    """Answers requests. ``handle`` is the whole of it; the server around it is in ``serving.server``."""

    def __init__(
        self,
        config: GatewayConfig,
        upstreams: Upstreams,
        relay: Relay,
        metrics: Metrics,
        turns: Mapping[Engine, Turns],
        own: OwnEngines | None = None,
    ) -> None:
        self._config = config
        self._turns = turns
        self._states = States(upstreams, turns, own)
        self._upstreams = upstreams
        self._relay = relay
        self._keys = KeyRing(config.keys)
        self._origins = Origins(config.origins)
        self._json = JsonReader()
        self._intake = Intake(config.limits)
        self._started_s = int(time.time())
        self.metrics = metrics
        self.running = 0
        self.stopping = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.running += 1
        extra: Mapping[str, str] = {}
        try:
            extra = self._origins.check(request)
            return await self._answer(request, extra)
        except Refused as refused:
            self.metrics.answered(NO_MODEL, refused.status)
            return self._refusal(request, refused, extra)
        finally:
            self.running -= 1

    async def _answer(self, request: web.BaseRequest, extra: Mapping[str, str]) -> web.StreamResponse:
        # the path as it was sent, undecoded: only an exact match counts
        path = request.raw_path.partition("?")[0]
        if hdrs.UPGRADE in request.headers or request.version < HttpVersion10:
            raise Refused("no_upgrade")
        if request.method == hdrs.METH_OPTIONS and extra:
            return web.Response(status=204, headers={**extra, **self._origins.PREFLIGHT})
        self._check_method(request.method, path)
        if path == HEALTH:
            return self._health(extra)
        shown_key = request.headers.get("x-api-key", "")
        if not self._keys.allows(request.headers.get(hdrs.AUTHORIZATION, ""), shown_key):
            raise Refused("wrong_key")
        if is_own(path):
            return self._metrics() if path == METRICS else self._models(path, extra)
        if self.stopping:
            raise Refused("gateway_stops", retry_after_s=5)
        if self.running > self._config.limits.requests:
            raise Refused("gateway_full", retry_after_s=1)
        reader = self._reader(request, path)
        body = await self._intake.read(request)
        try:
            if path in TURNS:
                return self._wish(path, reader.model(body), extra)
            return await self._route(request, path, reader, body, extra)
        finally:
            self._intake.release(body)

    def _check_method(self, method: str, path: str) -> None:
        if path in FORWARDED or path in FORMS or path in TURNS:
            if method != hdrs.METH_POST:
                raise Refused("wrong_method", allowed="POST")
        elif not is_own(path):
            raise Refused("unknown_route", path=shown(path))
        elif method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            raise Refused("wrong_method", allowed="GET")

    def _reader(self, request: web.BaseRequest, path: str) -> Reader:
        """Return what reads the body of a request to a path.

        Raises:
            Refused: the request says that its body is of another type.
        """
        if path in FORMS:
            return FormReader(request.headers.get(hdrs.CONTENT_TYPE, ""))
        if request.content_type != self._json.content_type:
            raise Refused("wrong_type")
        return self._json

    async def _route(
        self, request: web.BaseRequest, path: str, reader: Reader, body: bytes, extra: Mapping[str, str]
    ) -> web.StreamResponse:
        asked = reader.model(body)
        model = self._upstreams.resolve(asked)
        if model != asked:
            body = reader.renamed(body, model)
        try:
            return await self._try_engines(
                request, model, Question(path, body, reader.content_type, request.headers), extra
            )
        except Refused as refused:
            self.metrics.answered(model, refused.status)
            return self._refusal(request, refused, extra)

    async def _try_engines(
        self, request: web.BaseRequest, model: str, question: Question, extra: Mapping[str, str]
    ) -> web.StreamResponse:
        """Ask the engines of a model one after the other until one begins to answer."""
        choice = Choice(self._upstreams.models[model], self._turns, model)
        failure: Refused | None = None
        asked = 0
        while (engine := choice.next()) is not None:
            if asked:
                self.metrics.retried(model)
            async with choice.held(engine) as refused:
                if refused is not None:
                    failure = refused
                    continue
                asked += 1
                engine.in_flight += 1
                try:
                    answer = await self._ask(engine, model, question, choice)
                    if answer is not None:
                        async with answer:
                            if choice.is_last or answer.status not in _ELSEWHERE:
                                response = await self._relay.hand_back(request, answer, extra)
                                self.metrics.answered(model, answer.status)
                                return response
                finally:
                    engine.in_flight -= 1
        raise failure or self._states.unreachable(model)

    async def _ask(self, engine: Engine, model: str, question: Question, choice: Choice) -> Answer | None:
        """Return the head of an engine's answer; None where another may be asked instead.

        Raises:
            Refused: the engine was silent, or did not speak HTTP.
        """
        start = time.perf_counter()
        try:
            answer = await self._relay.ask(engine, question)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
            engine.healthy = False
            choice.failed(engine, sent=False)
            return None
        except TimeoutError as error:
            raise Refused("engine_silent", model=model) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            engine.healthy = False
            choice.failed(engine, sent=True)
            return None
        except aiohttp.ClientError as error:
            raise Refused("engine_broke_off") from error
        self.metrics.first_byte(model, time.perf_counter() - start)
        engine.healthy = True if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR else engine.healthy
        return answer

    def _refusal(self, request: web.BaseRequest, refused: Refused, extra: Mapping[str, str]) -> web.Response:
        headers = {hdrs.SERVER: "rigfit", **extra}
        if refused.retry_after_s is not None:
            headers[hdrs.RETRY_AFTER] = str(max(1, round(refused.retry_after_s)))
        if "allowed" in refused.params:
            headers[hdrs.ALLOW] = str(refused.params["allowed"])
        body = refused.body(self._config.language)
        answer = web.Response(status=refused.status, body=body, content_type="application/json", headers=headers)
        if not request.content.is_eof() or hdrs.UPGRADE in request.headers:
            answer.force_close()
        return answer

    def _models(self, path: str, extra: Mapping[str, str]) -> web.Response:
        """Answer ``/v1/models``, or a model's own path: OpenAI's shape, and each model's state."""
        if path != MODELS:
            # slashes in the name may have been sent as they are or encoded
            return _json(200, self._row(unquote(path.removeprefix(MODEL))), extra)
        names = (*self._upstreams.models, *self._upstreams.aliases)
        return _json(200, {"object": "list", "data": [self._row(name) for name in names]}, extra)

    def _row(self, name: str) -> dict[str, object]:
        model = self._upstreams.resolve(name)
        row: dict[str, object] = {"id": name, "object": "model", "created": self._started_s, "owned_by": "rigfit"}
        row |= {"root": model, "state": self._states.of_model(model)}
        engines = self._upstreams.models[model]
        if len(engines) > 1:
            row["replicas"] = [self._states.of(engine) for engine in engines]
        return row

    def _wish(self, path: str, asked: str, extra: Mapping[str, str]) -> web.Response:
        """Wake, pin or unpin a model's engine as its owner wishes."""
        model = self._upstreams.resolve(asked)
        engines = self._upstreams.models[model]
        engine = next((engine for engine in engines if engine in self._turns), None)
        if engine is None:
            raise Refused("takes_no_turns", model=model)
        turns = self._turns[engine]
        {WAKE: turns.wish, PIN: turns.pin, UNPIN: turns.unpin}[path](engine)
        state, pinned = self._states.of_model(model), turns.is_pinned(engine)
        return _json(202, {"model": model, "state": state, "pinned": pinned}, extra)

    def _health(self, extra: Mapping[str, str]) -> web.Response:
        """Answer ``/health``: 200 where at least one engine can be asked."""
        if self.stopping:
            return _json(503, {"status": "stopping"}, extra)
        up, word = self._states.health()
        return _json(200 if up else 503, {"status": word}, extra)

    def _metrics(self) -> web.Response:
        for engine in self._upstreams.engines:
            self.metrics.engine(engine.url, engine.in_flight, engine.healthy is True)
            if engine in self._turns:
                self.metrics.waiting(engine.url, self._turns[engine].waiting(engine))
        return web.Response(body=self.metrics.text(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE, hdrs.SERVER: "rigfit"})

    async def idle(self, within_s: float) -> bool:
        """Wait until no request is running; returns whether that came in time."""
        try:
            async with asyncio.timeout(within_s):
                while self.running:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True


def _json(status: int, value: Mapping[str, object], extra: Mapping[str, str]) -> web.Response:
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = {hdrs.SERVER: "rigfit", **extra}
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
