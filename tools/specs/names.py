"""Names of models and cards as people write them, taken apart into words that can be compared.

``"Qwen/Qwen3-30B-A3B-Instruct-2507"``, ``"квен3 30б"`` and ``"qwen3:30b"`` all become a ``Name`` of family ``qwen``,
version ``3`` and size 30. Nothing here knows the catalogue; ``models.py`` decides which row a ``Name`` means.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from tools.specs.files import read_text

MAX_LENGTH = 200
"""Longest text that is looked at as a name; the longest hub id is 96 characters for each of its two parts."""

_PLAIN = re.compile(r"[\w .:/+()\-@,'×*]*")
_TYPOGRAPHY = str.maketrans({"×": "x", "’": "'", **dict.fromkeys("‐‑‒–—−", "-"), **dict.fromkeys("™®«»“”", " ")})
"""What pasted text has in place of plain letters: dashes, quotes, trade marks."""
MAX_TOLD = 3
"""Near misses that one sentence lists."""

_QUANT_WORD = re.compile(
    r"(?:(?:ud[-_])?i?q\d+(?:_[a-z0-9]+)*|\d(?:\.\d+)?[-_ ]?bits?|"
    r"\d(?:\.\d+)?bpw|w\d+a\d+(?:-int\d)?|g\d{2,3}|quantized|"
    r"awq|gptq|gguf|ggml|fp8|fp4|fp16|bf16|nf4|int[48]|nvfp4|mxfp[48]|bnb|mlx|exl[23]|autoround|dynamic|unsloth|dwq|block|"
    r"w\d+afp8|nvfp4a16|int8mix|fp8mix(?:ed)?|optiq|turboquant|hf|imatrix|marlin|sym|qat|pack|a16|w4|w8|4bit|8bit)"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(b|m|t)")
_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_VERSION = re.compile(r"v?\d+(?:\.\d+)*|[rkm]\d+(?:\.\d+)*")
_ACTIVE = re.compile(r"a\d+(?:\.\d+)?b")
_EXPERTS = re.compile(r"\d+e")
_SIZE_UNITS = {"m": 1e-3, "b": 1.0, "t": 1e3}
_PREFIXES = {"meta", "c4ai", "nvidia", "ai21"}
_SAME = {"it": "instruct", "chat": "instruct", "code": "coder", "think": "thinking", "pt": "base", "vision": "vl"}
NEUTRAL = frozenset({"instruct", "hf", "bf16", "moe"})
"""Words that do not tell one published model from the one people mean by its plain name."""


@dataclass(frozen=True, slots=True)
class Name:
    """A model name taken apart.

    Attributes:
        family: the first word (``qwen``, ``llama``, ``gpt``), or "" where there is none.
        versions: version and date words in order, without a leading ``v`` (``("3",)``, ``("r1", "0528")``).
        size_b: billions of parameters as the name states them (the total where experts are many), or None.
        words: every other word (``{"coder", "instruct", "a3b"}``).
        quant: words that name a storage format (``("gptq", "int4")``), in order.
        numbers: numbers that may be a version or a size; only the catalogue can tell.
    """

    family: str
    versions: tuple[str, ...] = ()
    size_b: float | None = None
    words: frozenset[str] = frozenset()
    quant: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


def is_plain(text: str) -> bool:
    """Tell whether ``text`` can be a name at all: short, and without shell or markup characters."""
    return 0 < len(text.strip()) <= MAX_LENGTH and _PLAIN.fullmatch(text.translate(_TYPOGRAPHY)) is not None


@cache
def _russian() -> Mapping[str, Mapping[str, str]]:
    return json.loads(read_text("russian.json"))


def _latin_word(word: str) -> str:
    """Give a Russian word's Latin counterpart: a known stem, or letter by letter where a digit stands beside it."""
    table = _russian()
    stems = table["stems"]
    for ending in ("", *table["endings"]):
        if word.endswith(ending):
            stem = word[: len(word) - len(ending)] if ending else word
            if stem in stems:
                return stems[stem]
    return "".join(table["letters"].get(letter, letter) for letter in word)


def latin(text: str) -> str:
    """Return ``text`` in lower case with Russian words turned into the Latin ones of hub names.

    Example:
        ``latin("Ламу 70Б")`` is ``"llama 70b"``; ``latin("тесла т4")`` is ``"tesla t4"``.
    """
    text = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY)).lower()
    if text.isascii():
        return text
    return re.sub(r"[а-яё]+", lambda found: _latin_word(found.group().replace("ё", "е")), text)


def tokens(text: str) -> list[str]:
    """Split a name into lower-case words: ``"Llama-3_1"`` -> ``["llama", "3.1"]``.

    Also ``"qwen3:14b"`` -> ``["qwen", "3", "14b"]``.

    A word of two letters or more is split from the digits after it; ``r1``, ``k2.5``, ``v0.3``, ``a3b`` stay whole.
    """
    text = re.sub(r"(?<=\d)_(?=\d(?!\d))", ".", latin(text)).replace("+", " plus ")
    text = re.sub(r"[\s_/:,\-@()'’*]+", " ", text)
    text = re.sub(r"(?<![a-z])([a-z]{2,})(\d)", r"\1 \2", text)
    text = re.sub(r"(\d) (b|m)\b", r"\1\2", text)
    return [word.strip(".") for word in text.split() if word.strip(".")]


def _split_quant(text: str) -> tuple[str, tuple[str, ...]]:
    """Take the words that name a storage format out of ``text``; the first word is never one."""
    pieces = re.split(r"([\s/:,\-.@()]+|_(?=[a-z]{3}))", latin(text))
    kept: list[str] = []
    quant: list[str] = []
    for piece in pieces:
        if kept and any(word.strip() for word in kept) and _QUANT_WORD.fullmatch(piece):
            quant.append(piece)
        else:
            kept.append(piece)
    return "".join(kept).strip(" -.:@"), tuple(quant)


def quant_words(text: str) -> tuple[str, ...]:
    """Return the words of a name that tell its storage format, as ``parse_name`` does, and nothing else of it."""
    return _split_quant(text.rsplit("/", 1)[-1])[1]


def parse_name(text: str) -> Name:
    """Take a model name apart; the organisation before a slash is left out.

    Args:
        text: what a person wrote, or a hub id.

    Returns:
        Its parts; an empty family where there is no word at all.
    """
    bare, quant = _split_quant(text.rsplit("/", 1)[-1])
    words = tokens(bare)
    while len(words) > 1 and words[0] in _PREFIXES:
        words = words[1:]
    if not words or _NUMBER.fullmatch(words[0]):
        return Name("", quant=quant)
    return replace(_sort_words(words[0], words[1:]), quant=quant)


def _sort_words(family: str, rest: Iterable[str]) -> Name:
    versions: list[str] = []
    numbers: list[str] = []
    others: list[str] = []
    size: float | None = None
    rest = list(rest)
    experts = any(_EXPERTS.fullmatch(word) for word in rest)
    for word in rest:
        found = _SIZE.fullmatch(word)
        if found and size is None and not experts:
            size = float(found.group(1)) * _SIZE_UNITS[found.group(2)]
        elif _NUMBER.fullmatch(word):
            numbers.append(word)
        elif _VERSION.fullmatch(word):
            versions.append(word.removeprefix("v"))
        else:
            others.append(_SAME.get(word, word))
    return Name(family, tuple(versions), size, frozenset(others), (), tuple(numbers))


def settle_numbers(name: Name, known_versions: frozenset[str]) -> Name:
    """Decide which bare numbers are versions of the family and which one is the size in billions.

    Example:
        with Qwen's versions, ``qwen 3 30`` is version 3 of size 30, ``qwen 30`` is size 30, ``qwen 2.5`` a version;
        with Granite's, ``granite 4`` is version 4.0.
    """
    versions = list(name.versions)
    size = name.size_b
    for said in name.numbers:
        number = f"{said}.0" if f"{said}.0" in known_versions and said not in known_versions else said
        is_version = number in known_versions and not (versions and size is None and len(number) < 4)
        if is_version or size is not None or len(number) == 4:
            versions.append(number)
        else:
            size = float(number) if number.count(".") < 2 else None
    return replace(name, versions=tuple(versions), size_b=size, numbers=())


def catalogue_name(hf_id: str) -> Name:
    """Take a published hub id apart; there a bare number is always a version or a date."""
    name = parse_name(hf_id)
    found = [word.removeprefix("v") for word in tokens(hf_id.rsplit("/", 1)[-1])]
    order = {word: place for place, word in reversed(list(enumerate(found)))}
    versions = sorted((*name.versions, *name.numbers), key=lambda word: order.get(word, len(order)))
    return replace(name, versions=tuple(versions), numbers=())


def is_neutral(word: str) -> bool:
    """Tell whether a word leaves the model that a plain name means the same (``instruct``, ``a3b``)."""
    return word in NEUTRAL or _ACTIVE.fullmatch(word) is not None


def said_name(name: str, size_b: float | None = None, variant: str | None = None) -> str:
    """Join what was said of a model: ``said_name("Qwen", 30) == "Qwen 30B"``; nothing is said twice."""
    said = name
    for part in (f"{size_b:g}B" if size_b else "", variant or ""):
        if part.lower() not in said.lower():
            said = f"{said} {part}"
    return said
