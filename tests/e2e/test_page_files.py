"""Files of every target through the page, in a real browser."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from page_driver import Open, last_answer, say
from playwright.sync_api import Page, expect
from ruamel.yaml import YAML

pytestmark = pytest.mark.e2e
QUESTION = "Will two Qwen3-30B run at once on my 98 GB card?"


def whole(page: Page, folder: Path) -> dict[str, str]:
    """Fetch the shown files as a zip."""
    with page.expect_download() as fetched:
        page.locator(".rf-files a[href$='.zip']").click()
    path = folder / fetched.value.suggested_filename
    fetched.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_another_target_is_a_click_away(open_page: Open, tmp_path: Path) -> None:
    page = open_page("en")
    say(page, QUESTION)
    expect(page.locator('[data-rf-target="compose"]')).to_have_attribute("aria-pressed", "true")
    page.locator('[data-rf-target="ollama"]').click()
    expect(page.locator('[data-rf-target="ollama"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".rf-panel")).to_contain_text("GGUF-Q8_0")  # which checkpoint became which is said
    expect(page.locator(".rf-files")).to_contain_text("Modelfile")
    files = whole(page, tmp_path)
    assert any(text.startswith("#") and "\nFROM " in text for name, text in files.items() if "Modelfile" in name)
    assert all("Made by Rigfit" in text for name, text in files.items() if name.startswith("Modelfile"))


def test_a_choice_changes_the_files_and_the_next_option_keeps_it(open_page: Open, tmp_path: Path) -> None:
    page = open_page("en")
    say(page, QUESTION)
    page.locator('[data-rf-choice="page:open-webui"]').click()
    expect(page.locator('[data-rf-choice="page:open-webui"]')).to_have_attribute("aria-pressed", "true")
    services = YAML(typ="safe").load(whole(page, tmp_path)["compose.yaml"])["services"]
    assert any("open-webui" in str(service.get("image")) for service in services.values())
    page.locator('[data-rf-option="share"]').click()
    expect(page.locator('[data-rf-option="share"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator('[data-rf-choice="page:open-webui"]')).to_have_attribute("aria-pressed", "true")


def test_files_asked_for_in_the_chat_are_the_ones_shown(open_page: Open) -> None:
    page = open_page("ru")
    say(page, "Пойдут ли две модели Qwen3-30B на RTX PRO 6000 на 98 ГБ?")
    say(page, "теперь для llama.cpp")
    assert "serve-" in last_answer(page)
    expect(page.locator('[data-rf-target="llamacpp"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".rf-files")).to_contain_text("fetch.sh")


def test_a_target_that_cannot_serve_an_option_says_why(open_page: Open) -> None:
    page = open_page("en")
    say(page, QUESTION)
    page.locator('[data-rf-option="swap"]').click()
    expect(page.locator('[data-rf-option="swap"]')).to_have_attribute("aria-pressed", "true")
    page.locator('[data-rf-target="ray"]').click()
    expect(page.locator(".rf-targets ~ .rf-note[role=status]")).to_contain_text("Ray")
    expect(page.locator(".rf-files")).to_have_count(0)
    page.locator('[data-rf-target="compose"]').click()
    expect(page.locator(".rf-files")).to_contain_text("compose.yaml")
