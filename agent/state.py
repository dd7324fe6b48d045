"""What the graph carries: plain data and LangChain messages only, so a stored thread needs no code to load."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.graph.message import add_messages

KEPT_TURNS = 40
"""Turns of a thread that are read together; older ones stay in the history only."""
COUNT = "how_many_gpus"
"""The question of a calculation that counts cards."""
TOOL_FAILED = "errors_agent.tool_failed"
"""Code of a tool that broke, whatever it raised."""


class TurnRecord(TypedDict):
    """One finished turn, for a reload: what was said, shown and made."""

    user: str
    answer: str
    language: str
    steps: list[dict[str, Any]]
    plan: dict[str, Any] | None
    files: list[str]
    figures: NotRequired[dict[str, Any]]
    suggestions: NotRequired[list[str]]


class State(TypedDict, total=False):
    """The graph's state.

    Attributes:
        messages: the conversation as LangChain messages; tool results carry an artifact during their turn only.
        turns: the asker's own words, oldest first; what ``read`` reads.
        records: finished turns, for a reload.
        language_hint: language of the page, used where a turn's own language can't be told.
        panel_rig: hardware set in the page's panel, as ``rig_json``.
        known_rig: hardware remembered, given at the start, or accepted when offered, as ``rig_json``.
        offered_rig: this machine's hardware, offered to the asker, as ``rig_json``.
        recalled: which remembered hardware this turn is about (``rig``, its name; ``why``; ``others``) and the
            preferences it was read with (``preferred``, notes).
        reading: what was understood, as ``reading_json``.
        plan: arguments and JSON of the thread's last plan.
        draft: a model's text as it was shown, and how its figures were found; None where the templates write.
        result: what the last turn comes to, for its events.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    turns: list[str]
    records: list[TurnRecord]
    language_hint: str
    panel_rig: dict[str, Any] | None
    known_rig: dict[str, Any] | None
    offered_rig: dict[str, Any] | None
    recalled: dict[str, Any] | None
    reading: dict[str, Any]
    plan: dict[str, Any] | None
    draft: dict[str, Any] | None
    result: dict[str, Any]


def this_turn(state: State) -> list[AnyMessage]:
    """Return the messages since the asker's last one, that one excluded."""
    messages = state.get("messages", [])
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], HumanMessage):
            return messages[index + 1 :]
    return list(messages)


def shown_before(state: State) -> str:
    """Return what the asker has already seen in this turn of texts that a model wrote before it called tools."""
    said = (m.additional_kwargs.get("shown") for m in this_turn(state) if isinstance(m, AIMessage))
    return "\n\n".join(str(part) for part in said if part)


def tool_results(state: State) -> list[ToolMessage]:
    """Return this turn's tool results, in order."""
    return [m for m in this_turn(state) if isinstance(m, ToolMessage)]


def tool_calls(state: State) -> list[Any]:
    """Return this turn's tool calls, in order."""
    return [call for m in this_turn(state) if isinstance(m, AIMessage) for call in m.tool_calls]


def artifact(state: State, tool: str) -> dict[str, Any] | None:
    """Return the newest successful artifact of a tool in this turn, of calculations the newest that made a plan.

    What was only counted beside a comparison is none of them.
    """
    done = [m.artifact for m in reversed(tool_results(state)) if m.name == tool and m.status == "success"]
    beside = counted(state) if tool == "calculate_vram" else []
    found = [one for one in done if isinstance(one, dict) and not any(one is other for other in beside)]
    return next((one for one in found if one.get("plan")), found[0] if found else None)


def counted(state: State) -> list[dict[str, Any]]:
    """Return this turn's counts of the cards it takes, which were made because no set-up of a comparison fits."""
    done = [m.artifact for m in tool_results(state) if m.name == "calculate_vram" and m.status == "success"]
    made = [one for one in done if isinstance(one, dict)]
    first = next((i for i, one in enumerate(made) if one.get("compared")), len(made))
    return [one for one in made[first + 1 :] if one.get("question") == COUNT]


def failures(state: State) -> list[dict[str, Any]]:
    """Return this turn's tool errors as ``{tool, code, params, args}``."""
    found: list[dict[str, Any]] = []
    for message in tool_results(state):
        if message.status == "error" and isinstance(message.artifact, dict):
            found.append({"tool": message.name, **message.artifact})
    return found
