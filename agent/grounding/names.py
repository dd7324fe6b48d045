"""Who a sentence speaks of: the conversation's models and cards by all their names, and names of strangers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from agent.grounding.figures import Figure, figures_in
from agent.grounding.words import Phrases, Token, tokens_of, words

_SEPARATORS = frozenset({"-", "/", "_", ":"})
_SIZES = frozenset({"b", "б", "в"})
_PUBLISHED = frozenset({"tokens", "токенов", "parameters", "params", "active", "параметров"})
_MAKERS = frozenset({"nvidia", "amd", "intel", "apple", "geforce", "radeon", "tesla", "instinct"})
_GENERATION = frozenset({"50", "60", "70", "80", "90"})
_TAILS = frozenset({"gb", "gib", "гб"})
_LONGEST_NAME = 12
_ROUNDING = 0.01
"""By how much a size in billions with a decimal may differ from the count that it rounds."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something named between tokens ``first`` and ``last``.

    ``kind`` is ``model``, ``card`` (names), ``index`` (a card's number), ``precision``, ``quantity`` or ``flag``;
    ``value`` is the set of what is meant: empty for a model or card that this conversation knows nothing of.
    """

    kind: str
    value: frozenset[Any]
    first: int
    last: int


@dataclass(slots=True)
class Names:
    """The models and cards of a conversation.

    Attributes:
        parts: the instances of the present plan in order: (model, instance, parameters).
    """

    parts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    sizes: dict[str, float] = field(default_factory=dict[str, float])
    _models: Phrases = field(default_factory=lambda: Phrases(_SEPARATORS))
    _cards: Phrases = field(default_factory=lambda: Phrases(_SEPARATORS))
    _known: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _families: set[str] = field(default_factory=set[str])

    def add_model(self, model: str, alias: str | None = None) -> None:
        """Learn a model by its repository or another name."""
        said = (alias or model).rsplit("/", 1)[-1]
        if ("model", f"{model} {said}") in self._known:
            return
        self._known.add(("model", f"{model} {said}"))
        meaning = frozenset({(model, None)})
        for name in _model_names([t.text for t in tokens_of(said) if t.text not in _SEPARATORS][:_LONGEST_NAME]):
            self._models.add(name, meaning)
            self._families.add(name[0].rstrip("0123456789."))

    def add_instance(self, model: str, instance: str) -> None:
        """Learn a part of the present plan in its order; equal models are told apart by their names."""
        self.add_model(model)
        if (model, instance) not in self.parts:
            self.parts.append((model, instance))
            name = [t.text for t in tokens_of(instance) if t.text not in _SEPARATORS]
            own = (model, instance) if any(m == model for m, _ in self.parts[:-1]) else (model, None)
            self._models.add(name[:_LONGEST_NAME], frozenset({own}))

    def add_card(self, card: str, alias: str | None = None) -> None:
        """Learn a card by its name or another one."""
        if ("card", f"{card} {alias}") in self._known or card.startswith("GPU "):
            return
        self._known.add(("card", f"{card} {alias}"))
        name = [t.text for t in tokens_of(alias or card) if t.text not in _SEPARATORS][:_LONGEST_NAME]
        for part in _parts_with(name, _code(name)):
            self._cards.add(part, frozenset({card}))

    def marks(self, text: str, tokens: Sequence[Token]) -> tuple[list[Mark], tuple[Figure, ...]]:
        """Return all that is named, and the figures, in order."""
        named = list(self._named(tokens))
        taken = {at for mark in named for at in range(mark.first, mark.last)}
        found = figures_in(text, tokens, taken)
        inside = {at for figure in found for at in range(figure.first, figure.last + 1)}
        inside -= {at for figure in found if figure.kind == "requests" for at in (figure.last,)}
        said = [mark for mark in self._said(tokens, taken) if mark.kind == "flag" or mark.first not in inside]
        return sorted([*named, *said], key=lambda mark: mark.first), found

    def _named(self, tokens: Sequence[Token]) -> Iterator[Mark]:
        at = 0
        while at < len(tokens):
            mark = self._name_at(tokens, at)
            if mark:
                yield mark
                at = mark.last
            else:
                at += 1

    def _name_at(self, tokens: Sequence[Token], at: int) -> Mark | None:
        for kind, table in (("model", self._models), ("card", self._cards)):
            found = table.at(tokens, at)
            if found and not _is_amount(tokens, at, found[0]):
                return Mark(kind, found[1], at, found[0])
        return self._index_at(tokens, at) or self._stranger_at(tokens, at)

    @staticmethod
    def _index_at(tokens: Sequence[Token], at: int) -> Mark | None:
        """Read "card 0" and "GPU 1"."""
        nouns = words().sets["card_noun"]
        is_noun = tokens[at].text in nouns or tokens[at].text[:4] == "карт"
        place = at + 2 if at + 1 < len(tokens) and tokens[at + 1].text in {"#", "№"} else at + 1
        if not is_noun or place >= len(tokens) or not tokens[place].text.isdigit() or len(tokens[place].text) > 2:
            return None
        if words().units.at(tokens, place + 1) and tokens[place + 1].text not in {"с", "s"}:
            return None
        return Mark("index", frozenset({int(tokens[place].text)}), at, place + 1)

    def _stranger_at(self, tokens: Sequence[Token], at: int) -> Mark | None:
        """Find a model or a card that nothing is known of."""
        word, following = tokens[at].text, tokens[at + 1] if at + 1 < len(tokens) else None
        if word in _stranger_cards():
            return Mark("card", frozenset(), at, at + 1)
        sized = tokens[at].is_number and following and following.glued and following.text in _SIZES
        if sized and not _is_amount(tokens, at, at + 2):
            return Mark("model", self._of_size(word), at, at + 2)
        branded = at > 0 and tokens[at - 1].text in words().brands
        plain = len(word) == 4 and word.isdigit() and word[2:] in _GENERATION and not words().units.at(tokens, at + 1)
        if tokens[at].is_number and len(word) in {3, 4} and (branded or plain):
            return Mark("card", frozenset(), at, at + 1)
        family = word.rstrip("0123456789.")
        if family in _stranger_families() and family not in self._families:
            return Mark("model", frozenset(), at, at + 1)
        return None

    def _of_size(self, digits: str) -> frozenset[Any]:
        """Return the one model that has so many billions of parameters; nothing where none or several have."""
        count = float(digits.replace(",", "")) * 1e9 if digits.count(".") == 1 and digits.isascii() else 0.0
        found = [model for model, size in self.sizes.items() if abs(size - count) <= _ROUNDING * size]
        return frozenset({(found[0], None)}) if len(found) == 1 else frozenset()

    def _said(self, tokens: Sequence[Token], taken: set[int]) -> Iterator[Mark]:
        at = 0
        while at < len(tokens):
            found = None if at in taken else words().marks.at(tokens, at)
            if not found:
                at += 1
                continue
            for kind in ("precision", "quantity", "flag"):
                values = [value for known, value in found[1] if known == kind]
                meant = frozenset().union(*values) if kind == "precision" else frozenset(values)
                if meant:
                    yield Mark(kind, meant, at, found[0])
            for known, value in found[1]:
                if known == "pointer":
                    yield from self._pointed(value, at, found[0])
            at = found[0] if found[0] - at > 1 else at + 1

    def _pointed(self, pointer: str, first: int, last: int) -> Iterator[Mark]:
        """Resolve "the second model", "вторая карта", "the bigger one"."""
        kind, _, which = pointer.partition("_")
        if kind == "card":
            yield Mark("index", frozenset({int(which)}), first, last)
            return
        if which.isdigit():
            if len(self.parts) > int(which) or len(self.parts) > 1:
                yield Mark("model", frozenset(self.parts[int(which) : int(which) + 1]), first, last)
            return
        ranked = sorted({model for model, _ in self.parts}, key=lambda model: self.sizes.get(model, 0))
        if len(ranked) < 2:
            return
        chosen = {"largest": ranked[-1:], "smallest": ranked[:1]}.get(which, ranked)
        yield Mark("model", frozenset((model, None) for model in chosen), first, last)


def _is_amount(tokens: Sequence[Token], first: int, last: int) -> bool:
    """Tell "3090 MiB" and "30B parameters" from the names "3090" and "30B"."""
    if not tokens[first].is_number:
        return False
    if last - first == 2 and tokens[first + 1].text in _SIZES:
        return last < len(tokens) and tokens[last].text in _PUBLISHED
    found = words().units.at(tokens, last) if last - first == 1 else None
    return bool(found and found[1][0] not in {"cards", "copies", "requests", "seconds"})


def _model_names(name: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Return what people call a model: any part of its name with its size, and its family."""
    size = next((at for at in range(1, len(name)) if name[at] in _SIZES and name[at - 1][0].isdigit()), None)
    family = name[0].rstrip("0123456789.") or name[0]
    if size is None:
        yield from (tuple(name[:end]) for end in range(1, len(name) + 1))
        return
    for start in range(size):
        yield from (tuple(name[start:end]) for end in range(size + 1, len(name) + 1))
    number = (name[size - 1], name[size])
    version = name[0][len(family) :]
    for spelling in _spellings(family):
        yield from ((spelling,), (spelling + version,), (spelling, number[0]), (spelling, *number))
        if version:
            yield from ((spelling, version, *number), (spelling + version, *number))
    yield (number[0], "б")
    yield (family, *name[1:])


@cache
def _reader_names() -> dict[str, Any]:
    return json.loads((resources.files("agent.reader") / "data" / "names.json").read_text(encoding="utf-8"))


@cache
def _spellings(family: str) -> tuple[str, ...]:
    spoken = {"qwen": ("квен", "квэн"), "llama": ("лама", "ллама"), "mistral": ("мистраль",), "gemma": ("гемма",)}
    return (family, *spoken.get(family, ()))


@cache
def _stranger_cards() -> frozenset[str]:
    return frozenset(code for code in _reader_names()["gpus"]["codes"] if code.isalnum() and not code[0].isdigit())


@cache
def _stranger_families() -> frozenset[str]:
    names = _reader_names()
    weak = set(names["rules"]["weak"])
    return frozenset(name for name in names["families"] if name.isalpha() and name not in weak and len(name) > 3)


def _code(name: Sequence[str]) -> int:
    """Return where in a card's name the word stands that tells it from others."""
    return next(
        (
            at
            for at, word in enumerate(name)
            if any(c.isdigit() for c in word) and (name[at + 1 : at + 2] or [""])[0] not in _TAILS
        ),
        0,
    )


def _parts_with(name: Sequence[str], code: int) -> Iterator[tuple[str, ...]]:
    for start in range(code + 1):
        for end in range(code + 1, len(name) + 1):
            yield tuple(name[start:end])
