"""One server and one browser a module: the real page in a real Chromium, with the network switched off."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from page_driver import Open
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
START_S = 60
expect.set_options(timeout=15_000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server_env() -> dict[str, str]:
    """More environment for a module's server; a module may override it."""
    return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, server_env: dict[str, str]) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("page")
    env = {**os.environ, "RIGFIT_NETWORK": "off", "RIGFIT_DATA_DIR": str(folder / "data"), "LANG": "C.UTF-8"}
    env.pop("RIGFIT_LLM_URL", None)
    env |= server_env
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "ui.cli", "ui", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            _wait(process, url, folder / "server.log")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if os.geteuid() == 0:
        quiet.append("--no-sandbox")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=quiet)
        yield launched
        launched.close()


@pytest.fixture
def open_page(server: str, browser: Browser) -> Iterator[Open]:
    """Open the page in a fresh browser profile; afterwards no request may have left the machine."""
    contexts: list[BrowserContext] = []
    strangers: list[str] = []
    failures: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith((server, "data:", "blob:")):
            strangers.append(request.url)

    def opened(language: str = "en", **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 860})
        context = browser.new_context(locale={"ru": "ru-RU", "en": "en-US"}[language], **options)
        contexts.append(context)
        context.on("request", asked)
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(server)
        expect(page.locator("#rf-box textarea")).to_be_visible()
        expect(page.locator(".rf-badge").first).to_be_visible()
        page.wait_for_function("document.documentElement.lang === document.querySelector('.rf-header').lang")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert strangers == []
    assert failures == []
