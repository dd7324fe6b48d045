"""An answer is put together from pieces of any size; one that breaks off anywhere holds no call that was not made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk

from agent.decide.heard import hear
from agent.decide.stream import gathered

CALLS = (
    ("calculate_vram", {"models": [{"name": "Qwen3", "size_b": 30}], "gpus": [{"memory_gb": 96}], "users": 12}),
    ("look_up_specs", {"gpus": [{"name": "RTX 4090"}]}),
)
TEXT = "No: 30.9 GiB are missing."


def piece(**more: Any) -> AIMessageChunk:
    return AIMessageChunk(content=more.pop("content", ""), **more)


def pieces(cuts: list[int]) -> list[AIMessageChunk]:
    """Stream the text, then the calls in pieces between the cuts, then the end."""
    found = [piece(content=TEXT[:9]), piece(content=TEXT[9:])]
    for index, (name, arguments) in enumerate(CALLS):
        found.append(piece(tool_call_chunks=[{"name": name, "args": "", "id": f"c{index}", "index": index}]))
        written = json.dumps(arguments)
        at = sorted({0, len(written), *(cut for cut in cuts if cut < len(written))})
        for start, end in pairwise(at):
            part: Any = {"name": None, "args": written[start:end], "id": None, "index": index}
            found.append(piece(tool_call_chunks=[part]))
    return [*found, piece(response_metadata={"finish_reason": "tool_calls"})]


async def streamed(found: list[AIMessageChunk]) -> AsyncIterator[AIMessageChunk]:
    for one in found:
        yield one


def whole(found: list[AIMessageChunk], tokens: int = 4000) -> AIMessage:
    return asyncio.run(gathered(streamed(found), tokens))


@given(st.lists(st.integers(1, 90), max_size=90))
def test_pieces_of_any_size_make_the_same_answer(cuts: list[int]):
    message = whole(pieces(cuts))
    assert [(call["name"], call["args"]) for call in message.tool_calls] == list(CALLS)
    assert message.invalid_tool_calls == []
    assert message.text == TEXT
    assert message.response_metadata == {"finish_reason": "tool_calls"}


@given(st.lists(st.integers(1, 90), max_size=90), st.integers(0, 190))
def test_an_answer_that_breaks_off_holds_only_calls_that_were_whole(cuts: list[int], end: int):
    found = pieces(cuts)[:-1][:end]
    message = whole(found)
    made = [(call["name"], call["args"]) for call in message.tool_calls]
    assert made == list(CALLS)[: len(made)]
    assert not message.response_metadata.get("finish_reason")
    assert TEXT.startswith(message.text)


@given(st.text(max_size=300), st.sampled_from(["stop", "length", "tool_calls"]))
def test_any_text_can_be_heard(text: str, reason: str):
    heard = hear(AIMessage(text, response_metadata={"finish_reason": reason}), frozenset({"calculate_vram"}))
    assert len(heard.words) <= len(text)
    assert heard.is_cut == (reason == "length")


@given(st.text(max_size=300))
def test_thinking_is_never_heard(thought: str):
    said = f"<think>{thought}</think>\n\n{TEXT}"
    assert hear(AIMessage(said, response_metadata={"finish_reason": "stop"}), frozenset()).words == TEXT


def test_a_deeply_nested_call_is_wrong_and_no_fault():
    part: Any = {"name": "calculate_vram", "args": '{"a":' * 9000, "id": "c", "index": 0}
    message = whole([piece(tool_call_chunks=[part]), piece(response_metadata={"finish_reason": "tool_calls"})])
    assert message.tool_calls == []
    heard = hear(message, frozenset({"calculate_vram"}))
    assert heard.wrong is not None
    assert heard.words == ""
