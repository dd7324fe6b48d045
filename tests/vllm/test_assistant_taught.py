"""The chat on a real engine that thinks and calls tools as Qwen3 does: a small one that was taught a few conversations.

vLLM runs with the parsers that are planned for a Qwen3, and finds the thoughts and the calls in what the model writes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import plan_of, taught
from lessons import ENDLESS, ENGLISH, RUSSIAN, Lesson, all_asked
from running import KEY, Running, engine_specs, running

from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    plan = plan_of(taught(all_asked()), context=8192, users=2)
    (spec,) = engine_specs(plan)
    assert "--tool-call-parser hermes" in " ".join(spec.argv)
    assert "--reasoning-parser qwen3" in " ".join(spec.argv)
    with running([spec], tmp_path_factory.mktemp("logs")) as served:
        yield served


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGFIT_LLM_API_KEY", KEY)


def settings_for(served: Running, folder: Path) -> Settings:
    return Settings(data_dir=folder, network=False, llm_url=f"{served.url}/v1")


async def asked(assistant: Assistant, lesson: Lesson, thread: str = "t") -> list[TurnResult]:
    return [
        event.result
        for question in lesson.questions
        async for event in assistant.ask(question, thread_id=thread)
        if isinstance(event, Finished)
    ]


def ask(settings: Settings, *lessons: Lesson) -> list[list[TurnResult]]:
    """Ask all at once, each in a thread of its own."""

    async def run() -> list[list[TurnResult]]:
        async with Assistant.open(settings, rig=None) as assistant:
            turns = (asked(assistant, lesson, thread=str(n)) for n, lesson in enumerate(lessons))
            return await asyncio.gather(*turns)

    return asyncio.run(run())


def test_a_model_that_thinks_and_calls_two_tools_at_once_is_answered_through(served: Running, tmp_path: Path):
    ((first, second),) = ask(settings_for(served, tmp_path), ENGLISH)
    assert [made["name"] for made in first.tool_calls] == ["look_up_specs", "calculate_vram"]
    assert all(made["ok"] for made in first.tool_calls)
    assert first.plan is not None
    assert first.answer_markdown == ENGLISH.replies[1]["content"]
    assert first.grounded
    assert second.answer_markdown == ENGLISH.answer
    assert second.tool_calls == ()
    assert {first.llm, second.llm} == set(served.fleet.specs[0].served_names)


def test_conversations_beside_each_other_are_each_their_own(served: Running, tmp_path: Path):
    lessons = (ENGLISH, RUSSIAN) * 2
    for lesson, turns in zip(lessons, ask(settings_for(served, tmp_path), *lessons), strict=True):
        assert turns[-1].answer_markdown == lesson.answer
        assert turns[-1].llm != "embedded"


def test_a_model_that_thinks_for_ever_is_cut_off_and_that_is_said(served: Running, tmp_path: Path):
    settings = replace(settings_for(served, tmp_path), llm_max_tokens=200)
    (((turn),),) = ask(settings, ENDLESS)
    assert turn.llm == "embedded"
    assert "RIGFIT_LLM_MAX_TOKENS = 200" in turn.answer_markdown.splitlines()[0]
    assert "and on and on" not in turn.answer_markdown
