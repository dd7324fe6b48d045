"""The page itself: bad input, a phone, the keyboard, dark and light, two languages."""

from __future__ import annotations

import re

import pytest
from page_driver import Open, last_answer, say
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e
QUESTION = "Will two Qwen3-30B run at once on an RTX PRO 6000?"


def background(page: Page) -> tuple[int, ...]:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return tuple(map(int, re.findall(r"\d+", colour)[:3]))


def no_sideways_scroll(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "words",
    ["   ", "x" * 100_000, "Will $(reboot);`id` && rm -rf / 'qwen\"<script>alert(1)</script> fit on an RTX 3090?"],
    ids=["empty", "endless", "shell"],
)
def test_bad_input_gets_an_answer_and_the_page_stays_usable(open_page: Open, words: str) -> None:
    page = open_page("en")
    say(page, words)
    answer = last_answer(page).strip()
    assert answer
    assert "Traceback" not in answer
    assert page.locator("#rf-chat script").count() == 0
    say(page, QUESTION)
    assert "113.7 GiB" in last_answer(page)


def test_bad_hardware_is_one_sentence(open_page: Open) -> None:
    page = open_page("en")
    page.locator("#rf-rig > button").click()
    page.locator("#rf-card input").fill("RTX 3090")
    page.locator("#rf-card input").press("Enter")
    expect(page.locator("#rf-rig > button")).to_contain_text("RTX 3090")
    count = page.get_by_label("How many")
    count.fill("-5")
    count.press("Enter")
    expect(page.locator("#rf-rig-status [role=alert]")).to_contain_text("whole number")
    count.fill("2")
    count.press("Enter")
    expect(page.locator("#rf-rig-status [role=alert]")).to_have_count(0)
    expect(page.locator("#rf-rig > button")).to_contain_text("2 ×")


def test_a_phone_shows_the_plan_under_the_chat(open_page: Open) -> None:
    page = open_page("ru", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert no_sideways_scroll(page)
    say(page, "Пойдут ли две модели Qwen3-30B на RTX PRO 6000?")
    assert no_sideways_scroll(page)
    chat, plan = page.locator("#rf-talk").bounding_box(), page.locator(".rf-panel").bounding_box()
    assert chat
    assert plan
    assert plan["y"] >= chat["y"] + chat["height"]
    assert plan["x"] >= 0
    assert plan["x"] + plan["width"] <= 390
    page.locator(".rf-pick").last.scroll_into_view_if_needed()
    page.locator(".rf-pick").last.tap()
    expect(page.locator(".rf-pick").last).to_have_attribute("aria-pressed", "true")
    assert no_sideways_scroll(page)


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page("en")
    expect(page.locator("#rf-box textarea")).to_be_focused()
    page.keyboard.type("Will two Qwen3-30B")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("run on an RTX PRO 6000?")
    assert page.locator("#rf-box textarea").input_value().count("\n") == 1
    page.keyboard.press("Enter")
    expect(page.locator("#rf-chat .user-row")).to_have_count(1)
    expect(page.locator("#rf-box .submit-button")).to_be_visible()
    page.locator(".rf-pick[data-rf-option='as_asked']").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    expect(page.locator(".rf-pick[data-rf-option='as_asked']")).to_have_attribute("aria-pressed", "true")
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, textarea, a')]
        .filter((e) => e.checkVisibility() && !e.closest('.thought-group')
          && !(e.innerText || e.ariaLabel || e.title || e.placeholder || e.labels?.[0]?.innerText))
        .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


def test_dark_and_light_follow_the_browser_and_the_switch(open_page: Open) -> None:
    light, dark = open_page("en", color_scheme="light"), open_page("en", color_scheme="dark")
    assert min(background(light)) > 200
    assert max(background(dark)) < 90
    dark.locator('[data-rf="theme"]').click()
    assert min(background(dark)) > 200
    dark.reload()
    expect(dark.locator("#rf-box textarea")).to_be_visible()
    dark.wait_for_function("!document.body.classList.contains('dark')")


def test_the_language_follows_the_browser_and_the_switch(open_page: Open) -> None:
    page = open_page("ru")
    box = page.locator("#rf-box textarea")
    expect(box).to_have_attribute("placeholder", re.compile("Какие модели"))
    expect(page.locator(".rf-caption")).to_contain_text("Пример")
    page.locator('[data-rf="language"][value="en"]').click()
    expect(box).to_have_attribute("placeholder", re.compile("Which models"))
    expect(page.locator(".rf-caption")).to_contain_text("Example")
    page.reload()
    expect(box).to_have_attribute("placeholder", re.compile("Which models"))


def test_nothing_moves_while_the_answer_grows(open_page: Open) -> None:
    page = open_page("en")
    say(page, QUESTION)
    say(page, "and with 64k context?")
    place = page.locator("#rf-chat .user-row").last.bounding_box()
    chat = page.locator("#rf-chat").bounding_box()
    assert place
    assert chat
    assert 0 <= place["y"] - chat["y"] < 60


def test_copying_a_command(open_page: Open) -> None:
    page = open_page("en", permissions=["clipboard-read", "clipboard-write"])
    say(page, QUESTION)
    page.locator(".rf-fold summary").first.click()
    page.locator(".rf-copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("vllm serve ")
    assert "--max-model-len" in copied


def test_only_the_written_files_are_handed_out(open_page: Open, server: str) -> None:
    page = open_page("en")
    say(page, QUESTION)
    link = page.locator(".rf-files a").first.get_attribute("href") or ""
    assert page.request.get(server + link).status == 200
    data = link.removeprefix("/gradio_api/file=").partition("/files/")[0]
    for path in (f"{data}/threads.sqlite", f"{data}/files/../threads.sqlite", __file__, "/etc/passwd"):
        assert page.request.get(f"{server}/gradio_api/file={path}").status in {403, 404}, path
