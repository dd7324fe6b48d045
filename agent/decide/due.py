"""What the rules would do next in a turn that a model has begun: its calls that came to nothing do not count."""

from __future__ import annotations

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from agent.decide.rules import RulesDecider
from agent.state import State, this_turn

BY_RULES = "by_rules"
"""Marks a message whose calls are the rules'."""
_PLANS, _LOOKS = "calculate_vram", "look_up_specs"
_COMPUTED = ("rough", "picks", "sizes", "needs", "ladder", "largest", "cards", "side", "compared")
"""Parts of ``tools.tool_results.calculation`` that answer something without a plan."""


async def due(rules: RulesDecider, state: State) -> AIMessage:
    """Return the rules' next message.

    A model may have asked for a plan with less than the asker said, or looked up what the asker never named.
    """
    return await rules(without_vain(state))


def without_vain(state: State) -> State:
    """Leave out a model's own look-ups and calculations of this turn that failed or came to nothing."""
    turn = this_turn(state)
    written = [m for m in turn if isinstance(m, AIMessage) and not m.additional_kwargs.get(BY_RULES)]
    own = {call["id"] for m in written for call in m.tool_calls}
    vain = {m.tool_call_id for m in turn if isinstance(m, ToolMessage) and m.tool_call_id in own and _is_vain(m)}
    if not vain:
        return state
    messages = state.get("messages", [])
    kept = [_less(m, vain) for m in turn if not (isinstance(m, ToolMessage) and m.tool_call_id in vain)]
    return {**state, "messages": [*messages[: len(messages) - len(turn)], *kept]}


def _is_vain(result: ToolMessage) -> bool:
    """Whether a call failed, or asks back instead of planning."""
    if result.name not in {_PLANS, _LOOKS}:
        return False
    found = result.artifact
    if result.status == "error" or not isinstance(found, dict):
        return True
    answers = not found.get("asks") and any(found.get(part) for part in _COMPUTED)
    return result.name == _PLANS and not found.get("plan") and not answers


def _less(message: AnyMessage, vain: set[str]) -> AnyMessage:
    if not isinstance(message, AIMessage):
        return message
    return message.model_copy(update={"tool_calls": [c for c in message.tool_calls if c["id"] not in vain]})
