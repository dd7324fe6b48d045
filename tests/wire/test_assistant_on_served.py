"""The assistant on a model that is served: through the gateway, with all that an engine does to who asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from scripted_llm import Script, broken_off, call, not_ready, say, scripted_llm, think

from agent.decide import endpoint
from agent.events import Finished, StepFinished, StepStarted, TurnResult
from agent.session import Assistant
from serving.config import GatewayConfig, Upstream
from serving.server import opened
from tools.settings import Settings

PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
MODEL = "Qwen/Qwen3-30B-A3B"


@contextmanager
def gateway(*upstreams: Upstream, **changes: Any) -> Iterator[str]:
    """Run the gateway in a thread with a loop of its own; yields the address that OpenAI's clients take."""
    known, ends = Event(), Event()
    found: list[str] = []

    async def run() -> None:
        async with opened(GatewayConfig(upstreams, port=0, check_s=0.1, **changes), {}) as url:
            found.append(url)
            known.set()
            await asyncio.to_thread(ends.wait)

    thread = Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert known.wait(20)
    try:
        yield f"{found[0]}/v1"
    finally:
        ends.set()
        thread.join(20)


@contextmanager
def served(*turns: dict[str, Any], model: str = MODEL) -> Iterator[tuple[str, Script]]:
    """A scripted engine behind the gateway."""
    with (
        scripted_llm(*turns, models=[model]) as (url, script),
        gateway(Upstream(model, url.removesuffix("/v1"))) as front,
    ):
        yield front, script


def ask(folder: Path, url: str, question: str = QUESTION, model: str | None = None) -> tuple[TurnResult, list[Any]]:
    """Ask once; returns the turn and its steps."""

    async def run() -> tuple[TurnResult, list[Any]]:
        settings = Settings(data_dir=folder, network=False, llm_url=url, llm_model=model)
        steps: list[Any] = []
        async with Assistant.open(settings, rig=None) as assistant:
            async for event in assistant.ask(question, thread_id="t"):
                if isinstance(event, StepStarted | StepFinished):
                    steps.append(event)
                if isinstance(event, Finished):
                    return event.result, steps
        raise AssertionError("no result")

    return asyncio.run(run())


def test_the_one_model_of_a_gateway_needs_no_name(tmp_path: Path) -> None:
    with served(PLAN, say("No: 30.9 GiB are missing.")) as (url, script):
        turn, _ = ask(tmp_path, url)
    assert turn.answer_markdown == "No: 30.9 GiB are missing."
    assert turn.llm == MODEL
    assert {request["model"] for request in script.requests} == {MODEL}


def test_an_alias_is_no_second_model(tmp_path: Path) -> None:
    with (
        scripted_llm(PLAN, say("No: 30.9 GiB are missing."), models=[MODEL]) as (engine, _),
        gateway(Upstream(MODEL, engine.removesuffix("/v1")), aliases={"small": MODEL}) as url,
    ):
        turn, _ = ask(tmp_path, url)
    assert turn.llm == MODEL


def test_several_models_ask_for_a_name(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("Yes."), models=["a", "b"]) as (url, script):
        turn, _ = ask(tmp_path, url)
        assert script.requests == []
        named, _ = ask(tmp_path, url, model="b")
    assert "there are several (a, b)" in turn.answer_markdown.splitlines()[0]
    assert turn.llm == "embedded"
    assert "113.7" in turn.answer_markdown
    assert named.llm == "b"


def test_thinking_stays_out_however_it_is_sent(tmp_path: Path) -> None:
    thought = "2 x 57 is 999 GiB"
    answer = "No: 30.9 GiB are missing."
    for last in (
        think(thought, say(answer)),
        say(f"<think>{thought}</think>{answer}"),
        say(f"{thought}</think>{answer}"),
    ):
        with served(think("Let me see.", PLAN), last) as (url, _):
            turn, _ = ask(tmp_path, url)
        assert turn.answer_markdown == answer


@pytest.mark.parametrize("pieces", [0, 3])
@pytest.mark.parametrize("behind", [True, False])
def test_an_engine_that_dies_while_it_answers(tmp_path: Path, pieces: int, behind: bool) -> None:
    dying = broken_off(say("No: 30.9 GiB are missing, and more words."), after=pieces)
    with (served if behind else scripted_llm)(PLAN, dying) as (url, _):
        turn, _ = ask(tmp_path, url, model=None if behind else "scripted")
    lines = turn.answer_markdown.splitlines()
    assert lines[0].startswith("The model at")
    assert "more words" not in turn.answer_markdown
    assert "113.7" in turn.answer_markdown
    assert len(turn.notices) == 0
    assert sum("built-in rules" in line for line in lines) == 1
    assert turn.llm == "embedded"


def test_an_engine_that_dies_while_it_calls_a_tool(tmp_path: Path) -> None:
    with served(broken_off(PLAN, after=4)) as (url, _):
        turn, _ = ask(tmp_path, url)
    assert "broke off" in turn.answer_markdown.splitlines()[0]
    assert "113.7" in turn.answer_markdown


def test_a_model_that_starts_is_waited_for_and_that_is_shown(tmp_path: Path) -> None:
    with served(not_ready("0"), not_ready("0.1"), PLAN, say("No: 30.9 GiB are missing.")) as (url, script):
        turn, steps = ask(tmp_path, url)
    assert turn.answer_markdown == "No: 30.9 GiB are missing."
    assert len(script.requests) == 4
    waits = [step for step in steps if step.name == "wait_for_model"]
    assert [type(step) for step in waits] == [StepStarted, StepFinished]
    assert waits[1].ok
    assert MODEL in waits[1].summary


def test_a_model_that_never_wakes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "READY_S", 0.5)
    with served(not_ready("0")) as (url, script):
        turn, steps = ask(tmp_path, url)
    assert "was not ready within" in turn.answer_markdown.splitlines()[0]
    assert "113.7" in turn.answer_markdown
    assert 2 <= len(script.requests) <= 5
    assert not next(step for step in steps if isinstance(step, StepFinished) and step.name == "wait_for_model").ok


def test_who_does_not_say_when_to_ask_again_is_not_asked_again(tmp_path: Path) -> None:
    with scripted_llm(not_ready(None)) as (url, script):
        turn, steps = ask(tmp_path, url, model="scripted")
    assert len(script.requests) == 1
    assert "refused the question (HTTP 503)" in turn.answer_markdown.splitlines()[0]
    assert not [step for step in steps if step.name == "wait_for_model"]


def test_an_engine_that_is_gone_behind_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "READY_S", 0.5)
    with gateway(Upstream(MODEL, "http://127.0.0.1:9")) as url:
        turn, _ = ask(tmp_path, url)
    assert turn.answer_markdown.startswith("The model at")
    assert "113.7" in turn.answer_markdown


def test_a_wrong_key_names_the_variable(tmp_path: Path) -> None:
    with (
        scripted_llm(say("Hello."), models=[MODEL]) as (url, _),
        gateway(Upstream(MODEL, url.removesuffix("/v1")), keys=("right",)) as front,
    ):
        turn, _ = ask(tmp_path, front)
    assert "another key than RIGFIT_LLM_API_KEY holds" in turn.answer_markdown.splitlines()[0]
    assert "113.7" in turn.answer_markdown


def test_a_model_that_says_nothing(tmp_path: Path) -> None:
    with served(PLAN, think("Hm.", say(""))) as (url, _):
        turn, _ = ask(tmp_path, url)
    assert f"{MODEL} gave no answer" in turn.answer_markdown.splitlines()[0]


def test_the_line_is_in_the_askers_language(tmp_path: Path) -> None:
    turn, _ = ask(tmp_path, "http://127.0.0.1:9/v1", "Пойдут ли две Qwen3-30B на карте на 96 ГБ?", model="x")
    assert turn.answer_markdown.splitlines()[0].startswith("Модель по адресу")
