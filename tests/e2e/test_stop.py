"""An answer that never comes can be stopped, and the page goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from page_driver import Open
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def silent_endpoint() -> Iterator[str]:
    """An address that takes every connection and never says a word."""
    kept: list[socket.socket] = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def accept() -> None:
            while True:
                try:
                    kept.append(listening.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    for connection in kept:
        connection.close()


@pytest.fixture(scope="module")
def server_env(silent_endpoint: str) -> dict[str, str]:
    return {"RIGFIT_LLM_URL": silent_endpoint, "RIGFIT_LLM_MODEL": "silent", "RIGFIT_LLM_API_KEY": "none"}


def test_stop_gives_the_page_back(open_page: Open) -> None:
    page = open_page("en")
    box = page.locator("#rf-box textarea")
    box.fill("Will two Qwen3-30B run at once on an RTX PRO 6000?")
    box.press("Enter")
    expect(page.locator("#rf-box .stop-button")).to_be_visible()
    page.locator("#rf-box .stop-button").click()
    expect(page.locator("#rf-chat")).to_contain_text("Stopped.")
    expect(page.locator("#rf-box .submit-button")).to_be_visible()
    box.fill("another question")
    expect(box).to_have_value("another question")


def test_a_new_conversation_ends_the_old_answer(open_page: Open) -> None:
    page = open_page("en")
    box = page.locator("#rf-box textarea")
    box.fill("Will two Qwen3-30B run at once on an RTX PRO 6000?")
    box.press("Enter")
    expect(page.locator("#rf-box .stop-button")).to_be_visible()
    page.locator('[data-rf="fresh"]').click()
    expect(page.locator("#rf-chat .user-row")).to_have_count(0)
    expect(page.locator("#rf-box .submit-button")).to_be_visible()
