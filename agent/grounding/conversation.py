"""Collects what a conversation may state: its tool results, its hardware and the asker's own words."""

from __future__ import annotations

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage

from agent.grounding.facts import Fact, Facts
from agent.grounding.words import tokens_of
from agent.state import State

_SAID = {"bytes": "said_memory", "tokens": "context", "requests": "requests"}


def facts_of(state: State, *, whole: bool = True) -> Facts:
    """Collect what this conversation may state: tool results and the asker's own words.

    Args:
        state: the conversation.
        whole: with the results' data and the web's words, which the templates print and cite; a model may state only
            what the other tools told it.
    """
    facts = Facts()
    turns = _turns(state.get("messages", []))
    present = max((turn for turn, m in turns if isinstance(m, ToolMessage) and _computes(m)), default=0)
    for key in ("panel_rig", "known_rig"):
        facts.add_data(state.get(key) or {})
    for turn, message in sorted(turns, key=lambda one: -one[0]):
        if isinstance(message, ToolMessage) and (whole or message.name != "search_web"):
            old = turn < present and message.name != "look_up_specs"
            if message.artifact and whole:
                facts.add_data(message.artifact, old=old)
            facts.add_result(message.text, old=old)
    _add_said(facts, [(turn, message.text) for turn, message in turns if isinstance(message, HumanMessage)])
    return facts


def _turns(messages: list[AnyMessage]) -> list[tuple[int, AnyMessage]]:
    turn, found = 0, list[tuple[int, AnyMessage]]()
    for message in messages:
        turn += isinstance(message, HumanMessage)
        found.append((turn, message))
    return found


def _computes(message: ToolMessage) -> bool:
    return message.name in {"calculate_vram", "read_engine_log"} and message.status == "success"


def _add_said(facts: Facts, said: list[tuple[int, str]]) -> None:
    """Learn the asker's words: of each kind of figure the last message that has one speaks of the present."""
    seen: set[str] = set()
    for _, text in reversed(said):
        _, found = facts.names.marks(text, tokens_of(text))
        for figure in found:
            for value in figure.values:
                old = figure.kind in seen
                facts.add(Fact(figure.kind, value, quantity=_SAID.get(figure.kind), old=old))
        seen |= {figure.kind for figure in found}
