"""Answers that choose instead of planning: a model for a card, cards or models side by side, what to ask next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prompts import text as say

SHOWN = 2
"""Follow-up questions offered."""
CHOOSING = frozenset({"which_model", "other", "fit", "throughput", "max_users", "max_context"})
"""Questions without a model that a list of models answers best, or at least begins to."""


def without_plan(view: Mapping[str, Any], made: Mapping[str, Any], intent: str) -> str | None:
    """Return the kind of answer that needs no plan: ``cards``, ``side`` or ``which``; None where it is another's."""
    if made["cards"]:
        return "cards"
    if made["side"]:
        return "side"
    asked = view["reading"].get("models")
    return "which" if made["picks"] and not asked and intent == "which_model" else None


def less_quoted(written: str, view: Mapping[str, Any]) -> str:
    """Return an answer without what it quotes word for word from the knowledge base, which has sources of its own."""
    for entry in view["knowledge"]["entries"] if view["knowledge"] else ():
        written = written.replace(entry["answer"], "")
    return written


def next_questions(view: Mapping[str, Any], language: str) -> list[str]:
    """Return follow-ups after an answer without a plan: the first models to take, each on the cards in question."""
    made = view["calculation"]
    picks = made["picks"] if made else None
    if not picks or picks["in_ram"]:
        return []
    cards = " + ".join(_card(card) for card in picks["cards"])
    return [
        say(language, "agent.chip_pick", model=row["model"].rsplit("/", 1)[-1], precision=row["precision"], cards=cards)
        for row in picks["rows"][:SHOWN]
    ]


def enough_cards(view: Mapping[str, Any], language: str) -> list[str]:
    """Return the follow-up to a comparison that no card won: its model on the cards with the least memory in all."""
    counted, rows = view["counted"], view["compared"]["rows"] if view["compared"] else []
    able = [need for need in counted["least"].values() if need] if counted else []
    if not able or len(rows[0]["models"]) != 1:
        return []
    least = min(able, key=lambda need: need["count"] * need["total_bytes"])
    cards = _card({"name": least["card"], "count": least["count"]})
    model = rows[0]["models"][0].replace(" ", "-")
    return [say(language, "agent.chip_pick", model=model, precision=least["precision"], cards=cards)]


def _card(card: Mapping[str, Any]) -> str:
    return f"{card['count']}x {card['name']}" if card["count"] > 1 else str(card["name"])
