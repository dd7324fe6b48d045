"""Figures: numbers with a unit, as a text shows them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from agent.grounding.words import Token, tokens_of, words

SIGNIFICANT = 2
"""Digits in which estimates are shown (``tools.units.span``)."""
_ESTIMATED = frozenset({"speed", "seconds"})
COUNTED = frozenset({"cards", "requests", "copies"})
_DASHES = frozenset({"-", "–", "—"})
_SECONDS = frozenset({"с", "s", "w"})
_LARGE = frozenset({"m", "b"})
_LETTERS = frozenset({"к", *_LARGE})
_BARE = re.compile(r"\d{1,4}[.,]\d")
_MONEY = frozenset({"$", "€", "₽"})


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with a unit as a text shows it.

    Attributes:
        text: as written.
        kind: what is counted (``bytes``, ``tokens``, ``speed`` ...).
        values: what it may mean in the base unit; more than one where "8k" or "30,532" can be read two ways.
        slack: half of its last digit, in the base unit.
        unit: size of its unit.
        first, last: its tokens.
    """

    text: str
    kind: str
    values: tuple[float, ...]
    slack: float
    unit: float
    first: int
    last: int

    @property
    def value(self) -> float:
        """What it most likely means."""
        return self.values[0]


def figures(text: str) -> tuple[Figure, ...]:
    """Return the figures of a text: ``figures("113.7 GiB")[0].value == 113.7 * 2**30``; a range is both its ends."""
    return figures_in(text, tokens_of(text), frozenset())


def figures_in(text: str, tokens: Sequence[Token], taken: Collection[int]) -> tuple[Figure, ...]:
    """Return the figures among tokens; ``taken`` are those that belong to a name."""
    found = [
        figure
        for at, token in enumerate(tokens)
        if at not in taken and (token.is_number or token.text in words().numbers)
        for figure in [_figure(text, tokens, at)]
        if figure
    ]
    found += _shared_units(text, tokens, taken, found)
    return tuple(sorted([*found, *_bare(text, tokens, taken, found)], key=lambda figure: figure.first))


def _figure(text: str, tokens: Sequence[Token], at: int) -> Figure | None:
    """Read a number with the unit after it, or the sign of a currency before it."""
    factors, place = _thousands(tokens, at + 1)
    unit = _unit(tokens, place)
    if at and tokens[at - 1].text in _MONEY:
        unit = (place, ("money", 1.0))
    if unit is None and factors != (1,) and tokens[at].is_number:
        unit = (place, ("tokens", 1.0))
    if unit is None:
        return None
    end, (kind, size) = unit
    if kind in COUNTED and factors != (1,):
        kind = "tokens"
    if not tokens[at].is_number and kind not in COUNTED:
        return None
    return _made(text, tokens, (at, end - 1), (kind, size, factors))


def _thousands(tokens: Sequence[Token], place: int) -> tuple[tuple[int, ...], int]:
    """Return what a number is multiplied by, and where it goes on; a lone letter must be joined to the number."""
    found = words().thousands.at(tokens, place)
    if found is None or (tokens[place].text in _LETTERS and not tokens[place].glued):
        return (1,), place
    end = found[0]
    if tokens[place].text in _LARGE and words().units.at(tokens, end) is None:
        return (1,), place
    dotted = end < len(tokens) and tokens[end].text == "." and tokens[place].text not in {"k", "к"}
    return found[1], end + dotted


def _unit(tokens: Sequence[Token], place: int) -> tuple[int, tuple[str, float]] | None:
    if place < len(tokens) and tokens[place].text in _DASHES and tokens[place].glued:
        place += 1
    found = words().units.at(tokens, place)
    if found is None:
        return None
    end, (_, _) = found
    single = end == place + 1 and tokens[place].text in _SECONDS
    if single and end < len(tokens) and tokens[end].text[0].isalnum():
        return None
    return found


def _made(
    text: str, tokens: Sequence[Token], span: tuple[int, int], unit: tuple[str, float, tuple[int, ...]]
) -> Figure:
    first, last = span
    kind, size, factors = unit
    digits = tokens[first].text
    readings = _readings(digits) if tokens[first].is_number else (float(words().numbers[digits]),)
    if factors != (1,) and len(readings) > 1 and tokens[first + 1].text == "k":
        readings = readings[:1]
    if kind in {"tokens", *COUNTED} and factors == (1,):
        readings = tuple(reading for reading in readings if reading % 1 == 0) or readings
    values = tuple(reading * factor * size for reading in readings for factor in factors)
    slack = _slack(digits, kind, about=_is_about(tokens, first)) * size * max(factors)
    return Figure(text[tokens[first].start : tokens[last].end], kind, values, slack, size, first, last)


def _readings(digits: str) -> tuple[float, ...]:
    """Return what digits mean; a comma before three digits may group thousands or begin decimals."""
    plain = digits.replace("\u00a0", "").replace("\u202f", "").replace(" ", "")
    whole, comma, rest = plain.partition(",")
    if comma and len(rest.partition(".")[0].split(",")[0]) == 3:
        grouped = float(plain.replace(",", ""))
        return (grouped,) if "," in rest or "." in rest else (grouped, float(f"{whole}.{rest}"))
    return (float(plain.replace(",", ".")),)


def _slack(digits: str, kind: str, *, about: bool) -> float:
    """Return half of the last digit that is meant: zeros at the end of an estimate are not."""
    plain = digits.replace("\u00a0", "").replace("\u202f", "").replace(" ", "")
    decimals = len(plain.replace(",", ".").rpartition(".")[2]) if _decimals(plain) else 0
    slack = 0.5 * 10**-decimals
    if kind in COUNTED or not plain[0].isdigit():
        return 0.0
    whole = plain.replace(",", "")
    if not decimals and kind in _ESTIMATED:
        slack *= 10 ** max(0, len(whole) - SIGNIFICANT)
    elif not decimals and kind == "tokens" and len(whole) > 3 and whole.endswith("000"):
        slack *= 10 ** (len(whole) - len(whole.rstrip("0")))
    return slack * (2 if about else 1)


def _decimals(plain: str) -> bool:
    head, point, tail = plain.replace(",", ".").rpartition(".")
    return bool(point) and not (plain[len(head)] == "," and len(tail) == 3 and len(head) <= 7)


def _is_about(tokens: Sequence[Token], at: int) -> bool:
    before = [token.text for token in tokens[max(0, at - 2) : at]]
    return any(word in words().sets["about"] or word in {"≈", "~"} for word in before)


def _shared_units(text: str, tokens: Sequence[Token], taken: Collection[int], found: Sequence[Figure]) -> list[Figure]:
    """Return the numbers that share the unit of the figure after them: "53–98 tokens/s", "56.9, 9.3 and 27.5 GiB"."""
    more: list[Figure] = []
    starts = {figure.first for figure in found}
    for figure in found:
        if figure.kind in COUNTED:
            continue
        following, chained = figure, False
        while (at := _joined_before(tokens, following.first, chained=chained)) is not None:
            if at in taken or at in starts:
                break
            factors, _ = _thousands(tokens, figure.first + 1)
            made = _made(text, tokens, (at, at), (figure.kind, figure.unit, factors))
            following = replace(
                made, text=f"{made.text} {text[tokens[figure.first].end : tokens[figure.last].end].strip()}"
            )
            more.append(following)
            chained = True
    return more


def _bare(text: str, tokens: Sequence[Token], taken: Collection[int], found: Sequence[Figure]) -> list[Figure]:
    """Return the numbers that are left without a unit after a size: "47.7 GiB (29.0 for weights, 16.6 for cache)"."""
    inside = {at for figure in found for at in range(figure.first, figure.last + 1)} | set(taken)
    more: list[Figure] = []
    for at, token in enumerate(tokens[:-1]):
        sizes = [figure for figure in found if figure.kind == "bytes" and figure.last < at]
        if sizes and at not in inside and _BARE.fullmatch(token.text) and tokens[at + 1].text in words().sets["share"]:
            more.append(_made(text, tokens, (at, at), ("bytes", sizes[-1].unit, (1,))))
    return more


def _joined_before(tokens: Sequence[Token], first: int, *, chained: bool) -> int | None:
    """Return the number that a figure is joined to, where one is."""
    at = first - 1
    while at > 0 and tokens[at].text in {"≈", "~"}:
        at -= 1
    if at < 1 or not tokens[at - 1].is_number:
        return None
    sign = tokens[at].text
    if sign in _DASHES or sign == "/":
        return at - 1 if _is_range(tokens, at) else None
    if sign in words().sets["whole"]:
        return at - 1
    return at - 1 if sign in words().sets["join"] or (chained and sign == ",") or sign == "+" else None


def _is_range(tokens: Sequence[Token], at: int) -> bool:
    """Tell a range from an index or a label before a dash: "53–98", not "card 0 - 95.0" or "1 — 56.9"."""
    if tokens[at].glued and at + 1 < len(tokens) and tokens[at + 1].glued:
        return True
    bare = at < 2 or tokens[at - 2].text in {"|", "#", "("} or tokens[at - 2].text[:4] in {"card", "gpu", "карт"}
    return tokens[at].text != "—" and not bare
