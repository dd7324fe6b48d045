"""The figures a page states of a model or a card, each with the words around it, for quoting and comparing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

QUOTE_CHARS = 140
MOST_FIGURES = 60
_PIECE = re.compile(r"(?<=[.!?;])\s+|\n+")
_PIECE_CHARS = 600
_FIGURE = re.compile(
    r"(?<![\w.,/-])(?P<number>\d{1,3}(?:[ ,\u00a0\u202f]\d{3}){1,3}(?!\d)|\d{1,9}(?:[.,]\d{1,3})?)"
    r"\s?(?P<unit>[GTM]i?B/s|[ГТМ]Б/с|[GTM]i?B|[ГТМ][Бб]|billions?|bn|trillions?|millions?|млрд|млн|трлн|миллиард\w{0,3}"
    r"|миллион\w{0,3}|[KkКк]|тыс\.?|[BbMT]|tokens|токен\w{0,3})?(?![\w/])"
)
_GROUPED = re.compile(r"\d{1,3}(?:[ ,\u00a0\u202f]\d{3})+")
_DECIMAL_COMMA = re.compile(r"\d+,\d{1,2}")
_COUNTS = {"b": 1e9, "t": 1e12, "m": 1e6, "bn": 1e9, "bil": 1e9, "tri": 1e12, "mil": 1e6}
_RUSSIAN = {"млрд": 1e9, "млн": 1e6, "трлн": 1e12, "миллиард": 1e9, "миллион": 1e6}
_BYTES = {"g": (1e9, 2.0**30), "t": (1e12, 2.0**40), "m": (1e6, 2.0**20)}
_CYRILLIC = str.maketrans("ГТМБб", "GTMBB")
_WORDS = (
    ("active", re.compile(r"\bactiv\w+|\bактивн\w+|\bактивир\w+", re.IGNORECASE)),
    ("params", re.compile(r"\bparam\w*|\bпараметр\w*", re.IGNORECASE)),
    ("context", re.compile(r"\bcontext\b|\bконтекст\w*|sequence length|max_position\w*", re.IGNORECASE)),
    ("needed", re.compile(r"\brequir\w+|\bneeds?\b|\bнуж\w+|\bтребу\w+|\bat least\b|\bминимум\b", re.IGNORECASE)),
    (
        "weights",
        re.compile(
            r"\bweights?\b|\bcheckpoint\w*|safetensors|\bmodel size\b|\bdownload\w*|\bвес[аоы]\w*", re.IGNORECASE
        ),
    ),
    ("memory", re.compile(r"\bvram\b|\bgddr\d?\w*|\bhbm\d?\w*|\bmemory\b|\bвидеопамят\w*|\bпамят\w*", re.IGNORECASE)),
)
"""Words that say what a figure is of; of those around it the nearest decides."""
_NOT_ALL = re.compile(r"non-?embedding|без эмбеддинг", re.IGNORECASE)
_BEFORE, _AFTER = 60, 30
_LEAST_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class WebFigure:
    """One figure of a page.

    Attributes:
        quantity: ``params``, ``active``, ``context`` (tokens), ``weights``, ``memory``, ``needed`` (bytes) or
            ``bandwidth`` (bytes/s).
        values: what it may mean: "128K" is 128,000 or 131,072, "24 GB" 24e9 or 24 GiB.
        quote: the words around it, as they stand there.
        piece: the whole sentence or table row.
    """

    quantity: str
    values: tuple[float, ...]
    quote: str
    piece: str


def figures_in(text: str) -> tuple[WebFigure, ...]:
    """Return the figures of a text whose words say what they are of, at most ``MOST_FIGURES``."""
    found: list[WebFigure] = []
    for piece in _PIECE.split(text):
        if len(found) >= MOST_FIGURES:
            break
        if piece and len(piece) <= _PIECE_CHARS:
            found += _of_piece(" ".join(piece.replace("|", " ").split()))
    return tuple(found[:MOST_FIGURES])


def _of_piece(piece: str) -> Iterator[WebFigure]:
    for match in _FIGURE.finditer(piece):
        quantity = _quantity(piece, match.start(), match.end())
        read = _values(match["number"], match["unit"] or "", quantity)
        if read:
            yield WebFigure(read[0], read[1], _quote(piece, match.start(), match.end()), piece)


def _quantity(piece: str, start: int, end: int) -> str:
    """Return what the nearest words say that a figure is of; empty where none does."""
    before, after = piece[max(0, start - _BEFORE) : start], piece[end : end + _AFTER]
    if _NOT_ALL.search(before[-30:]):
        return ""
    nearest: list[tuple[int, int, str]] = []
    for order, (name, words) in enumerate(_WORDS):
        ends = [match.end() for match in words.finditer(before)]
        if ends:
            nearest.append((len(before) - ends[-1], order, name))
        found = words.search(after)
        if found and not re.search(r"[,;:]|\d", after[: found.start()]):
            nearest.append((found.start(), order, name))
    named = {name for distance, _, name in nearest if distance <= 12}
    if "active" in named and _is_active(before, after):
        return "active"
    if any(name == "needed" for _, _, name in nearest) and min(nearest)[2] in {"memory", "needed"}:
        return "needed"
    return min(nearest)[2] if nearest else ""


def _is_active(before: str, after: str) -> bool:
    """Whether "activated" is said of this figure: right after it, or before it with nothing between."""
    word = _WORDS[0][1]
    behind, ahead = word.search(after), list(word.finditer(before))
    if behind and behind.start() <= 12 and not re.search(r"[,;:]|\d", after[: behind.start()]):
        return True
    return bool(ahead) and not re.search(r"\d", before[ahead[-1].end() :])


def _values(number: str, unit: str, quantity: str) -> tuple[str, tuple[float, ...]] | None:
    """Return what a figure comes to, where its unit fits what it is of."""
    value = _number(number)
    plain = unit.translate(_CYRILLIC) if unit[:1] in "ГТМ" else unit
    if plain.endswith(("/s", "/с")):
        return "bandwidth", tuple(value * one for one in _BYTES[plain[0].lower()])
    if len(plain) >= 2 and plain[-1] == "B" and plain[0] in "GTM":
        factors = _BYTES[plain[0].lower()]
        sizes = (value * factors[1],) if "i" in plain else tuple(value * one for one in factors)
        return (quantity, sizes) if quantity in {"weights", "memory", "needed"} else None
    if quantity in {"params", "active"}:
        factor = _count(unit)
        return (quantity, (value * factor,)) if factor else None
    return _context(value, unit) if quantity == "context" else None


def _context(value: float, unit: str) -> tuple[str, tuple[float, ...]] | None:
    word = unit.lower()
    if word[:1] in {"k", "к"} or word.startswith("тыс"):
        return "context", (value * 1000, value * 1024)
    if word in {"m", "million", "millions"} or word.startswith(("млн", "миллион")):
        return "context", (value * 1e6, value * 2**20)
    known = not word or word.startswith(("token", "токен"))
    return ("context", (value,)) if known and value >= _LEAST_CONTEXT and value == int(value) else None


def _count(unit: str) -> float:
    word = unit.lower()
    for stem, factor in _RUSSIAN.items():
        if word.startswith(stem):
            return factor
    return _COUNTS.get(word, _COUNTS.get(word[:3], 0.0) if len(word) > 2 else 0.0)


def _number(number: str) -> float:
    """Read a number with its thousands apart, or with a decimal comma.

    >>> _number("32,768"), _number("8,2"), _number("30.5")
    (32768.0, 8.2, 30.5)
    """
    if _GROUPED.fullmatch(number):
        return float(re.sub(r"[ ,\u00a0\u202f]", "", number))
    return float(number.replace(",", "." if _DECIMAL_COMMA.fullmatch(number) else ""))


def _quote(piece: str, start: int, end: int) -> str:
    """Return the words around a figure, cut at spaces."""
    if len(piece) <= QUOTE_CHARS:
        return piece
    room = max(0, QUOTE_CHARS - (end - start)) // 2
    low, high = max(0, start - room), min(len(piece), end + room)
    left = piece[low:start].partition(" ")[2] if low else piece[:start]
    right = piece[end:high].rpartition(" ")[0] if high < len(piece) else piece[end:]
    return f"{'…' if low else ''}{left}{piece[start:end]}{right}{'…' if high < len(piece) else ''}"


def telling_words(query: str) -> frozenset[str]:
    """Return the words of a query that name something: those with a digit, else all longer ones."""
    words = {word.lower() for word in re.findall(r"[^\W_][\w.]*", query)}
    return frozenset({word for word in words if any(c.isdigit() for c in word)} or {w for w in words if len(w) > 3})


def about(figures: Sequence[WebFigure], words: frozenset[str], title: str) -> tuple[WebFigure, ...]:
    """Return the figures of a page that may be of what was looked for: its title or their own sentence names it."""
    if _names(title, words):
        return tuple(figures)
    return tuple(one for one in figures if _names(one.piece, words))


def _names(text: str, words: frozenset[str]) -> bool:
    said = re.sub(r"[\W_]+", "", text.lower())
    return any(re.sub(r"[\W_]+", "", word) in said for word in words)
