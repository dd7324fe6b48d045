"""On the page a model that is served here is chosen, answers, ends; the page goes on with the built-in rules."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from scripted_llm import call, say, scripted_llm

from serving.processes import birth
from serving.runs import STOPPED, EngineRecord, RunRecord, Runs
from serving.wish import Wish
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue
from ui.assistants import AssistantKeeper
from ui.conversation import Conversation, Shown
from ui.writers import CONFIGURED, RULES, writers

PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
MODEL = "qwen3-8b"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, network=False)


def running(settings: Settings, url: str) -> RunRecord:
    """Note a run whose gateway is at an address."""
    born = birth(os.getpid())
    assert born
    engines = (EngineRecord(MODEL, (MODEL,), "ready"),)
    run = RunRecord(8000, url.removesuffix("/v1"), os.getpid(), born, 1.0, "as_asked", {}, Wish(), engines)
    Runs(settings.data_dir).write(run)
    return run


def answered(settings: Settings, *turns: tuple[str, str]) -> list[str]:
    """Send messages to those who are chosen; returns each turn's last answer."""

    async def talk() -> list[str]:
        keeper = AssistantKeeper.for_settings(settings)
        page = Conversation(keeper, settings, GpuCatalogue.load())
        state, chat, found = Shown(thread="a" * 12), [], []
        for words, writer in turns:
            async for update in page.send(words, chat, state, "", "1", "", "", writer):
                chat = update[1]
                state = update[3] if isinstance(update[3], Shown) else state
            found.append(chat[-1]["content"])
        await keeper.close()
        return found

    return asyncio.run(talk())


def key_of(settings: Settings) -> str:
    return writers(settings)[-1].key


def test_who_is_chosen_answers_that_message(settings: Settings) -> None:
    with scripted_llm(PLAN, say("It does not fit: the weights alone take 113.7 GiB."), models=[MODEL]) as (url, script):
        running(settings, url)
        first, second = answered(settings, (QUESTION, key_of(settings)), ("and with 64k context?", CONFIGURED))
    written, _, mark = first.partition("\n\n")
    assert written.replace("\u00a0", " ") == "It does not fit: the weights alone take 113.7 GiB."
    assert "Figures checked: 1" in mark
    assert script.requests[0]["model"] == MODEL
    assert len(script.requests) == 2
    assert "**" in second


def test_the_rules_can_be_chosen_before_a_configured_model(settings: Settings) -> None:
    with scripted_llm(say("Hello.")) as (url, script):
        from dataclasses import replace

        answered(replace(settings, llm_url=url, llm_model="scripted"), (QUESTION, RULES))
    assert script.requests == []


def test_a_model_that_died_leaves_one_line_and_an_answer(settings: Settings) -> None:
    with scripted_llm(say("Hello.")) as (url, _):
        running(settings, url)
    [answer] = answered(settings, (QUESTION, key_of(settings)))
    assert answer.count("built-in rules") == 1
    assert "113.7" in answer


def test_a_run_that_ended_after_it_was_chosen_is_said(settings: Settings) -> None:
    with scripted_llm(say("Hello.")) as (url, script):
        run = running(settings, url)
        key = key_of(settings)
        Runs(settings.data_dir).end(run, STOPPED)
        [answer] = answered(settings, (QUESTION, key))
        assert script.requests == []
    assert f"{MODEL} no longer runs here" in answer
    assert "113.7" in answer


def test_the_choice_comes_and_goes_with_the_run(settings: Settings) -> None:
    page = Conversation(AssistantKeeper.for_settings(settings), settings, GpuCatalogue.load())

    def look(chosen: str, known: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
        return tuple(page.writers_now(chosen, known, Shown()))  # pyright: ignore[reportReturnType]

    alone, told = look(CONFIGURED, ())
    assert alone.visible is False
    run = running(settings, "http://127.0.0.1:8000/v1")
    offered, told = look(CONFIGURED, told)
    assert offered.visible is True
    assert [name for name, _ in offered.choices] == ["Built-in rules", f"{MODEL} on this machine"]
    unchanged, told_again = look(key_of(settings), told)
    assert not hasattr(unchanged, "choices")
    chosen = key_of(settings)
    Runs(settings.data_dir).end(run, STOPPED)
    gone, _ = look(chosen, told)
    assert gone.visible is False
    assert gone.value == CONFIGURED
    assert told_again is not told
