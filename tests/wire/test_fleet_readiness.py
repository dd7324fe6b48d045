"""When an engine counts as ready: over real connections, with engines that answer as they should and otherwise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from real_fleet import KEY, spec

from serving.readiness import Readiness
from tools.domain import Note


def ask(answers: dict[str, Any], what: Callable[[Readiness, Any], Any]) -> tuple[Any, list[tuple[str, Any]]]:
    """Ask an engine whose answers by path are a status, a body, or a function; returns what it was asked, too."""
    asked: list[tuple[str, Any]] = []

    async def handle(request: Any) -> web.StreamResponse:
        asked.append((request.path, await request.json() if request.can_read_body else None))
        if request.path.startswith("/v1") and request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        answer = answers.get(request.path, 404)
        if asyncio.iscoroutinefunction(answer):
            return await answer(request)
        return web.Response(status=answer) if isinstance(answer, int) else web.json_response(answer)

    async def work() -> Any:
        runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with Readiness() as readiness:
                return await what(readiness, spec(Path("/bin/vllm"), "a", port=site.port))
        finally:
            await runner.cleanup()

    return asyncio.run(work()), asked


def lacking(answers: dict[str, Any], within_s: float = 5) -> Note | None:
    return ask(answers, lambda readiness, one: readiness.unready(one, within_s))[0]


MODELS = {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "a-too"}, {"id": "other"}]}


def test_ready_is_every_name_and_a_token() -> None:
    found, asked = ask({"/v1/models": MODELS, "/v1/completions": {}}, lambda r, one: r.unready(one, 5))
    assert found is None
    (path, body) = asked[-1]
    assert path == "/v1/completions"
    assert (body["model"], body["max_tokens"]) == ("a", 1)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/pooling"])
def test_a_model_that_generates_nothing_is_asked_for_what_it_does(path: str) -> None:
    assert lacking({"/v1/models": MODELS, "/v1/completions": 400, path: {}}) is None


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({"/v1/models": {"data": [{"id": "a"}]}}, "fleet.names_missing", {"name": "a-too", "listed": "a"}),
        ({"/v1/models": {"data": []}}, "fleet.names_missing", {"name": "a", "listed": "-"}),
        ({"/v1/models": {"data": "no list"}}, "fleet.names_missing", {"name": "a", "listed": "-"}),
        ({"/v1/models": 503}, "fleet.names_missing", {"name": "a", "listed": "-"}),
        ({"/v1/models": MODELS, "/v1/completions": 500}, "fleet.no_token", {"name": "a", "status": 500}),
        ({"/v1/models": MODELS}, "fleet.no_token", {"name": "a", "status": 404}),
    ],
)
def test_what_lacks_is_said(answers: dict[str, Any], code: str, said: dict[str, Any]) -> None:
    found = lacking(answers)
    assert found is not None
    assert (found.code, dict(found.params)) == (code, said)


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b" " * 100_000)
    return response


async def away(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/v1/models")


async def in_pieces(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for letter in json.dumps(MODELS):
        await response.write(letter.encode())
        await asyncio.sleep(0.0005)
    return response


def test_an_answer_in_pieces_is_read_whole() -> None:
    assert lacking({"/v1/models": in_pieces, "/v1/completions": {}}) is None


@pytest.mark.parametrize("answer", [never, endless, away])
def test_answers_without_end_are_none(answer: Any) -> None:
    assert lacking({"/v1/models": answer}, 0.3) is not None


def test_well_is_health_alone() -> None:
    assert ask({"/health": 200}, lambda r, one: r.well(one, 5))[0]
    assert not ask({"/health": 503}, lambda r, one: r.well(one, 5))[0]
    assert not ask({"/health": never}, lambda r, one: r.well(one, 0.2))[0]
    assert not ask({"/health": away, "/v1/models": MODELS}, lambda r, one: r.well(one, 5))[0]


def test_going_to_sleep_waits_for_running_requests() -> None:
    queries: list[str] = []

    async def sleep(request: web.Request) -> web.StreamResponse:
        queries.append(request.query_string)
        return web.json_response({"status": "sleeping"})

    assert ask({"/sleep": sleep}, lambda r, one: r.sleep(one, 5))[0]
    assert queries == ["level=1&mode=wait"]
    assert not ask({}, lambda r, one: r.sleep(one, 5))[0]
