"""Streams of a real vLLM with its parsers for Qwen3: what is thought stays out, calls are whole, and a connection that
dies after any event leaves an honest answer.

``tests/vllm/record_streams.py`` recorded them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from replayed_llm import Replay, Replayed, events, recorded, replayed_llm

from agent.decide.endpoint import Endpoint
from agent.events import AnswerText, Finished, TurnResult
from agent.session import Assistant
from tools.errors import ModelUnavailable
from tools.settings import Settings

QUESTION, WHY = "Will two Qwen3-30B fit on my 96 GB card?", "And why is it worse?"
RUSSIAN = "Влезет ли Qwen3-8B на RTX 4090?"
ANSWER, ANSWER_RU = "No: 30.9 GiB are missing. FP8 for both fits.", "Да: веса занимают 15.3 GiB."
THOUGHTS = ("999", "Two copies and one card", "Одна модель", "Теперь", "and on and on", "<think", "<tool_call")
Ask = Callable[..., Awaitable[TurnResult]]


def talk(folder: Path, conversation: Callable[[Ask, Replay], Awaitable[None]]) -> None:
    """Hold a conversation with an assistant whose model is replayed."""

    async def run(url: str, replay: Replay) -> None:
        async with Assistant.open(Settings(folder, network=False, llm_url=url, llm_model="qwen3"), rig=None) as one:

            async def ask(question: str, thread: str = "t") -> TurnResult:
                shown, result = "", None
                async for event in one.ask(question, thread_id=thread):
                    shown += event.markdown_chunk if isinstance(event, AnswerText) else ""
                    result = event.result if isinstance(event, Finished) else result
                assert result is not None
                assert shown == result.answer_markdown
                assert not [thought for thought in THOUGHTS if thought in shown]
                return result

            await conversation(ask, replay)

    with replayed_llm() as (url, replay):
        asyncio.run(run(url, replay))


def deltas(name: str, what: str) -> list[object]:
    """Return one field of all pieces of a recorded stream that have it."""
    pieces = [json.loads(event[6:]) for event in events(recorded(name)) if b"[DONE]" not in event]
    return [choice["delta"][what] for piece in pieces for choice in piece["choices"] if choice["delta"].get(what)]


def test_the_recordings_hold_thoughts_and_calls_in_pieces():
    assert len(deltas("two_calls", "reasoning")) > 10
    calls = [call for piece in deltas("two_calls", "tool_calls") for call in piece]  # pyright: ignore
    assert [call["function"]["name"] for call in calls if call.get("id")] == ["look_up_specs", "calculate_vram"]
    assert len(calls) > 20
    assert deltas("cut_in_thought", "content") == []
    for name, reason in (("two_calls", b"tool_calls"), ("answer", b"stop"), ("cut_in_call", b"length")):
        assert recorded(name).count(b'"finish_reason":"%s"' % reason) == 1


def test_a_conversation_as_it_was_recorded(tmp_path: Path):
    async def conversation(ask: Ask, replay: Replay) -> None:
        replay.begin(*map(recorded, ("two_calls", "answer", "later", "call", "answer_ru")))
        first, second = await ask(QUESTION), await ask(WHY)
        assert [made["name"] for made in first.tool_calls] == ["look_up_specs", "calculate_vram"]
        assert first.tool_calls[1]["args"]["gpus"] == [{"memory_gb": 96}]
        assert (first.answer_markdown, first.llm, first.grounded) == (ANSWER, "qwen3", True)
        assert (second.answer_markdown, second.llm) == ("It rounds more coarsely.", "qwen3")
        third = await ask(RUSSIAN, "ru")
        assert (third.answer_markdown, third.llm, third.grounded) == (ANSWER_RU, "qwen3", True)

    talk(tmp_path, conversation)


@pytest.mark.parametrize("name", ["two_calls", "answer"])
def test_a_connection_that_dies_after_any_event_is_noticed(tmp_path: Path, name: str):
    whole = events(recorded(name))

    async def run(url: str, replay: Replay) -> None:
        endpoint = Endpoint(Settings(tmp_path, llm_url=url, llm_model="qwen3"), [])
        for at in range(len(whole) - 2):
            heard: list[str] = []
            replay.begin(broken_off(whole, at))
            with pytest.raises(ModelUnavailable, match=r"llm_(broke_off|unreadable|unreachable)"):
                await endpoint.ask(lambda _: [HumanMessage(QUESTION)], waiting=lambda: None, said=heard.append)
            assert ANSWER.startswith("".join(heard).strip())

    with replayed_llm() as (url, replay):
        asyncio.run(run(url, replay))


def test_a_connection_that_dies_leaves_an_honest_answer(tmp_path: Path):
    calls, answer = events(recorded("two_calls")), events(recorded("answer"))
    cuts = [[broken_off(calls, at)] for at in range(0, len(calls) - 2, 9)]
    cuts += [[Replayed(recorded("two_calls")), broken_off(answer, at)] for at in range(0, len(answer) - 2, 5)]

    async def conversation(ask: Ask, replay: Replay) -> None:
        for number, streams in enumerate(cuts):
            replay.begin(*streams)
            turn = await ask(QUESTION, str(number))
            assert turn.llm == "embedded", number
            assert turn.answer_markdown.count("built-in rules") == 1
            assert "113.7" in turn.answer_markdown
            made = [call["args"] for call in turn.tool_calls if call["name"] == "calculate_vram"]
            assert [call["gpus"][0]["memory_gb"] for call in made] == [96]
            assert replay.asked == len(streams)

    talk(tmp_path, conversation)


def broken_off(whole: list[bytes], at: int) -> Replayed:
    """Break a stream off after an event, as if it were its end, or within the next one, as a dying process does."""
    data = b"".join(whole[:at])
    return Replayed(data) if at % 2 else Replayed(data + whole[at][: 3 * at], ends=False)


def test_an_answer_whose_end_alone_is_missing_is_whole(tmp_path: Path):
    async def conversation(ask: Ask, replay: Replay) -> None:
        for number, kept in enumerate((-1, None)):
            replay.begin(recorded("two_calls"), b"".join(events(recorded("answer"))[:kept]))
            assert (await ask(QUESTION, str(number))).answer_markdown == ANSWER

    talk(tmp_path, conversation)


@pytest.mark.parametrize("name", ["cut_in_call", "cut_in_thought"])
def test_what_reached_its_limit_is_no_call_and_no_answer(tmp_path: Path, name: str):
    async def conversation(ask: Ask, replay: Replay) -> None:
        replay.begin(recorded(name), recorded("answer"), recorded("answer"))
        turn = await ask(QUESTION)
        made = [call["args"]["gpus"][0]["memory_gb"] for call in turn.tool_calls if call["name"] == "calculate_vram"]
        assert made == [96]
        assert turn.plan is not None
        assert "30.9 GiB" in turn.answer_markdown

    talk(tmp_path, conversation)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}',
        b'data: {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "Yes',
        b'data: {"choices": [{"index": 0, "delta": 5}]}',
        b"data: \xff\xfe",
        b"data: [1, 2]",
    ],
)
def test_an_event_that_is_no_piece_of_an_answer_leaves_an_honest_answer(tmp_path: Path, event: bytes):
    whole = events(recorded("call"))

    async def conversation(ask: Ask, replay: Replay) -> None:
        replay.begin(b"".join([*whole[:20], event + b"\n\n", *whole[20:]]), recorded("answer_ru"))
        turn = await ask(RUSSIAN)
        assert turn.plan is not None
        assert "GiB" in turn.answer_markdown
        assert "Yes" not in turn.answer_markdown

    talk(tmp_path, conversation)
