"""The engine, only where the text shows it: by name, or by a flag that only one engine has."""

from __future__ import annotations

import re

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.sheet import Sheet

_LOOKS_LIKE_A_MODEL = Lazy(
    r"(?<![\w-])llama(?:[ ._-]?cpp(?:-python)?|[ -]runner|-server|-cli|-bench|-swap)(?![\w])|(?<![\w-])llama_\w+"
)
_OR = Lazy(r"(?<![^\W\d_])(?:or|vs|versus|или|против)(?![^\W\d_])")


def read_engine(sheet: Sheet, lexicon: Lexicon) -> str | None:
    """Return the first engine named, else the one an unmistakable flag or message belongs to."""
    low = sheet.low
    sheet.claim_all(_LOOKS_LIKE_A_MODEL)
    named = [
        (at, engine)
        for engine, words in lexicon.names["engines"].items()
        for word in words
        if (at := _place(word, low)) >= 0
    ]
    if named:
        return min(named)[1]
    spelled = re.sub(r"[_ ]", "-", low)
    for engine, flags in lexicon.names["engine_flags"].items():
        if any(flag in spelled for flag in flags):
            return engine
    return None


def _place(word: str, low: str) -> int:
    at = low.find(word)
    if at < 0:
        return -1
    found = re.search(rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])", low)
    return found.start() if found else -1


def count_alternatives(sheet: Sheet, lexicon: Lexicon) -> int:
    """Return how many engines the text sets against each other ("ollama or vllm")."""
    if not _OR.search(sheet.low):
        return 0
    return sum(any(_place(word, sheet.low) >= 0 for word in words) for words in lexicon.names["engines"].values())


def engines_in(low: str, lexicon: Lexicon) -> list[str]:
    """Return every engine that a text names, in its order.

    Args:
        low: the text in small letters.
        lexicon: how engines are called.
    """
    placed: dict[str, int] = {}
    for engine, words in lexicon.names["engines"].items():
        found = [at for word in words if (at := _place(word, low)) >= 0]
        if found:
            placed[engine] = min(found)
    return sorted(placed, key=lambda engine: placed[engine])
