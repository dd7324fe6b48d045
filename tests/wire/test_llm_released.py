"""A model's answer is shown piece by piece as it is written, and no figure without a source is ever seen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_llm import broken_off, call, held, not_ready, say, scripted_llm, think

from agent.events import AnswerText, Event, Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings

PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
WRONG = "The weights alone take 150 GiB."
RIGHT = "The weights alone take 113.7 GiB."


def ask(
    folder: Path, url: str, *questions: str, seen: Callable[[Event], None] | None = None
) -> tuple[TurnResult, list[str]]:
    """Ask in one thread; return the last turn and its pieces of text."""

    async def run() -> tuple[TurnResult, list[str]]:
        settings = Settings(data_dir=folder, network=False, llm_url=url, llm_model="scripted")
        result, shown = None, list[str]()
        async with Assistant.open(settings, rig=None) as assistant:
            for question in questions:
                shown.clear()
                async for event in assistant.ask(question, thread_id="t"):
                    if seen:
                        seen(event)
                    if isinstance(event, AnswerText):
                        shown.append(event.markdown_chunk)
                    if isinstance(event, Finished):
                        result = event.result
        assert result is not None
        assert "".join(shown) == result.answer_markdown
        return result, shown

    return asyncio.run(run())


def test_a_sentence_is_shown_while_the_next_is_written(tmp_path: Path) -> None:
    first = threading.Event()
    answer = held(say(f"No. {RIGHT} FP8 for both fits."), after=7, until=first)
    waited: list[bool] = []

    def seen(event: Event) -> None:
        if isinstance(event, AnswerText) and not first.is_set():
            waited.append(True)
            first.set()

    with scripted_llm(PLAN, answer) as (url, script):
        result, shown = ask(tmp_path, url, QUESTION, seen=seen)
    assert waited
    assert shown[0] == f"No. {RIGHT}"
    assert result.answer_markdown == f"No. {RIGHT} FP8 for both fits."
    assert result.grounded
    assert len(script.requests) == 2


def test_a_wrong_sentence_is_written_again_once_with_the_figures_named(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say(f"No. {WRONG} FP8 for both fits."), say(RIGHT)) as (url, script):
        result, shown = ask(tmp_path, url, QUESTION)
    assert result.answer_markdown == f"No. {RIGHT} FP8 for both fits."
    assert not any("150" in piece for piece in shown)
    assert (result.grounded, result.taken_out) == (True, 1)
    asked = script.requests[2]
    assert "150 GiB" in asked["messages"][-1]["content"]
    assert "113.7 GiB" in str(asked["messages"])
    assert not asked.get("tools")
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    "again",
    [
        say("They take 151 GiB."),
        say(""),
        say("113.7 GiB,\nthat is all."),
        {"status": 500, "headers": {}},
        not_ready("30"),
        broken_off(say(RIGHT), after=3),
        think("It is 113.7", say("")),
    ],
)
def test_a_sentence_that_stays_wrong_is_rendered(tmp_path: Path, again: dict[str, Any]) -> None:
    text = f"No. {WRONG} FP8 for both fits."
    with scripted_llm(PLAN, say(text), again) as (url, script):
        result, shown = ask(tmp_path, url, QUESTION)
    assert "113.7 GiB" in result.answer_markdown
    assert result.answer_markdown.startswith("No. ")
    assert result.answer_markdown.endswith("FP8 for both fits.")
    assert not any("150" in piece or "151" in piece for piece in shown)
    assert (result.grounded, result.llm) == (False, "scripted")
    assert len(script.requests) == 3


def test_every_wrong_piece_is_tried_once_and_the_verdict_rendered_once(tmp_path: Path) -> None:
    rows = "| Copy | Weights |\n|---|---|\n| first | 90 GiB |\n| second | 91 GiB |\n"
    with scripted_llm(PLAN, say(f"{rows}\nIt takes 333 GiB. {RIGHT}"), say("I don't know.")) as (url, script):
        result, _ = ask(tmp_path, url, QUESTION)
    lines = result.answer_markdown.splitlines()
    assert lines[:2] == ["| Copy | Weights |", "|---|---|"]
    assert not lines[2]
    assert result.answer_markdown.count("113.7 GiB") == 2
    assert "I don't know." in result.answer_markdown
    assert len(script.requests) == 2 + 3
    assert result.taken_out == 3


def test_a_row_is_only_replaced_by_a_row(tmp_path: Path) -> None:
    rows = "| Copies | Weights |\n|---|---|\n| both | 90 GiB |\n"
    with scripted_llm(PLAN, say(f"{rows}\nFP8 fits."), say("| both | 113.7 GiB |")) as (url, _):
        result, _ = ask(tmp_path, url, QUESTION)
    assert result.answer_markdown == "| Copies | Weights |\n|---|---|\n| both | 113.7 GiB |\n\nFP8 fits."
    assert result.grounded


def test_what_was_shown_stays_where_the_endpoint_breaks_off(tmp_path: Path) -> None:
    with scripted_llm(PLAN, broken_off(say(f"No. {RIGHT} FP8 for both fits, and then"), after=9)) as (url, _):
        result, shown = ask(tmp_path, url, QUESTION)
    assert shown[0] == f"No. {RIGHT}"
    assert "broke off" in result.answer_markdown
    assert result.answer_markdown.count("30.9 GiB") >= 1
    assert result.llm == "embedded"


@pytest.mark.parametrize(
    "thought", ["<think>2 x 30.9 GiB is too much. So no. </think>", "30.9 GiB is missing. No. </think>"]
)
def test_what_is_thought_is_never_shown(tmp_path: Path, thought: str) -> None:
    first = {**PLAN, "content": f"{thought}"}
    with scripted_llm(first, say(f"{thought}No. {RIGHT} FP8 fits.")) as (url, _):
        result, shown = ask(tmp_path, url, QUESTION)
    assert result.answer_markdown == "".join(shown) == f"No. {RIGHT} FP8 fits."


def test_nothing_is_shown_of_a_text_that_leaves_the_question_open(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("Yes, you can. That will be fine. Have a good day.")) as (url, _):
        result, shown = ask(tmp_path, url, QUESTION)
    assert "you can" not in "".join(shown)
    assert "30.9 GiB" in result.answer_markdown


def test_what_was_said_before_a_call_stays(tmp_path: Path) -> None:
    again = {**PLAN, "content": "Let me compute that. One moment, please. "}
    with scripted_llm(PLAN, say(RIGHT), again, say("It is the same: 30.9 GiB are missing.")) as (url, _):
        result, _ = ask(tmp_path, url, QUESTION, "And are you sure?")
    assert result.answer_markdown == "Let me compute that.\n\nIt is the same: 30.9 GiB are missing."
