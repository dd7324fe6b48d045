"""The words by which figures are understood, from the data files beside this module, and how they are found in text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from prompts import LANGUAGES

_DATA = Path(__file__).with_name("data")
_TOKEN = re.compile(
    r"(?<![\w.,])\d{1,3}(?:[\u00a0\u202f ,]\d{3})+(?![\d,])(?:\.\d{1,9})?"
    r"|\d{1,20}(?:[.,]\d{1,9})?"
    r"|[^\W\d_][^\W_]*(?:\.\d{1,4}(?![^\W]))?"
    r"|[^\s\w]|_|\w"
)
_SHORTEST_STEM, _LONGEST_WORD = 2, 40


@dataclass(frozen=True, slots=True)
class Token:
    """A number, a word or a sign: lower case, with its span in characters; ``glued`` to what stands before it."""

    text: str
    start: int
    end: int
    glued: bool

    @property
    def is_number(self) -> bool:
        """Whether it is written in digits."""
        return self.text[0].isdigit()


def tokens_of(text: str) -> list[Token]:
    """Split a text; marks of emphasis and code are left out.

    >>> [t.text for t in tokens_of("**Qwen3-30B**: 56.9 GiB")]
    ['qwen3', '-', '30', 'b', ':', '56.9', 'gib']
    """
    found: list[Token] = []
    end = -1
    for match in _TOKEN.finditer(text):
        word = match.group()
        if word in "*`\\":
            continue
        found.append(Token(word.lower().replace("ё", "е"), match.start(), match.end(), match.start() == end))
        end = match.end()
    return found


@dataclass(slots=True)
class Phrases:
    """Phrases with what each means, found word by word from a place in a text; the longest wins.

    A word that ends in ``*`` stands for all that begin so. ``skipped`` signs may stand between the words of a phrase.
    """

    skipped: frozenset[str] = frozenset()
    _root: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, phrase: Iterable[str], meaning: Any) -> None:
        """Learn a phrase; one that is known already means all that it was given, as a set where both are sets."""
        node = self._root
        for word in phrase:
            node = node.setdefault(word, {})
        known = node.get("")
        node[""] = known | meaning if isinstance(known, frozenset) and isinstance(meaning, frozenset) else meaning

    def add_text(self, phrase: str, meaning: Any) -> None:
        """Learn a phrase as it is written in a data file."""
        words: list[str] = []
        for token in tokens_of(phrase.replace("*", "\u2217")):
            if token.text == "\u2217" and words:
                words[-1] += "*"
            elif token.text not in self.skipped:
                words.append(token.text)
        self.add(words, meaning)

    def at(self, tokens: Sequence[Token], start: int) -> tuple[int, Any] | None:
        """Return where the longest phrase that begins at a token ends, and what it means."""
        return self._longest(self._root, tokens, start, start)

    def _longest(
        self, node: Mapping[str, Any], tokens: Sequence[Token], start: int, place: int
    ) -> tuple[int, Any] | None:
        best = (place, node[""]) if "" in node else None
        if place < len(tokens):
            word = tokens[place].text
            found = [self._longest(following, tokens, start, place + 1) for following in _next(node, word)]
            if word in self.skipped and place > start and word not in node:
                found.append(self._longest({k: v for k, v in node.items() if k}, tokens, start, place + 1))
            for other in found:
                if other and other[1] is not None and (best is None or other[0] > best[0]):
                    best = other
        return best


def _next(node: Mapping[str, Any], word: str) -> Iterator[Mapping[str, Any]]:
    """Yield what follows a word in a phrase: the word itself, and the beginnings that stand for it."""
    if word in node:
        yield node[word]
    for length in range(min(len(word), _LONGEST_WORD), _SHORTEST_STEM - 1, -1):
        if (stem := f"{word[:length]}*") in node:
            yield node[stem]


@dataclass(frozen=True, slots=True)
class Words:
    """Everything known of words, all languages together: answers mix them.

    Attributes:
        units: what a unit counts and its size in base units.
        thousands: what a number is multiplied by, where several are possible all of them.
        numbers: numbers in letters.
        marks: quantities, precisions, pointers and flags, each as ``(kind, value)``.
        sets: words by what they are used for (``join``, ``stop``, ``attach``, ``about`` ...).
        brands: what stands before the number of a card.
    """

    units: Phrases
    thousands: Phrases
    numbers: Mapping[str, int]
    marks: Phrases
    sets: Mapping[str, frozenset[str]]
    brands: frozenset[str]


FLAGS = ("together", "each", "earlier", "not_earlier")


@cache
def words() -> Words:
    """Load the data files."""
    files = [tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8")) for name in ("common", *LANGUAGES)]
    found = Words(Phrases(frozenset({"-"})), Phrases(), {}, Phrases(frozenset({"-"})), {}, frozenset())
    sets: dict[str, set[str]] = {}
    numbers: dict[str, int] = {}
    for data in files:
        for unit, (kind, size) in data["units"].items():
            found.units.add_text(unit, (kind, float(size)))
        for word, factors in data["thousands"].items():
            found.thousands.add_text(word, tuple(factors))
        numbers.update(data.get("numbers", {}))
        for phrase, kind, value in _marks(data):
            found.marks.add_text(phrase, frozenset({(kind, value)}))
        for name, listed in data.get("words", {}).items():
            sets.setdefault(name, set()).update(listed)
    return Words(
        found.units, found.thousands, numbers, found.marks, _frozen(sets), frozenset(files[0]["brands"]["words"])
    )


def _frozen(sets: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(listed) for name, listed in sets.items()}


def _marks(data: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for word, codes in data.get("precisions", {}).items():
        yield word, "precision", frozenset(codes)
    for name, phrases in data.get("quantities", {}).items():
        yield from ((phrase, "quantity", name) for phrase in phrases)
    for name, phrases in data.get("pointers", {}).items():
        yield from ((phrase, "pointer", name) for phrase in phrases)
    for name in FLAGS:
        yield from ((phrase, "flag", name) for phrase in data.get("words", {}).get(name, ()))
