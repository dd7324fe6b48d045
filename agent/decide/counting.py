"""How many of each card it takes, where cards were compared and not one of them is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.state import COUNT, State, artifact, tool_calls

_WORKS = frozenset({"fits", "changed"})
MOST = 3
"""Kinds of cards that are counted; more are not named on choice."""


def cards_to_count(state: State) -> list[dict[str, Any]]:
    """Return the cards of a comparison that none of them won, without their number; none where they were counted."""
    made = artifact(state, "calculate_vram") or {}
    compared: Mapping[str, Any] = made.get("compared") or {}
    rows = compared.get("rows") or ()
    if not rows or compared.get("separate") or any(row["state"] in _WORKS or row["problem"] for row in rows):
        return []
    if any(call["args"].get("question") == COUNT for call in tool_calls(state)):
        return []
    kinds = [_kind(row["cards"]) for row in rows]
    models = {tuple(row["models"]) for row in rows}
    distinct = {tuple(kind.items()): kind for kind in kinds if kind}
    is_by_card = len(models) == 1 and all(kinds) and len(distinct) == len(rows)
    return list(distinct.values())[:MOST] if is_by_card else []


def _kind(cards: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the one kind of card of a set-up as it was said."""
    if len(cards) != 1:
        return None
    return {key: cards[0][key] for key in ("name", "memory_gb") if cards[0].get(key) is not None} or None
