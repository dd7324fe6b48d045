"""Slips of the keyboard: words typed with the other layout on ("dktptn" is "влезет"), or spelled in Latin letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.reader.lazy import Lazy

_TOKEN = Lazy(r"(?<![^\s(\"])[^\s\d]+")
_WORD = Lazy(r"(?<![\w./@-])[^\W\d_]+(?![./@_-]|[^\W\d_])")
_UNIT = Lazy(r"(?<=\d)[^\W\d_](?![^\W_])")
_EDGES = re.compile(r"^[(\"]+|[?!)\"]+$")
_PROOF = 4
"""A word of so many letters proves a slip; shorter ones are mended beside it."""
_STEM = 3
"""What is spelled in Latin letters, and a stem that more may follow, has at least so many letters."""
_REST = 5
"""What may follow a stem has at most so many letters."""
_SPELLED_PROOFS = 2
"""So many words prove that a text is spelled in Latin letters: one may be a name."""

Reading = Callable[[str], "str | None"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one language that its file lists: whole ones and stems."""

    whole: frozenset[str]
    stems: frozenset[str]

    @classmethod
    def of(cls, phrases: Iterable[str], stems: Iterable[str] = ()) -> Vocabulary:
        """Collect the words of phrases (``fit*``, ``a|b``, ``карт~``) and stems that stand in lists of their own."""
        parts = {one for phrase in phrases for part in phrase.split() for one in part.split("|")}
        open_ended = {one[:-1] for one in parts if one[-1:] in {"*", "~"}} | set(stems)
        return cls(
            frozenset(one for one in parts | set(stems) if one.isalpha()),
            frozenset(one for one in open_ended if len(one) >= _STEM),
        )

    def knows(self, word: str) -> bool:
        """Whether the word or a stem of it is listed."""
        return word in self.whole or any(
            word[:at] in self.stems for at in range(max(_STEM, len(word) - _REST), len(word) + 1)
        )


@dataclass(frozen=True, slots=True)
class Script:
    """A language with letters of its own: its keys, and its spelling in Latin letters."""

    vocabulary: Vocabulary
    keys: Mapping[int, Any]
    latin_keys: Mapping[int, Any]
    spellings: tuple[tuple[str, str], ...]
    spelled: Mapping[str, str]
    own_letters: Mapping[int, Any]

    @classmethod
    def of(cls, table: Mapping[str, Any], vocabulary: Vocabulary) -> Script:
        """Read the tables ``keyboard``, ``latin`` and ``latin_spellings`` of a language's file."""
        own, latin = table["keyboard"]
        letters = str.maketrans(table["latin"])
        words = sorted(vocabulary.whole | vocabulary.stems, key=len, reverse=True)
        return cls(
            vocabulary,
            str.maketrans(latin, own),
            str.maketrans(own, latin),
            tuple((written, plain) for written, plain in table["latin_spellings"]),
            {word.translate(letters): word for word in words},
            str.maketrans({plain: own for own, plain in reversed(table["latin"].items()) if len(plain) == 1}),
        )

    def typed(self, word: str) -> str | None:
        """Return the word of this language whose keys were struck with the Latin layout on."""
        said = word.translate(self.keys) if word.isascii() else ""
        return said if said.isalpha() and self.vocabulary.knows(said) else None

    def written(self, word: str) -> str | None:
        """Return the word of this language that is spelled in Latin letters ("skolko")."""
        for spelling, plain in self.spellings:
            word = word.replace(spelling, plain)
        for at in range(len(word), max(_STEM, len(word) - _REST) - 1, -1):
            found = self.spelled.get(word[:at])
            if found and (at == len(word) or found in self.vocabulary.stems):
                return found + word[at:].translate(self.own_letters)
        return None


def mend(text: str, scripts: Iterable[Script], latin: Vocabulary, is_name: Callable[[str], object]) -> str:
    """Put right what was typed with the wrong layout on, or spelled in Latin letters.

    Args:
        text: normalised.
        scripts: the languages that have letters of their own.
        latin: the words of the others.
        is_name: whether a Latin word is a name (a family of models, an engine).

    Returns:
        The text with the slips mended that one long word at least proves; else the text as it is.
    """

    def known(word: str) -> bool:
        return latin.knows(word) or bool(is_name(word))

    for script in scripts:
        own = not text.isascii()
        if not own:
            text = _mended(text, _WORD, script.written, known, proofs=_SPELLED_PROOFS)
        text = _mended(text, _TOKEN, script.typed, known, proofs=1)
        if own:
            text = _mended_latin(text, script, known)
    return text


def _mended_latin(text: str, script: Script, known: Callable[[str], bool]) -> str:
    """Mend Latin words whose keys were struck with the layout of the script on ("цшдд" is "will")."""
    mended = _mended(text, _TOKEN, lambda word: _struck(word, script, known), script.vocabulary.knows, proofs=1)
    return text if mended == text else _UNIT.sub(lambda unit: unit.group().translate(script.latin_keys), mended)


def _struck(word: str, script: Script, known: Callable[[str], bool]) -> str | None:
    """Return the Latin word whose keys were struck with the layout of the script on."""
    said = word.translate(script.latin_keys) if not word.isascii() else ""
    return said if len(said) >= _STEM and said.isascii() and known(said) else None


def _mended(text: str, tokens: Lazy, read: Reading, known: Callable[[str], bool], *, proofs: int) -> str:
    found: dict[str, str] = {}
    for word in map(_bare, tokens.findall(text)):
        if word and word not in found and not known(word) and (said := read(word)):
            found[word] = said
    if sum(len(word) >= _PROOF for word in found) < proofs:
        return text
    return tokens.sub(lambda token: _put(token.group(), found), text)


def _bare(token: str) -> str:
    return _EDGES.sub("", token.lower())


def _put(token: str, found: Mapping[str, str]) -> str:
    word = _bare(token)
    return token.lower().replace(word, found[word]) if word in found else token
