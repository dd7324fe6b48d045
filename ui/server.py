"""Serves the page on this machine: nothing goes out, and no other page may be loaded into it."""

from __future__ import annotations

import ipaddress
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.errors import BadValue
from tools.settings import Settings

if TYPE_CHECKING:
    from ui.assistants import AssistantKeeper

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""The browser itself then refuses any request to another host, whatever an answer may hold."""
_COMPRESSED_FROM_BYTES = 1000
_FOREIGN = re.compile(r"/(?:file|proxy|stream)[=/]*https?:", re.IGNORECASE)
"""Gradio's file routes also fetch web addresses for whoever asks; this page hands out its own files only."""


def require_free_port(host: str, port: int, command: str = "ui") -> None:
    """Check that a command of Rigfit's can listen there, before anything slow is loaded.

    Raises:
        BadValue: the port is taken, or the host is no address of this machine.
    """
    if not 1 <= port <= 65535:
        raise BadValue("errors_ui.bad_port", value=port)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise BadValue("errors_ui.bad_host", host=host) from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise BadValue("errors_ui.bad_port", value=port) from error
        except OSError as error:
            taken = "errors_ui.port_taken" if error.errno in _TAKEN else "errors_ui.bad_host"
            raise BadValue(taken, host=host, port=port, other=port % 65535 + 1, command=command) from error


_TAKEN = {98, 48, 10048}
"""EADDRINUSE on Linux, macOS and Windows."""


def serve(host: str, port: int, settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        host: address to listen on; a warning is printed where other machines can reach it.
        port: TCP port.
        settings: passed to the assistant; its language is that of the printed lines.
        ready: called once with the page's address when it can be opened.
    """
    warnings.filterwarnings("ignore", "SOCKS support in urllib3")  # a dependency's, of no use to who reads the terminal
    from agent.transcripts.transcript import MAX_BYTES
    from ui.app import build_app, look
    from ui.assistants import AssistantKeeper

    keeper = AssistantKeeper.for_settings(settings)
    app = build_app(keeper, settings)
    if not is_loopback(host):
        print(text(settings.language, "cli.page_exposed", host=host), file=sys.stderr, flush=True)
    app.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        allowed_paths=[str(files_folder(settings))],
        max_file_size=MAX_BYTES,
        app_kwargs=app_options(keeper),
        **look(),
    )
    app.server.config.timeout_graceful_shutdown = 1  # an open page would otherwise hold the process for seconds
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{port}")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with suppress(KeyboardInterrupt):
        stop.wait()
    app.close(verbose=False)


def files_folder(settings: Settings) -> Any:
    """Return the only folder whose files the page may hand out."""
    return (settings.data_dir / "files").absolute()


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def app_options(keeper: AssistantKeeper) -> dict[str, Any]:
    """Return what the web application gets beside the page: compression, the security policy, the assistant's life."""
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        keeper.start()
        yield
        await keeper.close()

    return {
        "lifespan": lifespan,
        "middleware": [Middleware(PolicyMiddleware), Middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM_BYTES)],
    }


class PolicyMiddleware:
    """Adds the security headers to every answer, and refuses to fetch other hosts' files."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        if _FOREIGN.search(scope.get("path", "")):
            await send_with_headers({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send_with_headers)
