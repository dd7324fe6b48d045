"""The words of each language and the phrases made of them, from the data files beside this module."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.reader.sheet import Word
from agent.reader.slips import Script, Vocabulary, mend

_DATA = Path(__file__).with_name("data")
_LISTED = ("words", "numbers", "phrases", "kinds", "askers", "nouns", "words_after_family")
_STEMS = ("families", "sizes")
_GAPS = {"..": 4, "...": 12}
"""Words that a gap in a phrase may stand for, at most."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found in a text: under which key it is listed, and its span in characters."""

    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases by the first two letters of their first word, so that a text is read in one pass."""

    by_start: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]
    fillers: frozenset[str] = frozenset()
    """Words that may stand between those of a phrase and change nothing ("what can I [realistically] run")."""

    @classmethod
    def of(cls, tables: Sequence[Mapping[str, Sequence[str]]], fillers: frozenset[str] = frozenset()) -> Phrases:
        """Index tables of ``key -> phrases``."""
        index: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for table in tables:
            for key, phrases in table.items():
                for phrase in phrases:
                    parts = tuple(phrase.split())
                    for first in parts[0].removeprefix("^").split("|"):
                        index.setdefault(first[:2], []).append((key, parts))
        return cls({start: tuple(dict.fromkeys(found)) for start, found in index.items()}, fillers)

    def find(self, words: Sequence[Word]) -> Iterator[Hit]:
        """Yield every phrase of the text, in order of where it starts."""
        for at, word in enumerate(words):
            for key, parts in self.by_start.get(word.text[:2], ()):
                end = _match(parts, words, at, self.fillers)
                if end is not None:
                    yield Hit(key, word.start, words[end - 1].end)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Everything the rules know of names and words, all languages together: questions mix them freely."""

    numbers: Mapping[str, int]
    words: Mapping[str, frozenset[str]]
    families: Mapping[str, str]
    stems: Mapping[str, str]
    endings: tuple[str, ...]
    after_family: Mapping[str, str]
    size_nouns: Mapping[str, float]
    names: Mapping[str, Any]
    phrases: Phrases
    kinds: Phrases
    askers: Phrases
    nouns: Phrases
    measures: Phrases
    cues: Phrases
    feared: Phrases
    asked: Mapping[str, Mapping[str, str]]
    measured: Mapping[str, Mapping[str, str]]
    alone: Mapping[str, str]
    weights: Mapping[str, float]
    reach: Mapping[str, float]
    passing: frozenset[str]
    scripts: tuple[Script, ...]
    latin: Vocabulary

    def mended(self, text: str) -> str:
        """Return a normalised text with slips of the keyboard put right."""
        return mend(text, self.scripts, self.latin, self._is_name)

    def _is_name(self, word: str) -> bool:
        names = self.names
        return bool(self.family(word)) or word in names["gpus"]["codes"] or word in names["engines"]

    def is_a(self, kind: str, word: str) -> bool:
        """Whether a word is listed under a kind (``gpu``, ``ram``, ``users``, ...)."""
        known = self.words[kind]
        return word in known or (not word.isascii() and any(stem + "~" in known for stem in self._stems(word)))

    def number(self, word: str) -> int | None:
        """Return the whole number that a word or digits stand for."""
        return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else self.numbers.get(word)

    def family(self, word: str) -> str | None:
        """Return the family that a word names, in any inflection."""
        found = self.families.get(word) or self.families.get(word.removesuffix("s"))
        if found or word.isascii():
            return found
        return self._by_stem(self.stems, word)

    def size_noun(self, word: str) -> float | None:
        """Return the size in billions that a noun such as "семерка" stands for."""
        return None if word.isascii() else self._by_stem(self.size_nouns, word)

    def _by_stem(self, table: Mapping[str, Any], word: str) -> Any:
        return next((table[stem] for stem in self._stems(word) if stem in table), None)

    def _stems(self, word: str) -> Iterator[str]:
        """Yield what a word may be the inflection of."""
        return (word[: len(word) - len(ending)] for ending in self.endings if word.endswith(ending))


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that have a file of words: adding a language is adding its file."""
    return tuple(sorted(path.stem for path in (_DATA / "languages").glob("*.json")))


@cache
def lexicon() -> Lexicon:
    """Read the data files once."""
    files = [_table(f"languages/{language}") for language in languages()]
    names, intents = _table("names"), _table("intents")
    fillers = frozenset(word for file in files for word in file["fillers"])
    return Lexicon(
        numbers={word: int(number) for file in files for word, number in _inverted(file["numbers"]).items()},
        words={
            kind: frozenset(w for file in files for w in file["words"].get(kind, ())) for kind in _keys(files, "words")
        },
        families=names["families"],
        stems=_joined(files, "families"),
        endings=tuple(dict.fromkeys(ending for file in files for ending in file.get("endings", ()))),
        after_family=_joined(files, "words_after_family"),
        size_nouns={stem: float(size) for stem, size in _joined(files, "sizes").items()},
        names=names,
        phrases=Phrases.of([file["phrases"] for file in files]),
        kinds=Phrases.of([file["kinds"] for file in files]),
        askers=Phrases.of([file["askers"] for file in files], fillers),
        nouns=Phrases.of([file["nouns"] for file in files]),
        measures=Phrases.of([file["measures"] for file in files]),
        cues=Phrases.of([_weighted(file["cues"]) for file in files], fillers),
        feared=Phrases.of([{"feared": file["feared"]} for file in files]),
        asked=intents["asked"],
        measured=intents["measured"],
        alone=intents["alone"],
        weights=intents["weights"],
        reach=intents["reach"],
        passing=frozenset(intents["passing"]),
        scripts=tuple(Script.of(file, _vocabulary(file)) for file in files if "keyboard" in file),
        latin=_vocabulary(*(file for file in files if "keyboard" not in file)),
    )


def _vocabulary(*files: Mapping[str, Any]) -> Vocabulary:
    """Return every word that files of languages list."""
    lists = [lst for file in files for section in _LISTED for lst in file.get(section, {}).values()]
    cued = [lst for file in files for weights in file["cues"].values() for lst in weights.values()]
    stems = [stem for file in files for section in _STEMS for lst in file.get(section, {}).values() for stem in lst]
    return Vocabulary.of((phrase for lst in lists + cued for phrase in lst), stems)


def _keys(files: Sequence[Mapping[str, Any]], table: str) -> frozenset[str]:
    return frozenset(key for file in files for key in file[table])


def _joined(files: Sequence[Mapping[str, Any]], table: str) -> dict[str, str]:
    return {word: key for file in files for word, key in _inverted(file.get(table, {})).items()}


def _weighted(cues: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, Sequence[str]]:
    return {f"{intent} {weight}": phrases for intent, of in cues.items() for weight, phrases in of.items()}


def _table(name: str) -> dict[str, Any]:
    return json.loads((_DATA / f"{name}.json").read_bytes())


def _inverted(table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {word: key for key, words in table.items() for word in words}


def _match(parts: Sequence[str], words: Sequence[Word], at: int, fillers: frozenset[str]) -> int | None:
    """Return the index after the last matched word, or None."""
    for number, part in enumerate(parts):
        if part in _GAPS:
            rest = parts[number + 1 :]
            ends = (_match(rest, words, at + skip, fillers) for skip in range(_GAPS[part] + 1))
            return next((end for end in ends if end is not None), None)
        if part[0] == "^":
            if at >= len(words) or not words[at].first:
                return None
            part = part[1:]
        if number and at + 1 < len(words) and words[at].text in fillers and not _is_any(part, words[at].text):
            at += 1
        if at >= len(words) or not _is_any(part, words[at].text):
            return None
        at += 1
    return at


def _is_any(part: str, word: str) -> bool:
    return any(_is(pattern, word) for pattern in part.split("|"))


def _is(pattern: str, word: str) -> bool:
    if pattern[0] == "*":
        return word.endswith(pattern[1:])
    if pattern[-1] == "*":
        return word.startswith(pattern[:-1])
    return pattern == word or pattern == "_" or (pattern == "#" and word[0].isdigit())
