"""A model that is served on this machine is offered on the page, chosen by one click, and gone when its run ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_driver import Open, last_answer, say
from playwright.sync_api import expect

from serving.processes import birth
from serving.runs import STOPPED, EngineRecord, RunRecord, Runs
from serving.wish import Wish

pytestmark = pytest.mark.e2e
MODEL = "qwen3-30b-a3b"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server_env(data: Path) -> dict[str, str]:
    return {"RIGFIT_DATA_DIR": str(data)}


@pytest.fixture
def run(data: Path) -> Iterator[RunRecord]:
    """A run whose gateway nobody answers at."""
    born = birth(os.getpid())
    assert born
    made = RunRecord(
        port=8000, url="http://127.0.0.1:9", pid=os.getpid(), born=born, started=1.0, option="as_asked", plan={},
        wish=Wish(), engines=(EngineRecord(MODEL, (MODEL,), "ready"),),
    )  # fmt: skip
    Runs(data).write(made)
    yield made
    Runs(data).end(made, STOPPED)


def test_a_served_model_is_one_click_away_until_it_ends(open_page: Open, run: RunRecord, data: Path) -> None:
    page = open_page("ru")
    choice = page.locator("#rf-writer")
    here = choice.get_by_text(f"{MODEL} на этой машине")
    expect(here).to_be_visible()
    expect(choice.get_by_text("Встроенные правила")).to_be_visible()
    here.click()
    expect(choice.get_by_role("radio", name=f"{MODEL} на этой машине")).to_be_checked()
    say(page, "Пойдут ли две Qwen3-30B на карте на 96 ГБ?")
    assert "недоступна, поэтому ответили встроенные правила" in last_answer(page)
    assert "113.7" in last_answer(page)
    Runs(data).end(run, STOPPED)
    expect(choice).to_be_hidden()


def test_without_a_run_there_is_nothing_to_choose(open_page: Open) -> None:
    page = open_page("en")
    expect(page.locator("#rf-writer")).to_be_hidden()
