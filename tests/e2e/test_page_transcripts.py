"""A conversation saved as a file and opened again on another page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_driver import Open, finished, last_answer, say
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_a_saved_conversation_goes_on_in_another_browser(open_page: Open, tmp_path: Path) -> None:
    page = open_page("ru")
    say(page, "Пойдут ли две модели Qwen3-30B на RTX PRO 6000?")
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Сохранить разговор").click()
    path = tmp_path / fetched.value.suggested_filename
    fetched.value.save_as(path)
    written = path.read_text(encoding="utf-8")
    assert ">[!nexus_user] **User** - " in written
    damaged = tmp_path / "damaged.md"
    damaged.write_text(written.encode().decode("mac_roman"), encoding="utf-8")

    other = open_page("ru")
    other.locator("#rf-talk input[type=file]").last.set_input_files(damaged)
    finished(other, 1)
    expect(other.locator("#rf-chat .user-row").first).to_contain_text("Пойдут ли две модели")
    expect(other.locator(".toast-body").last).to_contain_text("Mac Roman")
    assert "Из загруженного файла" in last_answer(other)
    say(other, "а если 4090?")
    assert "RTX 4090" in last_answer(other)
    other.reload()
    finished(other, 2)


def test_nothing_of_an_opened_file_is_alive(open_page: Open, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.md"
    hostile.write_text(
        ">[!nexus_user] **User**\n> <img src=x onerror=alert(1)> 24 GB\n"
        ">[!nexus_agent] **Assistant**\n> <img src=x onerror=alert(2)> [here](https://example.org) https://example.org/a\n"
        "> ![p](https://example.org/p.png) <script>alert(3)</script>\n"
        "> > ![q][r] <https://example.org> www.example.org a@example.org http://127.0.0.1:1/x\n>\n"
        "> [r]: https://example.org/q.png\n>\n"
        "> ```\n> ![c](https://example.org/c.png)\n> ```\n"
        "> ```a`b\n> ![d](https://example.org/d.png) [e](https://example.org/e)\n",
        encoding="utf-8",
    )
    page = open_page("en")
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.locator("#rf-talk input[type=file]").last.set_input_files(hostile)
    finished(page, 1)
    assert "link left out" in last_answer(page)
    assert page.locator("#rf-chat .bot-row a, #rf-chat .bot-row img[src^=http], #rf-chat script").count() == 0
    assert page.locator("#rf-chat img[src*=example]").count() == 0
    page.reload()
    finished(page, 1)
    assert page.locator("#rf-chat .bot-row a, #rf-chat img[src*=example]").count() == 0
    page.locator("#rf-talk input[type=file]").last.set_input_files(
        {"name": "notes.md", "mimeType": "text/markdown", "buffer": b"nothing of a conversation"}
    )
    expect(page.locator(".toast-body").last).to_contain_text("nexus_user")
    expect(page.locator("#rf-chat .user-row")).to_have_count(1)
