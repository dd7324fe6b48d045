"""What a message asks to remember or to forget. Only the asker's own words count, never a page's or a model's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.memory import MAX_NAME_CHARS
from agent.reader import read
from agent.reader.quants import find_precisions
from agent.reader.sheet import Sheet, Word
from agent.recall.lexicon import keys_in, places_in, places_of, recall_words, sheet_of
from tools.domain import Reading

_MAX_CHARS = 400
"""A longer message is a story, a log or a paste, and asks for nothing to be remembered."""
_NAME_WORDS = 4
_QUOTED = re.compile(r"[«\"“„]([^«»\"“”„]{1,40})[»\"”“]")
_CLAUSE = re.compile(r"[,.!?;:\n()]")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with memory.

    Attributes:
        kind: remember hardware, remember preferences, forget hardware, or say what is remembered.
        name: of the hardware.
        liked: preferences by the words of ``agent.memory.LIKED``.
        alone: the message asks for nothing else.
    """

    kind: Literal["rig", "prefer", "forget", "list"]
    name: str = ""
    liked: dict[str, Any] = field(default_factory=dict[str, Any])
    alone: bool = True


def wish_in(text: str, language: str) -> Wish | None:
    """Return what a message wants of memory, or None.

    >>> wish_in("remember this as home", "en").name
    'home'
    >>> wish_in("запомни: дома у меня 2x3090", "ru").name
    'домашний'
    """
    if len(text) > _MAX_CHARS:
        return None
    sheet = sheet_of(text)
    keys = keys_in(sheet)
    if "list" in keys:
        return Wish("list")
    if not keys.keys() & {"remember", "prefer", "forget"}:
        return None
    said = read([text])
    alone = not said.models and "?" not in text
    if "forget" in keys and alone:
        name = _spoken_name(sheet, keys["forget"].end, text)
        return Wish("forget", name) if name else None
    if "remember" in keys:
        name = _name(sheet, keys, text, language, said)
        if name:
            return Wish("rig", name, alone=alone)
    liked = _liked(sheet, said) if alone else {}
    return Wish("prefer", liked=liked) if liked else None


def _name(sheet: Sheet, keys: dict[str, Any], text: str, language: str, said: Reading) -> str:
    """Return what hardware is to be called; empty where none is meant."""
    after = [hit for hit in recall_words().phrases.find(sheet.words) if hit.key == "as"]
    after = [hit for hit in after if hit.end > keys["remember"].start]
    if after:
        name = _spoken_name(sheet, after[0].end, text)
        called = " " in sheet.low[after[0].start : after[0].end]  # "назови это домашним": the name is inflected
        places = sorted(places_of(name)) if called and " " not in name else []
        return recall_words().places[places[0]].name[language] if places else name
    places = places_in(sheet)
    if places:
        return recall_words().places[places[0]].name[language]
    means_hardware = said.gpus or said.wants_this_machine or ("this" in keys and not _liked(sheet, said))
    return recall_words().unnamed[language] if means_hardware else ""


def _spoken_name(sheet: Sheet, start: int, text: str) -> str:
    """Return the name that follows: what stands in quotes, else the next words up to the clause's end."""
    quoted = _QUOTED.search(text)
    if quoted:
        return quoted.group(1).strip()
    words: list[Word] = []
    for word in (w for w in sheet.words if w.start >= start):
        stop = _CLAUSE.search(sheet.low[words[-1].end : word.start]) if words else None
        if stop or word.text == "?" or (words and word.text in recall_words().end) or len(words) == _NAME_WORDS:
            break
        if words or word.text not in recall_words().drop:
            words.append(word)
    return sheet.text[words[0].start : words[-1].end][:MAX_NAME_CHARS].strip() if words else ""


def _liked(sheet: Sheet, said: Reading) -> dict[str, Any]:
    """Return the preferences that a message states."""
    liked: dict[str, Any] = {}
    if said.engine:
        liked["engine"] = said.engine
    if said.context:
        liked["context"] = said.context
    precisions = find_precisions(sheet)
    if len(precisions) == 1:
        liked["precision"] = precisions[0].said
    spoken = [hit.key for hit in recall_words().spoken.find(sheet.words)]
    if spoken:
        liked["language"] = spoken[0]
    return liked


def names_place(name: str, places: tuple[str, ...]) -> bool:
    """Whether hardware of that name stands at one of the places."""
    return bool(places_of(name) & set(places))


__all__ = ["Wish", "names_place", "wish_in"]
