"""A language model behind the OpenAI wire format drives the same graph, and never gets a made-up figure through."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from scripted_llm import call, calls, say, scripted_llm

from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings

PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"


def ask(tmp_path: Path, url: str, *questions: str) -> TurnResult:
    """Ask in one thread and return the last turn."""

    async def run() -> TurnResult:
        settings = Settings(data_dir=tmp_path, network=False, llm_url=url, llm_model="scripted")
        last: TurnResult | None = None
        async with Assistant.open(settings, rig=None) as assistant:
            for question in questions:
                async for event in assistant.ask(question, thread_id="t"):
                    if isinstance(event, Finished):
                        last = event.result
        assert last is not None
        return last

    return asyncio.run(run())


def test_model_calls_a_tool_and_its_grounded_text_is_the_answer(tmp_path: Path) -> None:
    text = "No: the weights alone take 113.7 GiB. FP8 for both fits."
    with scripted_llm(PLAN, say(text)) as (url, script):
        result = ask(tmp_path, url, QUESTION)
    assert result.answer_markdown == text
    assert result.llm == "scripted"
    assert result.grounded is True
    assert [c["name"] for c in result.tool_calls] == ["calculate_vram"]
    assert result.plan is not None
    assert result.plan.verdict == "fits_with_changes"
    offered = {t["function"]["name"] for t in script.requests[0]["tools"]}
    assert offered >= {"look_up_specs", "search_web", "calculate_vram", "generate_launch_config"}
    assert "'given'" not in str(script.requests[0]["tools"])
    assert "113.7 GiB" in str(script.requests[1]["messages"])


def test_ungrounded_figure_is_replaced_by_the_rendered_sentence(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("It takes 150 GB. FP8 for both fits.")) as (url, _):
        result = ask(tmp_path, url, QUESTION)
    assert "150" not in result.answer_markdown
    assert "113.7" in result.answer_markdown
    assert "FP8 for both fits." in result.answer_markdown
    assert result.grounded is False


def test_thinking_is_kept_out_of_the_answer(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("<think>2 x 57 is 999 GiB</think>No: 30.9 GiB are missing.")) as (url, _):
        result = ask(tmp_path, url, QUESTION)
    assert result.answer_markdown == "No: 30.9 GiB are missing."


def test_dead_endpoint_lets_the_rules_answer_and_says_so(tmp_path: Path) -> None:
    result = ask(tmp_path, "http://127.0.0.1:9/v1", QUESTION)
    assert "113.7" in result.answer_markdown
    assert result.llm == "embedded"
    first = result.answer_markdown.splitlines()[0]
    assert first.startswith("The model at")
    assert "127.0.0.1:9" in first


def test_endpoint_that_refuses_lets_the_rules_answer(tmp_path: Path) -> None:
    with scripted_llm(say(""), status=401) as (url, _):
        result = ask(tmp_path, url, QUESTION)
    assert "113.7" in result.answer_markdown
    assert result.answer_markdown.startswith("The model at")


def test_model_in_circles_is_cut_off(tmp_path: Path) -> None:
    with scripted_llm(PLAN) as (url, script):
        result = ask(tmp_path, url, QUESTION)
    assert len(script.requests) <= 3
    assert "113.7" in result.answer_markdown


@pytest.mark.parametrize(
    "wrong",
    [
        calls(("calculate_vram", '{"models": 5}')),
        calls(("calculate_vram", '{"models": [{"na')),
        calls(("format_disk", "{}")),
    ],
)
def test_malformed_calls_end_in_an_answer(tmp_path: Path, wrong: dict[str, object]) -> None:
    with scripted_llm(wrong, PLAN, say("No: 30.9 GiB are missing.")) as (url, _):
        result = ask(tmp_path, url, QUESTION)
    assert result.plan is not None
    assert "30.9 GiB" in result.answer_markdown


def test_model_cannot_set_what_only_the_conversation_knows(tmp_path: Path) -> None:
    forged = call("generate_launch_config", target="compose", given={"plan": {"reading": {}, "rig": None}})
    with scripted_llm(forged, say("There is no plan yet.")) as (url, _):
        result = ask(tmp_path, url, "Write me a docker-compose file")
    assert result.artifacts == ()
    assert result.tool_calls[0]["ok"] is False


def test_earlier_turns_are_given_to_the_model(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("No: 30.9 GiB are missing."), say("Yes.")) as (url, script):
        result = ask(tmp_path, url, QUESTION, "and so?")
    roles = [m["role"] for m in script.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert result.answer_markdown == "Yes."


@pytest.mark.parametrize("text", ["Yes, you can.", "Your 96 GB card is large enough.", "It takes 333 GiB."])
def test_a_model_that_would_answer_from_nothing_is_given_the_plan_first(tmp_path: Path, text: str) -> None:
    with scripted_llm(say(text), say(text), say(text)) as (url, script):
        result = ask(tmp_path, url, QUESTION)
    assert "30.9 GiB" in str(script.requests[-1]["messages"])
    assert [c["name"] for c in result.tool_calls] == ["look_up_specs", "calculate_vram"]
    assert "30.9 GiB are missing" in result.answer_markdown
    assert text not in result.answer_markdown
    assert result.llm == "scripted"


def test_a_question_of_another_kind_is_the_models_own(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("No: 30.9 GiB are missing."), say("It rounds more coarsely.")) as (url, _):
        result = ask(tmp_path, url, QUESTION, "And why is it worse?")
    assert result.answer_markdown == "It rounds more coarsely."
    assert result.tool_calls == ()


@pytest.mark.parametrize(
    "vain", [{}, {"models": [{"name": "Qwen3", "size_b": 30}]}, {"gpus": [{"name": "no such card"}]}]
)
def test_a_call_that_came_to_nothing_is_made_again_with_what_was_asked(tmp_path: Path, vain: dict[str, object]) -> None:
    with scripted_llm(call("calculate_vram", **vain), say("No: 30.9 GiB are missing.")) as (url, _):
        result = ask(tmp_path, url, QUESTION)
    assert result.plan is not None
    assert result.answer_markdown.endswith("No: 30.9 GiB are missing.")
    with scripted_llm(call("calculate_vram", **vain)) as (url, _):
        result = ask(tmp_path / "circles", url, QUESTION)
    assert result.plan is not None
    assert "113.7" in result.answer_markdown
