"""The question Rigfit began with, through the page, in a real browser."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from page_driver import Open, finished, last_answer, say
from playwright.sync_api import Page, expect
from ruamel.yaml import YAML

pytestmark = pytest.mark.e2e
FOUNDING = "Ты можешь именно поискать, на моём железе пойдёт сразу 2 модели квен 30? Карта RTX PRO 6000 на 98 ГБ"
WITHOUT_CARD = "Ты можешь именно поискать, на моём железе пойдёт сразу 2 модели квен 30?"


def compose_services(page: Page, folder: Path) -> dict[str, object]:
    link = page.locator(".rf-files a").filter(has_text=re.compile(r"compose\.ya?ml"))
    with page.expect_download() as fetched:
        link.first.click()
    path = folder / fetched.value.suggested_filename
    fetched.value.save_as(path)
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))["services"]


def test_answer_picture_files_follow_up_and_reload(open_page: Open, tmp_path: Path) -> None:
    page = open_page("ru")
    say(page, FOUNDING)
    answer = last_answer(page)
    assert "113.7 GiB" in answer
    expect(page.locator(".rf-panel h2 .rf-badge")).to_contain_text("Поместится с изменениями")
    expect(page.locator(".rf-bar")).to_have_count(1)
    assert "GiB" in (page.locator(".rf-bar").get_attribute("aria-label") or "")
    expect(page.locator("#rf-chat .thought-group").first).to_be_visible()

    services = compose_services(page, tmp_path)
    engines = [name for name, service in services.items() if "vllm" in str(service)]
    assert len(engines) >= 2
    with page.expect_download() as fetched:
        page.locator(".rf-files a[href$='.zip']").first.click()
    with zipfile.ZipFile(fetched.value.path()) as archive:
        assert archive.testzip() is None
        assert any("compose" in name for name in archive.namelist())

    page.locator('[data-rf-option="as_asked"]').click()
    expect(page.locator(".rf-over-note")).to_be_visible()
    expect(page.locator(".rf-card-end")).to_have_count(1)

    say(page, "а если вторую в int4?")
    follow_up = last_answer(page)
    assert "GiB" in follow_up
    assert re.search(r"int4|4 бит", follow_up, re.IGNORECASE)
    shown = page.locator(".rf-panel").inner_text()

    page.reload()
    finished(page, 2)
    assert "113.7 GiB" in page.locator("#rf-chat .bot-row").first.inner_text().replace("\xa0", " ")
    expect(page.locator(".rf-panel")).to_contain_text(shown.splitlines()[0])
    expect(page.locator("#rf-rig")).to_contain_text("RTX PRO 6000")

    page.locator('[data-rf="fresh"]').click()
    expect(page.locator("#rf-chat .user-row")).to_have_count(0)


def test_it_asks_for_the_card_and_a_memory_size_is_enough(open_page: Open) -> None:
    page = open_page("ru")
    say(page, WITHOUT_CARD)
    assert re.search(r"карт", last_answer(page), re.IGNORECASE)
    assert "?" in last_answer(page)
    say(page, "98 гб")
    assert "113.7 GiB" in last_answer(page)
    expect(page.locator(".rf-panel h2 .rf-badge")).to_contain_text("Поместится с изменениями")


def test_hardware_set_beside_the_chat_answers_for_it(open_page: Open) -> None:
    page = open_page("ru")
    page.locator("#rf-rig > button").click()
    card = page.locator("#rf-card input")
    card.fill("RTX PRO 6000")
    card.press("Enter")
    expect(page.locator("#rf-rig > button")).to_contain_text("RTX PRO 6000")
    say(page, WITHOUT_CARD)
    assert "113.7 GiB" in last_answer(page)


def test_examples_and_follow_ups_are_a_click(open_page: Open) -> None:
    page = open_page("en")
    expect(page.locator(".rf-caption")).to_be_visible()
    page.get_by_text("Will two Qwen3-30B run at once on my 98 GB card?").click()
    finished(page, 1)
    assert "113.7 GiB" in last_answer(page)
    chips = page.locator("#rf-chat .option, #rf-chat .options button")
    offered = chips.all_inner_texts()
    assert offered
    page.reload()
    finished(page, 1)
    expect(chips).to_have_text(offered)
    chips.first.click()
    finished(page, 2)
    expect(page.locator("#rf-chat .user-row").last).to_contain_text(offered[0])
    expect(chips.first).to_be_visible()
    page.reload()
    finished(page, 2)
    assert page.locator("#rf-chat .bot-row").first.locator(".option, .options button").count() == 0
    expect(chips.first).to_be_visible()
