"""Remembered hardware on the page: named in the chat and in the panel, changed by a click, saved and deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_driver import Open, finished, last_answer, say
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"RIGFIT_DATA_DIR": str(tmp_path_factory.mktemp("data"))}


def test_hardware_is_named_changed_by_a_click_saved_and_deleted(
    open_page: Open, server_env: dict[str, str], tmp_path: Path
) -> None:
    page = open_page("ru")
    say(page, "запомни: дома у меня 2x RTX 3090")
    assert "Запомнил как «домашний»" in last_answer(page)

    page.locator("#rf-rig > button").click()
    chips = page.locator(".rf-chip [data-rf-rig]")
    expect(chips).to_have_count(1)
    page.locator("#rf-card input").fill("RTX PRO 6000")
    page.locator("#rf-card input").press("Enter")
    page.locator("#rf-rig-name textarea, #rf-rig-name input").fill("work <b>server</b>")
    page.locator("#rf-remember").click()
    expect(chips).to_have_count(2)
    expect(page.locator("#rf-rig-status")).to_contain_text("work <b>server</b>")
    page.get_by_role("button", name="Очистить").click()

    say(page, "На домашнем пойдёт Qwen3-30B-A3B?")
    assert "вашего железа «домашний»: 2 × NVIDIA GeForce RTX 3090" in last_answer(page)
    page.reload()
    finished(page, 2)
    page.get_by_text("На «work <b>server</b>»").click()
    finished(page, 3)
    assert "RTX PRO 6000" in last_answer(page)
    page.get_by_text("Другое железо").last.click()
    finished(page, 4)
    assert "видеокарта" in last_answer(page)

    other = open_page("en")
    other.locator("#rf-rig > button").click()
    other.locator('[data-rf-rig="домашний"]').click()
    expect(other.locator("#rf-rig > button")).to_contain_text("2 × NVIDIA GeForce RTX 3090")
    with other.expect_download() as fetched:
        other.locator('[data-rf-memory="export"]').click()
    kept = json.loads(Path(fetched.value.path()).read_text(encoding="utf-8"))
    assert {rig["name"] for rig in kept["rigs"]} == {"домашний", "work <b>server</b>"}
    assert len(kept["threads"]) == 1

    other.on("dialog", lambda dialog: dialog.accept())
    other.locator('[data-rf-memory="erase"]').click()
    expect(other.locator(".rf-chip")).to_have_count(0)
    page.reload()
    expect(page.locator("#rf-chat .user-row")).to_have_count(0)
    data = Path(server_env["RIGFIT_DATA_DIR"])
    left = b"".join(path.read_bytes() for path in data.glob("*.sqlite*"))
    assert "домашн".encode() not in left
    assert b"work <b>" not in left
