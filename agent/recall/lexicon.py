"""How people speak of what is remembered, from a file of words for each language beside this module."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.reader.lexicon import Hit, Phrases
from agent.reader.normalise import normalise
from agent.reader.sheet import Sheet, Word

_WORDS = Path(__file__).with_name("words")
_ENDINGS = (
    "ыми", "ими", "ого", "его", "ому", "ему", "ами", "ями",
    "ый", "ий", "ой", "ая", "яя", "ое", "ее", "ым", "им", "ом", "ем", "ую", "юю", "ей", "ые", "ие", "ых", "их", "ах",
    "а", "у", "ы", "и", "е", "о", "я", "ю", "ь",
)  # fmt: skip
"""Endings of Russian nouns and adjectives, longer ones first, so that a name is known in every case."""
_STEM_CHARS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of place that hardware is named after ("home").

    Attributes:
        name: what hardware there is called where the asker gave no name, by language.
    """

    key: str
    name: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecallWords:
    """All languages together: questions mix them freely."""

    phrases: Phrases
    said: Phrases
    names: Phrases
    places: Mapping[str, Place]
    spoken: Phrases
    before: frozenset[str]
    drop: frozenset[str]
    end: frozenset[str]
    never_after: frozenset[str]
    unnamed: Mapping[str, str]


@cache
def recall_words() -> RecallWords:
    """Read the files once."""
    files = {path.stem: json.loads(path.read_bytes()) for path in sorted(_WORDS.glob("*.json"))}
    every = list(files.values())
    keys = {key for file in every for key in file["places"]}
    return RecallWords(
        phrases=Phrases.of([file["phrases"] for file in every]),
        said=Phrases.of([_of_places(file, "said") for file in every]),
        names=Phrases.of([_of_places(file, "names") for file in every]),
        places={key: Place(key, {lang: files[lang]["places"][key]["name"] for lang in files}) for key in keys},
        spoken=Phrases.of([{lang: file["languages"]} for lang, file in files.items()]),
        before=frozenset(word for file in every for word in file["before"]),
        drop=frozenset(word for file in every for word in file["drop"]),
        end=frozenset(word for file in every for word in file["end"]),
        never_after=frozenset(word for file in every for word in file["never_after"]),
        unnamed={lang: file["unnamed"] for lang, file in files.items()},
    )


def _of_places(file: Mapping[str, Any], table: str) -> dict[str, list[str]]:
    return {key: place[table] for key, place in file["places"].items()}


def sheet_of(text: str) -> Sheet:
    """Lay a message out in words, spelled one way."""
    return Sheet.of(normalise(text))


def keys_in(sheet: Sheet) -> dict[str, Hit]:
    """Return what a message speaks of, each with where it first does."""
    found: dict[str, Hit] = {}
    follows = {after.start: before.text for before, after in pairwise(sheet.words)}
    for hit in recall_words().phrases.find(sheet.words):
        if hit.key != "remember" or follows.get(hit.start) not in recall_words().never_after:
            found.setdefault(hit.key, hit)
    return found


def places_in(sheet: Sheet) -> tuple[str, ...]:
    """Return the places a message speaks of."""
    return tuple(dict.fromkeys(hit.key for hit in recall_words().said.find(sheet.words)))


def places_of(name: str) -> frozenset[str]:
    """Return the places that a name speaks of.

    >>> sorted(places_of("work server"))
    ['server', 'work']
    """
    return frozenset(hit.key for hit in recall_words().names.find(sheet_of(name).words))


def stems(words: tuple[Word, ...]) -> Iterator[str]:
    """Yield words without their endings.

    >>> list(stems(sheet_of("на моём стенде").words))
    ['на', 'моем', 'стенд']
    """
    for word in words:
        ending = next((e for e in _ENDINGS if word.text.endswith(e) and len(word.text) - len(e) > _STEM_CHARS), "")
        yield word.text.removesuffix(ending)
