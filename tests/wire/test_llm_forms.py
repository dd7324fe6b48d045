"""Servers that take no tools, contexts that are too small, and calls that come in pieces or several at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from scripted_llm import call, calls, say, scripted_llm, think

from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings

ASKED = {"models": [{"name": "Qwen3", "size_b": 30, "copies": 2}], "gpus": [{"memory_gb": 96}]}
PLAN = call("calculate_vram", **ASKED)
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
ANSWER = "No: 30.9 GiB are missing."


def refuse(message: str, status: int = 400) -> dict[str, Any]:
    return {"status": status, "headers": {}, "message": message}


def ask(folder: Path, url: str, *questions: str) -> list[TurnResult]:
    async def run() -> list[TurnResult]:
        settings = Settings(data_dir=folder, network=False, llm_url=url, llm_model="scripted")
        async with Assistant.open(settings, rig=None) as assistant:
            return [
                event.result
                for question in questions
                async for event in assistant.ask(question, thread_id="t")
                if isinstance(event, Finished)
            ]

    return asyncio.run(run())


def test_a_server_without_tools_chooses_by_structured_output_and_that_is_remembered(tmp_path: Path) -> None:
    no_tools = refuse('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    first = (say('{"next": "calculate_vram"}'), say(json.dumps(ASKED)), say('{"next": "answer"}'), say(ANSWER))
    later = (say('{"next": "answer"}'), say("It rounds more coarsely."))
    with scripted_llm(no_tools, no_tools, *first, *later) as (url, script):
        turns = ask(tmp_path, url, QUESTION, "And why is it worse?")
    assert turns[0].answer_markdown == ANSWER
    assert turns[0].llm == "scripted"
    assert [made["name"] for made in turns[0].tool_calls] == ["calculate_vram"]
    assert turns[1].answer_markdown == "It rounds more coarsely."
    assert [bool(request.get("tools")) for request in script.requests] == [True, True, *[False] * 6]
    chosen = script.requests[2]["response_format"]["json_schema"]["schema"]["properties"]["next"]["enum"]
    assert {"calculate_vram", "answer"} <= set(chosen)
    assert "gpus" in script.requests[3]["response_format"]["json_schema"]["schema"]["properties"]
    assert "tool" not in {message["role"] for request in script.requests for message in request["messages"]}


def test_a_server_that_takes_no_strict_schema_is_given_it_without(tmp_path: Path) -> None:
    with scripted_llm(refuse("Invalid schema for function"), PLAN, say(ANSWER)) as (url, script):
        (turn,) = ask(tmp_path, url, QUESTION)
    assert turn.answer_markdown == ANSWER
    assert [request["tools"][0]["function"].get("strict") for request in script.requests] == [True, None, None]


def test_structured_output_that_is_none_leaves_the_rules(tmp_path: Path) -> None:
    no_tools = refuse("tools are not supported")
    with scripted_llm(no_tools, no_tools, say("I would rather chat.")) as (url, script):
        (turn,) = ask(tmp_path, url, QUESTION)
    assert len(script.requests) == 3
    assert "113.7" in turn.answer_markdown
    assert turn.llm == "embedded"


def test_a_shorter_context_than_thought_is_learnt_from_the_refusal(tmp_path: Path) -> None:
    too_long = refuse("This model's maximum context length is 8192 tokens. However, your prompt has 9000 input tokens")
    with scripted_llm(PLAN, say(f"{ANSWER} {'So it is. ' * 900}"), too_long, say("Yes.")) as (url, script):
        turns = ask(tmp_path, url, QUESTION, "and why?")
    assert turns[1].answer_markdown == "Yes."
    assert len(str(script.requests[-1]["messages"])) <= len(str(script.requests[-2]["messages"]))
    assert script.requests[-1]["tools"] == script.requests[-2]["tools"]


def test_a_context_too_small_is_said_in_one_line(tmp_path: Path) -> None:
    with scripted_llm(refuse("This model's maximum context length is 1024 tokens.")) as (url, script):
        (turn,) = ask(tmp_path, url, QUESTION)
    assert len(script.requests) == 1
    assert "context is too small" in turn.answer_markdown.splitlines()[0]
    assert turn.answer_markdown.count("built-in rules") == 1
    assert "113.7" in turn.answer_markdown


def test_a_plan_and_the_tools_fit_in_a_context_of_8192_tokens(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say(ANSWER)) as (url, script):
        ask(tmp_path, url, QUESTION)
    assert max(len(json.dumps(request, ensure_ascii=False)) for request in script.requests) < 7168 * 2.5


def test_files_wait_for_the_plan_that_is_asked_for_beside_them(tmp_path: Path) -> None:
    both = calls(("calculate_vram", json.dumps(ASKED)), ("generate_launch_config", '{"target": "compose"}'))
    files = call("generate_launch_config", target="compose")
    with scripted_llm(both, files, say("The files are written.")) as (url, _):
        (turn,) = ask(tmp_path, url, f"{QUESTION} Write a docker compose for it.")
    assert [(made["name"], made["ok"]) for made in turn.tool_calls] == [
        ("calculate_vram", True),
        ("generate_launch_config", True),
    ]
    assert turn.artifacts


def test_parallel_calls_are_made_once_each(tmp_path: Path) -> None:
    look = ("look_up_specs", '{"models": [{"name": "Qwen3", "size_b": 30}]}')
    with scripted_llm(calls(look, look, ("calculate_vram", json.dumps(ASKED))), say(ANSWER)) as (url, script):
        (turn,) = ask(tmp_path, url, QUESTION)
    assert sorted(made["name"] for made in turn.tool_calls) == ["calculate_vram", "look_up_specs"]
    assert [message["role"] for message in script.requests[1]["messages"]].count("tool") == 2
    assert turn.answer_markdown == ANSWER


def test_a_call_left_in_the_text_is_made_and_one_cut_off_is_not_shown(tmp_path: Path) -> None:
    whole = json.dumps({"name": "calculate_vram", "arguments": ASKED})
    with scripted_llm(say(f"<tool_call>{whole}</tool_call>"), say(ANSWER)) as (url, _):
        (turn,) = ask(tmp_path, url, QUESTION)
    assert turn.answer_markdown == ANSWER
    cut = {**say(f"{ANSWER} And th<tool_call>{whole[:60]}"), "finish_reason": "length"}
    with scripted_llm(PLAN, cut) as (url, _):
        (turn,) = ask(tmp_path / "cut", url, QUESTION)
    assert turn.answer_markdown.startswith(f"{ANSWER}\n\n")
    assert "only its whole sentences" in turn.answer_markdown.splitlines()[-1]


def test_thinking_in_the_older_field_stays_out(tmp_path: Path) -> None:
    older = {**think("2 x 57 is 999 GiB", say(ANSWER)), "thinks_in": "reasoning_content"}
    with scripted_llm(PLAN, older) as (url, _):
        (turn,) = ask(tmp_path, url, QUESTION)
    assert turn.answer_markdown == ANSWER
