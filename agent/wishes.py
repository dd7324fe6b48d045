"""What a model is wanted for, and which engines are set against each other, as a message says it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.reader.engines import engines_in
from agent.reader.lexicon import lexicon

_USES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (use, re.compile(rf"(?<!\w)(?:{words})", re.IGNORECASE))
    for use, words in (
        ("code", r"cod(?:e|ing|er)\b|program|copilot|кодинг|код(?:а|е|у|инга|ить|ом)?\b|кодер|программир|копилот"),
        (
            "long_context",
            r"(?:long|big|large|huge)\s+(?:context|doc|text|book|file)|rag\b|books?\b|repos?\b"
            r"|(?:длинн|больш|огромн)\w*\s+(?:контекст|докум|текст|файл)|книг|раг\b",
        ),
        ("speed", r"fast|quick|speed|low latency|быстр|шустр|скорост"),
        (
            "quality",
            r"(?:no|without|least)\s+quant|unquanti[sz]ed|full precision|without loss|8[ -]?bits?\b"
            r"|без\s+(?:квант|потер)|полн\w+\s+точност|неквант|8[ -]?бит",
        ),
    )
)
"""What people want a model for; the first that a message has words for is taken."""
_READ = 2000
"""Characters of a message that are read."""


def use_of(turns: Sequence[str]) -> str | None:
    """Return what a model is wanted for: by the newest message that says it; None where none does."""
    for turn in reversed(turns):
        found = next((use for use, words in _USES if words.search(turn[:_READ])), None)
        if found:
            return found
    return None


def engines_named(text: str) -> list[str]:
    """Return the engines that a message names, in its order, as the command line's words."""
    return engines_in(text[:_READ].lower(), lexicon())
