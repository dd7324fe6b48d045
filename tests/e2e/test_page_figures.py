"""The page says under each answer who wrote it and how its figures were found, readable in both themes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_driver import Open, last_answer, say
from playwright.sync_api import Page, expect

sys.path.append(str(Path(__file__).parents[1] / "wire"))
from scripted_llm import Script, call, scripted_llm
from scripted_llm import say as said

pytestmark = pytest.mark.e2e
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
_CONTRAST = """node => {
  const rgb = words => words.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  let under = node;
  while (under && (rgb(getComputedStyle(under).backgroundColor)[3] ?? 1) === 0) under = under.parentElement;
  const pair = [light(rgb(getComputedStyle(node).color)), light(rgb(getComputedStyle(under).backgroundColor))];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
"""Contrast of a node's words with what is under them (WCAG 2.2, 1.4.3)."""


@pytest.fixture(scope="module")
def model() -> Iterator[tuple[str, Script]]:
    with scripted_llm(said("")) as served:
        yield served


@pytest.fixture(scope="module")
def server_env(model: tuple[str, Script]) -> dict[str, str]:
    return {"RIGFIT_LLM_URL": model[0], "RIGFIT_LLM_MODEL": "tiny-qwen"}


def answered(page: Page, script: Script, *texts: str, question: str = QUESTION) -> Page:
    script.turns[:], script.requests[:] = [PLAN, *map(said, texts)], []
    say(page, question)
    return page


def test_all_figures_checked(open_page: Open, model: tuple[str, Script]) -> None:
    page = answered(open_page("en"), model[1], "No: the weights alone take 113.7 GiB; 30.9 GiB are missing.")
    mark = page.locator("#rf-chat .rf-mark")
    expect(mark).to_have_count(1)
    expect(mark).to_contain_text("Written by tiny-qwen. Figures checked: 2; all have a source.")
    assert mark.evaluate(_CONTRAST) >= 4.5
    page.reload()
    expect(page.locator("#rf-chat .rf-mark-checked")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_taken_out_is_told_and_can_be_read(open_page: Open, model: tuple[str, Script], scheme: str) -> None:
    page = open_page("ru", color_scheme=scheme)
    texts = ("Нет: одни веса занимают 150 GiB. В FP8 поместятся обе.", "Они занимают 151 GiB.")
    answered(page, model[1], *texts, question="Пойдут ли две Qwen3-30B на карте на 96 ГБ?")
    mark = page.locator("#rf-chat .rf-mark-taken_out")
    expect(mark).to_contain_text("убрано, потому что без источника: 1.")
    assert "150" not in last_answer(page)
    assert "151" not in last_answer(page)
    assert mark.evaluate(_CONTRAST) >= 4.5


def test_where_no_model_wrote_this_is_said(open_page: Open, model: tuple[str, Script]) -> None:
    page = answered(open_page("en"), model[1], "")
    expect(page.locator("#rf-chat .rf-mark-rules")).to_contain_text("No model wrote this")
