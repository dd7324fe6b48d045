"""The class that asks for the API key: what it lets in, as an ASGI server would call it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tools.launch import guard

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Send one request; returns what is answered, ``[{"type": "app"}]`` where the engine sees it."""
    monkeypatch.setenv("VLLM_API_KEY", "se cret-ключ")
    found: dict[str, Any] = {}
    exec(compile(guard.PROGRAM, "guard", "exec"), found)

    def asked(kind: str = "http", path: str = "/v1/models", method: str = "GET", key: str | None = None):
        said: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "app"})

        headers = [] if key is None else [(b"Authorization", key.encode())]
        scope: dict[str, Any] = {"type": kind, "path": path, "headers": headers}
        scope |= {"method": method} if kind == "http" else {}
        asyncio.run(found["Key"](app)(scope if kind != "lifespan" else {"type": kind}, None, send))
        return said

    return asked


ENGINE = [{"type": "app"}]


@pytest.mark.parametrize("path", ["/v1/models", "/invocations", "/metrics", "/health/", "/healthy", "//health", "/"])
@pytest.mark.parametrize("key", [None, "", "se cret-ключ", "Bearer", "Bearer se cret", "Basic se cret-ключ"])
def test_without_the_key_nothing_is_let_in(ask: Ask, path: str, key: str | None):
    start, body = ask(path=path, method="POST", key=key)
    assert start["status"] == 401
    assert body["body"] == b'{"error": "Unauthorized"}'


def test_the_key_lets_in(ask: Ask):
    for scheme in ("Bearer", "bearer"):
        assert ask(path="/invocations", method="POST", key=f"{scheme} se cret-ключ") == ENGINE


def test_health_a_browsers_question_and_the_servers_own_start_need_no_key(ask: Ask):
    assert ask(path="/health") == ENGINE
    assert ask(method="OPTIONS") == ENGINE
    assert ask(kind="lifespan") == ENGINE


def test_a_websocket_without_the_key_is_closed(ask: Ask):
    assert ask(kind="websocket", path="/v1/realtime") == [{"type": "websocket.close", "code": 1008}]
    assert ask(kind="websocket", path="/v1/realtime", key="Bearer se cret-ключ") == ENGINE


def test_the_flag_names_the_file():
    folder, _, file = guard.FILE.partition("/")
    assert f"{file.removesuffix('.py')}.Key" == guard.CLASS
    assert folder == "guard"
    assert file.removesuffix(".py") not in sys.stdlib_module_names
