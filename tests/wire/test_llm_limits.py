"""How long a model may write, what becomes of an answer that is cut off, and of calls that can't be read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from scripted_llm import Script, call, calls, say, scripted_llm, think

from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.errors import BadValue
from tools.settings import Settings

ASKED = {"models": [{"name": "Qwen3", "size_b": 30, "copies": 2}], "gpus": [{"memory_gb": 96}]}
PLAN = call("calculate_vram", **ASKED)
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
ANSWER = "No: 30.9 GiB are missing."
BROKEN = calls(("calculate_vram", json.dumps(ASKED)[:-9]))


def ask(folder: Path, *turns: dict[str, Any], tokens: int = 500) -> tuple[TurnResult, Script]:
    async def run(url: str) -> TurnResult:
        settings = Settings(folder, network=False, llm_url=url, llm_model="scripted", llm_max_tokens=tokens)
        async with Assistant.open(settings, rig=None) as assistant:
            async for event in assistant.ask(QUESTION, thread_id="t"):
                if isinstance(event, Finished):
                    return event.result
        raise AssertionError("no result")

    with scripted_llm(*turns) as (url, script):
        return asyncio.run(run(url)), script


def cut(turn: dict[str, Any]) -> dict[str, Any]:
    return {**turn, "finish_reason": "length"}


def test_every_request_has_a_limit(tmp_path: Path) -> None:
    turn, script = ask(tmp_path, PLAN, say(ANSWER), tokens=300)
    assert [request["max_tokens"] for request in script.requests] == [300, 300]
    assert turn.answer_markdown == ANSWER


def test_a_limit_leaves_room_for_the_question(tmp_path: Path) -> None:
    turn, script = ask(tmp_path, PLAN, say(ANSWER), tokens=10**6)
    for request in script.requests:
        assert 1024 <= request["max_tokens"] < 32768 - len(json.dumps(request["tools"])) / 3
    assert turn.answer_markdown == ANSWER


def test_an_endpoint_that_knows_the_limit_by_its_newer_name_gets_that(tmp_path: Path) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    refusal = {"status": 400, "headers": {}, "message": said}
    turn, script = ask(tmp_path, refusal, PLAN, say(ANSWER))
    assert [request.get("max_completion_tokens") for request in script.requests] == [None, 500, 500]
    assert ["max_tokens" in request for request in script.requests] == [True, False, False]
    assert [request["tools"][0]["function"]["strict"] for request in script.requests] == [True] * 3
    assert turn.answer_markdown == ANSWER


@pytest.mark.parametrize("kind", ["says", "thinks", "calls"])
def test_a_server_that_counts_no_tokens_is_stopped(tmp_path: Path, kind: str) -> None:
    words = "and so on " * 20_000
    endless = {
        "says": say(f"{ANSWER} {words}"),
        "thinks": think(words, say("")),
        "calls": calls(("calculate_vram", f'{{"x": "{words}"}}')),
    }
    turn, script = ask(tmp_path, PLAN, endless[kind], tokens=200)
    assert len(script.requests) == 2
    assert len(turn.answer_markdown) < 6000
    assert "30.9 GiB" in turn.answer_markdown
    assert turn.answer_markdown.count("RIGFIT_LLM_MAX_TOKENS = 200") == 1


def test_a_model_that_thinks_until_its_limit_leaves_the_rules_and_one_line(tmp_path: Path) -> None:
    turn, _ = ask(tmp_path, PLAN, cut(think("2 x 57 is 999 GiB, or is it", say(""))))
    assert turn.llm == "embedded"
    assert turn.answer_markdown.count("built-in rules") == 1
    assert "RIGFIT_LLM_MAX_TOKENS = 500" in turn.answer_markdown.splitlines()[0]
    assert "999" not in turn.answer_markdown
    assert "113.7" in turn.answer_markdown


@pytest.mark.parametrize("at", range(1, len(json.dumps(ASKED)), 30))
def test_a_call_that_was_cut_off_is_not_made_up(tmp_path: Path, at: int) -> None:
    turn, _ = ask(tmp_path, cut(calls(("calculate_vram", json.dumps(ASKED)[:at]))), say(ANSWER))
    asked = [made["args"] for made in turn.tool_calls if made["name"] == "calculate_vram"]
    assert len(asked) == 1  # by the rules: it was asked about, and the model did not get to it
    assert asked[0]["gpus"][0]["memory_gb"] == 96
    assert turn.answer_markdown == ANSWER


def test_a_call_with_broken_arguments_is_asked_for_once_more_with_the_reason(tmp_path: Path) -> None:
    turn, script = ask(tmp_path, BROKEN, PLAN, say(ANSWER))
    assert turn.answer_markdown == ANSWER
    assert [made["name"] for made in turn.tool_calls] == ["calculate_vram"]
    first, again, last = (request["messages"] for request in script.requests)
    assert again[: len(first)] == first
    assert [message["role"] for message in again[len(first) :]] == ["assistant", "user"]
    assert "Unterminated string" in again[-1]["content"]
    assert "Unterminated" not in str(last)


@pytest.mark.parametrize("broken", [BROKEN, say('<tool_call>{"name": "calculate_vram", "argu</tool_call>')])
def test_broken_arguments_are_asked_about_once_only(tmp_path: Path, broken: dict[str, Any]) -> None:
    turn, script = ask(tmp_path, broken)
    assert len(script.requests) == 2
    assert turn.llm == "embedded"
    assert turn.answer_markdown.count("built-in rules") == 1
    assert "113.7" in turn.answer_markdown


def test_arguments_of_the_wrong_kind_are_told_to_the_model(tmp_path: Path) -> None:
    turn, script = ask(tmp_path, calls(("calculate_vram", '{"models": 5}')), PLAN, say(ANSWER))
    told = next(message for message in script.requests[1]["messages"] if message["role"] == "tool")
    assert "models" in told["content"]
    assert turn.answer_markdown.endswith(ANSWER)


def test_a_model_that_always_wants_something_else_is_bounded(tmp_path: Path) -> None:
    looks = [call("look_up_specs", models=[{"name": f"Qwen3-{size}B"}]) for size in range(1, 40)]
    turn, script = ask(tmp_path, *looks)
    assert len(script.requests) <= 5
    assert "too many steps" in turn.answer_markdown
    assert "113.7" in turn.answer_markdown


def test_a_model_that_calls_in_thousands_is_bounded(tmp_path: Path) -> None:
    many = [("look_up_specs", json.dumps({"models": [{"name": f"Qwen3-{size}B"}]})) for size in range(300)]
    turn, _ = ask(tmp_path, calls(*many), PLAN, say(ANSWER), tokens=5000)
    assert len(turn.tool_calls) <= 7
    assert "30.9 GiB" in turn.answer_markdown


def test_the_limit_comes_from_the_environment() -> None:
    assert Settings.from_env({"RIGFIT_LLM_MAX_TOKENS": "4096"}).llm_max_tokens == 4096
    assert Settings.from_env({}).llm_max_tokens == Settings(Path()).llm_max_tokens


@pytest.mark.parametrize("said", ["many", "-1", "0", "12", "1.5", "٣٠٠٠", "9" * 5000, "2000000"])
def test_a_limit_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(BadValue) as raised:
        Settings.from_env({"RIGFIT_LLM_MAX_TOKENS": said})
    assert raised.value.params["name"] == "RIGFIT_LLM_MAX_TOKENS"
