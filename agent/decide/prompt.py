"""What a language model is given to read: no more than its context holds, the newest first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage

from agent.logs import without_log
from agent.rigs import current_rig
from agent.state import State, this_turn
from prompts import text
from tools.errors import ModelUnavailable

HISTORY = 12
"""Earlier messages (questions and answers) a model is given."""
EARLIER_BYTES = 2000
"""Longest earlier message; an answer's first lines hold its verdict."""
QUESTION_BYTES = 8000
"""Longest question."""
BYTES_PER_TOKEN = 2.5
"""Tokenizers of today's models make a token of 2.5 to 4 bytes of JSON with figures, and of 3 to 4 of Russian words."""
_LANGUAGES = {"en": "English", "ru": "Russian"}


def prompt_of(state: State, tokens: int) -> list[AnyMessage]:
    """Give the rules of the house, the reading as a hint, earlier questions and answers, and this turn so far.

    Args:
        state: the conversation.
        tokens: how much there is room for; what was said earlier is left out first, then results that are not the last.

    Raises:
        ModelUnavailable: the question and what was computed for it alone are more.
    """
    turn = this_turn(state)
    before = state.get("messages", [])[: len(state.get("messages", [])) - len(turn)]
    *earlier, question = [_shortened(m) for m in _spoken(before)[-HISTORY:]] or [HumanMessage("")]
    now = [SystemMessage(_house(state)), _clipped(question, QUESTION_BYTES), *_complete(turn)]
    if size(now) > tokens:
        now = _without_earlier_results(now)
    if size(now) > tokens:
        raise ModelUnavailable("errors_agent.llm_context", tokens=max(tokens, 0))
    kept = [_clipped(m, EARLIER_BYTES) for m in earlier]
    while kept and size([*now, *kept]) > tokens:
        del kept[0]
    return [now[0], *kept, *now[1:]]


def size(messages: Iterable[AnyMessage]) -> int:
    """Estimate how many tokens messages are."""
    return round(sum(weight(m.text) + weight(_written_calls(m)) + 8 for m in messages))


def weight(words: str) -> float:
    """Estimate how many tokens a text is."""
    return len(words.encode()) / BYTES_PER_TOKEN


def _written_calls(message: AnyMessage) -> str:
    return json.dumps([c["args"] for c in message.tool_calls]) if isinstance(message, AIMessage) else ""


def _house(state: State) -> str:
    template = (resources.files("prompts") / "llm" / "system.md").read_text(encoding="utf-8")
    reading, rig = state.get("reading", {}), current_rig(state)
    said = {k: v for k, v in reading.items() if v not in (None, [], {}, False, "")}
    return template.format(
        language=_LANGUAGES.get(reading.get("language", "en"), "English"),
        reading=_cut(json.dumps(said, ensure_ascii=False, separators=(",", ":"), default=str), EARLIER_BYTES),
        rig=json.dumps([g.get("name") for g in rig.get("gpus", [])][:16]) if rig else "none",
    )


def _spoken(messages: Iterable[AnyMessage]) -> list[AnyMessage]:
    """Keep questions and answers; the tool calls of earlier turns are done with."""
    return [
        m for m in messages if isinstance(m, HumanMessage) or (isinstance(m, AIMessage) and m.text and not m.tool_calls)
    ]


def _shortened(message: AnyMessage) -> AnyMessage:
    """Leave a pasted log out of a question: a tool reads it; and leave out what a file says was answered."""
    if isinstance(message, AIMessage) and message.additional_kwargs.get("imported"):
        return AIMessage(text("en", "transcripts.left_out"))
    return HumanMessage(without_log(message.text)) if isinstance(message, HumanMessage) else message


def _clipped(message: AnyMessage, limit: int) -> AnyMessage:
    cut = _cut(message.text, limit)
    return message if cut == message.text else message.model_copy(update={"content": cut})


def _cut(text: str, limit: int) -> str:
    data = text.encode()
    return text if len(data) <= limit else data[:limit].decode(errors="ignore") + " …"


def _complete(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Drop calls without results: endpoints refuse them, and a turn cut off half-way leaves some."""
    done = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    kept: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            kept.append(ToolMessage(content=message.text, tool_call_id=message.tool_call_id, name=message.name))
        elif isinstance(message, AIMessage) and message.tool_calls and all(c["id"] in done for c in message.tool_calls):
            kept.append(AIMessage(content="", tool_calls=message.tool_calls))
    return kept


def _without_earlier_results(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Leave out what earlier calls came to; the last one is the plan, or answers what was asked last."""
    results = [m for m in messages if isinstance(m, ToolMessage)]
    return [
        m.model_copy(update={"content": "(left out: too long)"}) if any(m is r for r in results[:-1]) else m
        for m in messages
    ]
