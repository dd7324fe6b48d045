"""Puts an answer together from its stream: no longer than was allowed, and with only those calls that are whole.

langchain-core mends the arguments of a call that broke off (``parse_partial_json``): 96 cut after its first digit would
be 9. Here such a call is none, and what is wrong with it is kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk

from agent.decide.forms import call_id, object_in

_MORE_PIECES = 64
"""Pieces that hold no token of an answer: its role, the heads of its calls, its end."""
_TOKEN_CHARS = 64
"""Longer tokens are rare: 128 characters for a run of blanks in cl100k_base, a word or less otherwise."""


async def gathered(stream: AsyncIterator[Any], tokens: int, said: Callable[[str], None] | None = None) -> AIMessage:
    """Return the whole of an answer.

    Args:
        stream: its pieces, as langchain-openai yields them.
        tokens: how long it may be; one that goes on after that, on a server that counts none, is broken off here.
        said: hears each piece of its text as it comes.

    Returns:
        A message whose ``tool_calls`` are whole and whose ``invalid_tool_calls`` say what is wrong with them; its
        ``finish_reason`` is None where the connection ended before the answer did.
    """
    pieces: list[AIMessageChunk] = []
    chars = 0
    async for piece in stream:
        pieces.append(piece)
        if said and piece.text:
            said(piece.text)
        chars += len(piece.text) + sum(len(part["args"] or "") for part in piece.tool_call_chunks)
        if len(pieces) > tokens + _MORE_PIECES or chars > tokens * _TOKEN_CHARS:
            pieces.append(AIMessageChunk(content="", response_metadata={"finish_reason": "length"}))
            break
    if not pieces:
        return AIMessage(content="")
    whole = pieces[0] + pieces[1:]
    return _read(whole)


def _read(whole: Any) -> AIMessage:
    """Read the calls of an answer, each strictly."""
    calls: list[Any] = []
    wrong: list[Any] = []
    reason = whole.response_metadata.get("finish_reason")
    none = "" if reason in {None, "length"} else "{}"  # a call may need no arguments, or they are still to come
    for part in whole.tool_call_chunks:
        known = {"name": part["name"] or "", "id": part["id"] or call_id()}
        arguments, error = object_in(part["args"] or none)
        if arguments is None:
            wrong.append({**known, "args": part["args"], "error": error, "type": "invalid_tool_call"})
        else:
            calls.append({**known, "args": arguments, "type": "tool_call"})
    return AIMessage(
        content=whole.text,
        tool_calls=calls,
        invalid_tool_calls=wrong,
        response_metadata={"finish_reason": reason} if reason else {},
    )
