"""How several models or several cards relate: together, alternatives, or separate set-ups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from agent.reader.lazy import Lazy
from agent.reader.sheet import Sheet
from tools.domain import Relation

_OR = Lazy(
    r"(?<![^\W\d_])(?:or|vs|versus|against|compared (?:to|with)|rather than|или|либо|против|вместо|instead of)"
    r"(?![^\W\d_])|^\s?/\s?$"
)


class Mention(Protocol):
    """Anything with a place in the text."""

    @property
    def start(self) -> int:
        """Where it begins."""
        ...

    @property
    def end(self) -> int:
        """Where it ends."""
        ...


def relation(sheet: Sheet, found: Sequence[Mention]) -> Relation | None:
    """Return how mentions relate by what stands between them; None where there is only one."""
    if len(found) < 2:
        return None
    between = [sheet.low[a.end : b.start] for a, b in pairwise(found)]
    leads = sheet.low[max(0, found[0].start - 16) : found[0].start]
    if any(_OR.search(gap) for gap in between) or re.search(r"(?:instead of|вместо)\s\w*\s?$", leads):
        return "alternatives"
    return "together"


def separate(models: Sequence[Mention], gpus: Sequence[Mention]) -> bool:
    """Whether each model is on a card of its own: model, card, model, card in this order ("A on X, and B on Y")."""
    if len(models) < 2 or len(models) != len(gpus):
        return False
    places = [place for pair in zip(models, gpus, strict=True) for place in (pair[0].start, pair[1].start)]
    return places == sorted(places)
