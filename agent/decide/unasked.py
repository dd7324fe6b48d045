"""What a model may call: text of strangers calls nothing, however well a model obeys it.

As long as a model has read the asker's words and computed results only, it chooses. Once a page, a search hit or a log
was read in a turn, its calls are those that the rules make of the asker's words. Files are written only where the
asker's words ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.state import State, tool_results

STRANGERS = frozenset({"search_web", "read_engine_log"})
"""Tools whose results hold what strangers wrote."""
_FILES = "generate_launch_config"
_NEVER = frozenset({"remember"})
"""What the asker's own words alone call."""


def asked_for(calls: Sequence[Any], state: State, due: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Return the calls to make, and the names of those that nobody asked for.

    Args:
        calls: what the model wants.
        state: the conversation.
        due: what the rules would call next.
    """
    if has_read_strangers(state):
        names = {call["name"] for call in due}
        return list(due) if calls else [], [call["name"] for call in calls if call["name"] not in names]
    unasked = _NEVER if state.get("reading", {}).get("intent") == "config" else _NEVER | {_FILES}
    made = [call for call in calls if call["name"] not in unasked]
    return made, [call["name"] for call in calls if call not in made]


def has_read_strangers(state: State) -> bool:
    """Tell whether this turn's results hold strangers' words."""
    return any(m.name in STRANGERS and m.status == "success" for m in tool_results(state))
