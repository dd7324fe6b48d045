"""What a sentence claims: each of its figures with the model, card, format and quantity that it is said of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.grounding.figures import COUNTED, Figure
from agent.grounding.names import Mark, Names
from agent.grounding.words import Token, tokens_of, words

_KINDS = ("model", "card", "index", "precision", "quantity")
QUANTITIES = {
    "bytes": frozenset({
        "weights", "kv", "kv_token", "free", "missing", "used", "card", "overhead", "total", "download", "ram",
        "reserved"}),
    "tokens": frozenset({"kv", "context"}),
    "speed": frozenset({"decode", "throughput", "prefill"}),
    "percent": frozenset({"free", "used", "reserved"}),
}  # fmt: skip
"""Which quantities a kind of figure can be of."""
_ENDS = frozenset({";", ",", ")", "|", ":"})
_CLAUSE_ENDS = frozenset({";", ",", "|"})
_OPEN = frozenset({"(", "["})
_JOINS = frozenset({",", "+", "&", "/", "|"})
_NEAR = 3
_SPANS = frozenset({"each", "together"})
_TIMES = frozenset({"×", "x", "х"})


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure with what is said of it.

    Attributes:
        figure: the figure.
        models, cards, index, precisions, quantities: what its sentence names for it; None = nothing.
        apart: several models are named and each must have the figure, unless it is that of all together.
        context: the models that sentences before speak of, where this one names none.
        flags: ``together`` and ``each`` where its clause says so, ``earlier`` where its sentence does.
        whole: it is what another figure is a part of ("56.9 of 95.0 GiB").
        said: all quantities that its sentence names.
        is_free: it is compared or listed without a name, so that sentences before don't tell whose it is.
    """

    figure: Figure
    models: frozenset[Any] | None = None
    cards: frozenset[str] | None = None
    index: frozenset[int] | None = None
    precisions: frozenset[str] | None = None
    quantities: frozenset[str] | None = None
    context: frozenset[Any] | None = None
    flags: frozenset[str] = frozenset()
    whole: bool = False
    said: frozenset[str] = frozenset()
    is_free: bool = False


@dataclass(slots=True)
class _Said:
    """What is bound to one figure so far, by kind."""

    values: dict[str, frozenset[Any]] = field(default_factory=dict[str, frozenset[Any]])
    is_free: bool = False

    def join(self, kind: str, value: frozenset[Any]) -> None:
        self.values[kind] = self.values.get(kind, frozenset()) | value


class Sentence:
    """One sentence, list item or table cell row as a sequence of marks and figures."""

    def __init__(self, text: str, names: Names) -> None:
        self.text = text
        self.tokens = tokens_of(text)
        self.marks, self.figures = names.marks(text, self.tokens)
        found = frozenset(value for mark in self.marks if mark.kind == "flag" for value in mark.value)
        self.flags = found - {"earlier"} if "not_earlier" in found else found

    def of(self, kind: str, first: int = 0, last: int | None = None) -> list[Mark]:
        """Return the marks of a kind between two tokens."""
        end = len(self.tokens) if last is None else last
        return [m for m in self.marks if m.kind == kind and first <= m.first and m.last <= end]

    def all(self, kind: str) -> frozenset[Any] | None:
        """Return all that is named of a kind; None where nothing is."""
        found = self.of(kind)
        return frozenset().union(*(mark.value for mark in found)) if found else None

    def claims(self) -> list[Claim]:
        """Return the sentence's figures, each with what it is said of."""
        bound = _bind(self)
        _pair(self, bound)
        return [self._claim(at, said) for at, said in enumerate(bound)]

    def _near(self, at: int) -> frozenset[str]:
        """Return whether "each" or "together" is said of a figure: in its own clause, or "each" before it."""
        figure = self.figures[at]
        end = self._next(at)
        previous = [one for one in self.figures[:at] if one.kind not in COUNTED]
        begin = previous[-1].last + 1 if previous else 0
        clause = _clause(self.tokens, begin, figure.first)
        behind = _stop(self.tokens, figure, end)
        found: set[str] = set()
        for mark in self.of("flag", begin, end):
            own = not previous or not self._is_behind(self.figures.index(previous[-1]), mark)
            stays = mark.last <= figure.first and mark.first >= clause and own
            if stays or (mark.first > figure.last and mark.last <= behind and self._is_behind(at, mark)):
                found |= mark.value & _SPANS
        if not found and any("each" in m.value for m in self.of("flag", begin, figure.first) if m.last <= clause):
            found = set() if previous and clause > begin else {"each"}
        several = [one for one in self.figures[:at] if one.first >= clause and one.kind == "copies" and one.value > 1]
        if several and not found and figure.kind == "bytes":
            found = {"together"}
        return frozenset(found | self._multiplied(figure))

    def _is_behind(self, at: int, mark: Mark) -> bool:
        """Whether a mark stands with the figure before it: right behind it, or with nothing else to stand with."""
        figure = self.figures[at]
        following = self._next(at)
        stop = _stop(self.tokens, figure, following)
        if mark.last > stop:
            return False
        return following == len(self.tokens) or stop < following or mark.first - figure.last <= 2

    def _next(self, at: int) -> int:
        """Return where the figure after one begins, cards and copies left out."""
        return next((one.first for one in self.figures[at + 1 :] if one.kind not in COUNTED), len(self.tokens))

    def _multiplied(self, figure: Figure) -> set[str]:
        """Read "2 x 29.0 GiB = 58.1 GiB"."""
        before = self.tokens[figure.first - 1].text if figure.first else ""
        if before in _TIMES:
            return {"each"}
        times = any(token.text in _TIMES for token in self.tokens[: figure.first])
        return {"together"} if before == "=" and times else set()

    def _claim(self, at: int, said: _Said) -> Claim:
        figure = self.figures[at]
        before = self.tokens[figure.first - 1].text if figure.first else ""
        flags = (self.flags - _SPANS) | self._near(at)
        following = self.tokens[figure.last + 1].text if figure.last + 1 < len(self.tokens) else ""
        formats = said.values.get("precision")
        if before in words().sets["change_from"] and following in words().sets["change_to"]:
            flags, formats = flags | {"earlier"}, None
        return Claim(
            figure,
            models=said.values.get("model"),
            cards=said.values.get("card"),
            index=said.values.get("index"),
            precisions=formats,
            quantities=said.values.get("quantity"),
            flags=flags,
            whole=before in words().sets["whole"] or before == "/",
            said=self.all("quantity") or frozenset(),
            is_free=said.is_free,
        )


def _bind(sentence: Sentence) -> list[_Said]:
    """Give each figure what stands with it: attached behind it, else before it, else what the figure before had."""
    bound: list[_Said] = []
    start = 0
    previous = _Said()
    for at, figure in enumerate(sentence.figures):
        end = sentence.figures[at + 1].first if at + 1 < len(sentence.figures) else len(sentence.tokens)
        stop = _stop(sentence.tokens, figure, end)
        said = _Said()
        joined = at > 0 and _only_joins(sentence.tokens, sentence.figures[at - 1].last + 1, figure.first)
        for kind in _KINDS:
            behind = _attached(sentence, kind, figure.last + 1, stop)
            before = _last_group(sentence, kind, start, figure.first)
            for mark in [*behind, *(before if kind == "quantity" or not behind else [])]:
                said.join(kind, mark.value)
            anew = kind == "model" and _begins_anew(sentence, start, figure)
            anew = anew or (kind == "precision" and _is_compared(sentence, start, figure))
            if kind not in said.values and kind in previous.values and not anew and (kind != "quantity" or joined):
                said.values[kind] = previous.values[kind]
        said.is_free = bool(at) and "model" not in said.values and _is_compared(sentence, start, figure)
        bound.append(said)
        previous = said
        start = max([figure.last + 1, *(m.last for k in _KINDS for m in _attached(sentence, k, figure.last + 1, stop))])
    _reach_forward(sentence, bound)
    return bound


def _begins_anew(sentence: Sentence, start: int, figure: Figure) -> bool:
    """Whether a figure is not of the model that the one before it is of: a sum, a conclusion or a comparison."""
    between = {token.text for token in sentence.tokens[start : figure.first]}
    if between & words().sets["versus"]:
        return True
    summed = any("together" in mark.value for mark in sentence.of("flag", start, figure.first))
    several = len(sentence.all("model") or ()) > 1
    return several and (summed or "=" in between or bool(between & words().sets["concludes"]))


def _is_compared(sentence: Sentence, start: int, figure: Figure) -> bool:
    return any(token.text in words().sets["versus"] for token in sentence.tokens[start : figure.first])


def _clause(tokens: Sequence[Token], begin: int, end: int) -> int:
    """Return where the clause begins that ends before a figure."""
    for at in range(end - 1, begin - 1, -1):
        if tokens[at].text in _CLAUSE_ENDS or tokens[at].text in words().sets["stop"]:
            return at + 1
    return begin


def _stop(tokens: Sequence[Token], figure: Figure, end: int) -> int:
    """Return where the words that belong to a figure end behind it."""
    opened = 0
    for at in range(figure.last + 1, end):
        word = tokens[at].text
        if word in _OPEN:
            opened += 1
        elif word in {")", "]"} and opened:
            opened -= 1
        elif not opened and (word in _ENDS or word in words().sets["stop"] or word in {"+", "—", "–", "/"}):
            return at
    return end


def _attached(sentence: Sentence, kind: str, first: int, stop: int) -> list[Mark]:
    """Return the marks behind a figure that belong to it: right there, or after a preposition or a bracket."""
    found = sentence.of(kind, first, stop)
    if not found or kind == "quantity":
        return [mark for mark in found if mark.last <= _opened(sentence.tokens, first, stop)]
    found = [mark for mark in found if not _names_next(sentence, mark)]
    if not found:
        return []
    between = {token.text for token in sentence.tokens[first : found[0].first]}
    plain = found[0].first - first <= 1 and kind == "precision"
    return found if plain or found[0].first == first or between & (words().sets["attach"] | _OPEN) else []


def _opened(tokens: Sequence[Token], first: int, stop: int) -> int:
    """Return where a bracket opens that the next figure stands in: "46.5 GiB (weights 29.0 GiB ...)"."""
    inside = [token.text for token in tokens[first:stop]]
    is_closed = ")" in inside or stop == len(tokens) or tokens[stop].text == ")"
    return stop if is_closed or "(" not in inside else first + inside.index("(")


def _names_next(sentence: Sentence, mark: Mark) -> bool:
    """Whether a mark is the title of the figure after it: "(the 14B: 27.5 GiB)"."""
    follows = sentence.tokens[mark.last].text if mark.last < len(sentence.tokens) else ""
    return follows in {":", "—", "–"} and any(figure.first > mark.last for figure in sentence.figures)


def _last_group(sentence: Sentence, kind: str, first: int, last: int) -> list[Mark]:
    """Return the last mark before a figure, with those that are joined to it: "the 30B and the 14B"."""
    found = sentence.of(kind, first, last)
    if kind == "quantity":
        formats = [mark for mark in sentence.of("precision", first, last) if _of_cache(sentence, mark)]
        stated = [mark for mark in found if not any(0 <= one.first - mark.last < _NEAR for one in formats)]
        return [mark for mark in found if mark.first >= _condition(sentence, last)] if stated else []
    if kind == "precision":
        found = [mark for mark in found if not _of_cache(sentence, mark)]
    group = found[-1:]
    for mark in reversed(found[:-1]):
        if not _coordinated(sentence, mark, group[0]):
            break
        group.insert(0, mark)
    return group


def _condition(sentence: Sentence, last: int) -> int:
    """Return where the condition ends that a sentence begins with, if before a figure: "If you need more room, ..."."""
    if not sentence.tokens or sentence.tokens[0].text not in words().sets["condition"]:
        return 0
    return next((at for at in range(last) if sentence.tokens[at].text == ","), 0)


def _of_cache(sentence: Sentence, mark: Mark) -> bool:
    """Whether a format is that of the KV cache: "KV cache in FP8"."""
    before = sentence.of("quantity", max(0, mark.first - _NEAR), mark.first)
    behind = sentence.of("quantity", mark.last, mark.last + 1)
    return any("kv" in one.value for one in [*before, *behind])


def _coordinated(sentence: Sentence, one: Mark, other: Mark) -> bool:
    """Whether only joining words, formats and brackets stand between two marks, and at least one that joins."""
    inside = {at for mark in sentence.marks if mark.kind != "flag" for at in range(mark.first, mark.last)}
    inside |= {at for figure in sentence.figures for at in range(figure.first, figure.last + 1)}
    between = [t.text for at, t in enumerate(sentence.tokens[: other.first]) if at >= one.last and at not in inside]
    joins = words().sets["join"] | _JOINS
    fillers = words().sets["skip"] | _OPEN | {")", "x", "×"}
    return any(word in joins for word in between) and all(
        word in joins or word in fillers or word.isdigit() for word in between
    )


def _only_joins(tokens: Sequence[Token], first: int, last: int) -> bool:
    joins = words().sets["join"] | words().sets["about"] | _JOINS | {"-", "–", "—", "≈", "~"}
    return all(token.text in joins for token in tokens[first:last])


def _pair(sentence: Sentence, bound: list[_Said]) -> None:
    """Give as many joined names as there are joined figures one each: "the 30B and the 14B take 56.9 and 27.5 GiB"."""
    for first, last in _runs(sentence):
        count = last - first
        begin = _stop(sentence.tokens, sentence.figures[first - 1], sentence.figures[first].first) if first else 0
        end = sentence.figures[last].first if last < len(sentence.figures) else len(sentence.tokens)
        for kind in ("model", "index", "card", "precision", "quantity"):
            before = sentence.of(kind, begin, sentence.figures[first].first)
            behind = sentence.of(kind, sentence.figures[last - 1].last + 1, end)
            named = before if len(before) == count else [] if before else behind
            in_order = kind in {"model", "card", "index"} and not before and not behind
            if in_order:
                named = list({mark.value: mark for mark in reversed(sentence.of(kind, 0, begin))}.values())[::-1]
            chained = in_order or all(_coordinated(sentence, a, b) for a, b in itertools.pairwise(named))
            if kind == "model" and not named:
                for said in bound[first:last]:
                    said.is_free = "model" not in said.values
            if len(named) == count and chained:
                for at, mark in enumerate(named):
                    bound[first + at].values[kind] = mark.value


def _runs(sentence: Sentence) -> list[tuple[int, int]]:
    """Return where figures of one kind stand joined, two or more; the ends of a range are one thing."""
    runs: list[tuple[int, int]] = []
    first = 0
    for at in range(1, len(sentence.figures) + 1):
        if at < len(sentence.figures):
            one, other = sentence.figures[at - 1], sentence.figures[at]
            gap = [t.text for t in sentence.tokens[one.last + 1 : other.first]]
            joined = _only_joins(sentence.tokens, one.last + 1, other.first)
            if joined and one.kind == other.kind and not set(gap) & {"-", "–", "to", "до"}:
                continue
        if at - first > 1:
            runs.append((first, at))
        first = at
    return runs


def _reach_forward(sentence: Sentence, bound: list[_Said]) -> None:
    """Where a figure has no model before it nor attached, take the one that is named next: "56.9 is what A needs"."""
    for at, (figure, said) in enumerate(zip(sentence.figures, bound, strict=True)):
        if "model" in said.values:
            continue
        end = sentence.figures[at + 1].first if at + 1 < len(bound) else len(sentence.tokens)
        following = sentence.of("model", figure.last + 1, end)
        clause = {token.text for token in sentence.tokens[figure.last + 1 : following[0].first]} if following else set()
        if following and not clause & (_ENDS | {"and", "и", "but", "но", "а", "while", "so"}):
            said.values["model"] = following[0].value


def with_cells(claim: Claim, **named: frozenset[Any] | None) -> Claim:
    """Fill in what a table's row and column say, where the cell itself says nothing."""
    return replace(claim, **{kind: value for kind, value in named.items() if getattr(claim, kind) is None})
