"""What a person does on the page, for the tests beside it."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

Open = Callable[..., Page]
"""Opens the page: ``open_page("ru", viewport=...)``."""


def say(page: Page, words: str) -> None:
    """Send a message and wait until its answer is complete."""
    before = page.locator("#rf-chat .user-row").count()
    page.locator("#rf-box textarea").fill(words)
    page.locator("#rf-box textarea").press("Enter")
    finished(page, before + 1)


def finished(page: Page, turns: int) -> None:
    """Wait until so many messages were sent and the last is answered."""
    expect(page.locator("#rf-chat .user-row")).to_have_count(turns)
    expect(page.locator("#rf-box .submit-button")).to_be_visible()
    expect(page.locator("#rf-chat .bot-row").nth(turns - 1)).to_be_visible()


def last_answer(page: Page) -> str:
    return page.locator("#rf-chat .bot-row").last.inner_text().replace("\xa0", " ")
