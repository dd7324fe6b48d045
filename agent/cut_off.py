"""Answers that were cut off: by the asker, by a failure, or by the end of the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from agent.state import State, this_turn
from agent.transcripts.thread import now
from prompts import text as say


async def question_cut_off(graph: Any, saver: BaseCheckpointSaver[Any], config: Any) -> str | None:
    """Return the question whose answer was cut off when the process died, None where none was.

    Args:
        graph: the compiled graph.
        saver: where its threads are kept.
        config: names the thread.
    """
    state = await graph.aget_state(config)
    if not state.next:
        return None
    kept = await saver.aget_tuple(config)
    begun = kept.checkpoint["channel_values"].get("__start__") if kept else None
    messages = begun["messages"] if isinstance(begun, dict) else state.values.get("messages", [])
    return next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), None)


def stopped(values: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the change of a thread's state that closes a turn which was stopped or failed.

    What it came to by then is dropped, so that the next turn finds a whole conversation.

    Args:
        values: the thread's stored state, without what the step that was broken off had written.
        text: the question, which may not be in it yet.
    """
    language = values.get("reading", {}).get("language") or values.get("language_hint", "en")
    said = say(language, "errors_agent.stopped")
    turn = values.get("messages", [])[-1 - len(this_turn(cast(State, values))) :]
    is_in = bool(turn) and isinstance(turn[0], HumanMessage) and turn[0].text == text
    gone = [RemoveMessage(m.id) for m in turn[1:] if is_in and m.id]
    asked = [] if is_in else [HumanMessage(text, additional_kwargs={"at": now()})]
    record = {"user": text, "answer": said, "language": language, "steps": [], "plan": None, "files": []}
    return {"messages": [*gone, *asked, AIMessage(said)], "records": [*values.get("records", []), record]}
