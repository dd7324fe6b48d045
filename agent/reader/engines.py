"""The engine, only where the text shows it: by name, or by a flag that only one engine has."""

from __future__ import annotations

import re

from agent.reader.lexicon import Lexicon
from agent.reader.sheet import Sheet

_LOOKS_LIKE_A_MODEL = re.compile(
    r"(?<![\w-])llama(?:[ ._-]?cpp(?:-python)?|[ -]runner|-server|-cli|-bench|-swap)(?![\w])"
)


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
    spelled = low.replace("_", "-")
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
