"""What of a message is read: how long it may be, and what no one types."""

from __future__ import annotations

import re

from tools.domain import Note

MAX_CHARS = 20_000
"""Longest message that is read, in characters, about 200 lines; a longer log is cut to its telling lines."""
MOST_CHARS = 8_000_000
"""Longest message whose telling lines are looked for; a longer one is refused unread."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def refusal_of(text: str) -> Note | None:
    """Return why a message is not read at all, or None."""
    if not text.strip():
        return Note("errors_agent.empty_message")
    if len(text) > MAX_CHARS:
        return Note("errors_agent.message_too_long", {"chars": len(text), "limit": MAX_CHARS})
    return None


def clean(text: str) -> str:
    """Drop what no one types: control characters except line breaks and tabs, and lone surrogates."""
    return _CONTROL.sub("", text).encode("utf-8", "ignore").decode("utf-8")
