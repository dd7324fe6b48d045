"""What people ask beyond sizes: short explained terms with sources, found by how people name them.

Entries are data in ``prompts/knowledge/*.toml``: names in both languages, an answer in each, sources, related entries,
and the arithmetic behind every figure (``worked``, which the tests compute).
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import prompts

VLLM_VERSION = "0.32.0"
VLLM_SOURCE = f"https://github.com/vllm-project/vllm/blob/v{VLLM_VERSION}/vllm/"
"""What ``vllm:`` stands for in a source's address: the release that the answers were read from."""
MAX_QUESTION = 400
"""Characters of a question that are read."""
SHOWN = 2
"""Entries an answer has at most: a question on a difference may name two."""
NAMED = 0.75
"""Part of a name's weight that a question must hold to be about it."""
_CLOSE = 82
"""Likeness (rapidfuzz ``ratio``, 0-100) of two words of four letters and more that are forms of one word."""
_COMMON_WORDS = (
    "a an the is are was what whats why how does do did i my me to of in on for and or not it its be can you we with "
    "from than that this there when which explain tell about mean means difference between need please work works vs "
    "что такое это как почему зачем чем чём отличается отличие разница между и или не в на с у к от по для мне мой моя "
    "ли объясни расскажи про о об значит означает нужен нужна нужно работает а же бы то так вообще"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_WORD = re.compile(r"[a-zа-я0-9]+")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer was read: ``supports`` says which part of it, ``read`` which version and when."""

    title: str
    url: str
    supports: str
    read: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One explained term; ``names`` and ``answer`` are by language, the first name is its title.

    ``models`` are hub ids of the models that serve as its examples. ``outside`` tells that Rigfit does not compute it:
    ``always``, or ``alone`` where a question that also names a model is about running that one.
    """

    id: str
    names: Mapping[str, tuple[str, ...]]
    answer: Mapping[str, str]
    sources: tuple[Source, ...]
    related: tuple[str, ...]
    worked: tuple[str, ...]
    models: tuple[str, ...] = ()
    outside: str = ""

    def title(self, language: str) -> str:
        """Return the entry's title."""
        return self.names[language][0]


@dataclass(frozen=True, slots=True)
class Match:
    """An entry found, how much of the question it explains (``score``), and whether the question names it."""

    entry: Entry
    score: float
    named: bool


@cache
def entries() -> Mapping[str, Entry]:
    """Return all entries by id."""
    folder = os.path.join(os.path.dirname(prompts.__file__), "knowledge")
    found: dict[str, Entry] = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".toml"):
            with open(os.path.join(folder, name), "rb") as file:
                found.update((key, _entry(key, data)) for key, data in tomllib.load(file).items())
    return found


def _entry(key: str, data: Mapping[str, Any]) -> Entry:
    return Entry(
        id=key,
        names={language: tuple(map(str, data[language])) for language in prompts.LANGUAGES},
        answer={language: " ".join(str(data[f"answer_{language}"]).split()) for language in prompts.LANGUAGES},
        sources=tuple(_source(*map(str, source)) for source in data["sources"]),
        related=tuple(map(str, data.get("related", ()))),
        worked=tuple(map(str, data.get("worked", ()))),
        models=tuple(map(str, data.get("models", ()))),
        outside=str(data.get("outside", "")),
    )


def _source(title: str, url: str, supports: str, read: str = "") -> Source:
    """Return a source; ``vllm:`` addresses are files of one release, which is what was read."""
    of_vllm = url.startswith("vllm:")
    return Source(title, url.replace("vllm:", VLLM_SOURCE, 1), supports, VLLM_VERSION if of_vllm else read)


def find(question: str) -> tuple[Match, ...]:
    """Return the entries a question is about, best first, at most ``SHOWN``; none where it is about none of them.

    Args:
        question: in English or Russian, with slips; only its first ``MAX_QUESTION`` characters are read.
    """
    index = _index()
    words = _words(question)
    asked = [word for word in words if word not in _COMMON]
    if not asked:
        return ()
    ranked = sorted((index.match(key, words, asked) for key in entries()), key=lambda m: (-m.named, -m.score))
    best = ranked[0]
    if not best.named and best.score < index.enough(asked):
        return ()
    second = [m for m in ranked[1:SHOWN] if m.named and best.named and _apart(best, m, words)]
    return (best, *second)


def is_outside(name: str) -> bool:
    """Tell whether a name is that of something Rigfit does not compute: "Whisper", "FLUX"."""
    low = " ".join(_words(name))
    return bool(low) and any(
        low == " ".join(_words(said)) for entry in entries().values() if entry.outside for said in _all_names(entry)
    )


def _apart(best: Match, other: Match, words: list[str]) -> bool:
    """Whether a question names another entry besides: in words that the best one's name has no part in."""
    taken = {w for names in best.entry.names.values() for n in names for w in _words(n)}
    return any(_index().held(_words(n), [w for w in words if w not in taken]) >= 1 for n in _all_names(other.entry))


def _all_names(entry: Entry) -> Iterable[str]:
    return (name for names in entry.names.values() for name in names)


def _words(text: str) -> list[str]:
    low = text[:MAX_QUESTION].lower().replace("ё", "е")
    return _WORD.findall(re.sub(r"\b(tp|тп)[= ]?(\d)\b", r"\1 \2", low))


class _Index:
    """Weights of words: a word that few entries use says more of what is asked."""

    def __init__(self) -> None:
        self.names = {e.id: [_words(n) for n in _all_names(e)] for e in entries().values()}
        self.texts = {
            e.id: {w for text in (*_all_names(e), *e.answer.values()) for w in _words(text) if w not in _COMMON}
            for e in entries().values()
        }
        self._counts: dict[str, int] = {}
        for words in self.texts.values():
            for word in words:
                self._counts[word] = self._counts.get(word, 0) + 1

    def weight(self, word: str) -> float:
        """Return how much a word tells; common ones next to nothing."""
        if word in _COMMON:
            return 0.05
        return math.log(1 + len(self.texts) / self._counts.get(word, 1))

    def held(self, name: list[str], words: list[str]) -> float:
        """Return the part of a name's weight that words hold, 0 to 1."""
        total = sum(self.weight(word) for word in name)
        return sum(self.weight(w) for w in name if _has(words, w)) / total if total else 0.0

    def match(self, key: str, words: list[str], asked: list[str]) -> Match:
        """Weigh a question against an entry: its best held name, and its vocabulary."""
        named, score = False, 0.0
        for name in self.names[key]:
            held = self.held(name, words)
            if held >= NAMED:
                named = True
                score = max(score, held * held * sum(self.weight(w) for w in name if _has(words, w)))
        text = sum(self.weight(w) for w in asked if _has(self.texts[key], w))
        of_names = {w for name in self.names[key] for w in name if w not in _COMMON}
        text += sum(self.weight(w) for w in asked if _has(of_names, w))
        return Match(entries()[key], score + 0.3 * text, named)

    def enough(self, asked: list[str]) -> float:
        """Return the score from which a question that names nothing is still about an entry."""
        return 0.3 * 0.9 * sum(math.log(1 + len(self.texts)) for _ in asked[:6]) + 0.5


@cache
def _index() -> _Index:
    return _Index()


def _has(words: Iterable[str], word: str) -> bool:
    """Whether a word or a form of it is among words; short words and numbers must be the same."""
    if word in words:
        return True
    if len(word) < 4 or word.isdigit():
        return False
    from rapidfuzz import fuzz

    return any(len(w) >= 4 and w[:2] == word[:2] and fuzz.ratio(w, word) >= _CLOSE for w in words)
