"""Models by name: families and what follows them, hub ids, names written together with a size."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.model_name import ModelMention, NameTail
from agent.reader.quants import Precision
from agent.reader.sheet import Sheet
from agent.reader.sizes import find_file_sized, find_kinds, find_unnamed, join_sizes_before
from tools.domain import ModelAsk

_CANDIDATE = Lazy(
    r"(?<![\w./@-])(?:[\w.-]{2,60}/)?((?:e5|gpt2)(?![^\W_])|[^\W\d_]+(?:-(?:seek|oss|"
    r"llama|lite|pro|r|a|embed|neox|j|v|hermes|лайт|про|осс|ос)(?![^\W\d_]))?)"
)
_CHUNK = Lazy(
    r"(?<![\w/.-])(?=[^\s,;()]*[a-z])(?:[\w.-]{1,60}/)?([a-z][\w.]*(?:-[\w.]+){0,8}?)[-:_](\d+(?:\.\d+)?)b(?![a-z0-9])"
)
_QUOTED = Lazy(r"[`\"']([^`\"'\n]{2,120})[`\"'][\s-]*(\d+(?:\.\d+)?)\s?b(?![^\W\d_])")
_HUB = Lazy(r"(?<![\w/.:-])([A-Za-z][\w.-]{1,40})/([A-Za-z][\w.-]{1,79}\w)(?![\w/])")
_EMBEDS_BEFORE = Lazy(r"(?:embed\w*|эмбед\w*)\s$")
_EMBEDS_AFTER = Lazy(r"\s(?:embed|эмбед|эмбеддинг)")
_DIGIT_NEXT = Lazy(r"[\s:-]?\d")
_SIZED_NEXT = Lazy(r"[\s:-]?(?:\d+(?:\.\d+)?[\s:-])?\d+(?:\.\d+)?b(?![^\W_])")
_SECOND_WORD = Lazy(r"\s([^\W\d_]+)(?![^\W\d_])")
_SHORT = 3
"""Words of so few letters are joined to a name only where it is listed with a hyphen."""
_COMPOUND_VERSION = Lazy(r"-\d(?:\.\d)?(?![\d.]*b?[^\W_]|\d)(?=-)")
_COMPOUND = Lazy(r"[a-z0-9.+]+(?:-[a-z0-9.+]+)+")

_REPLY = 20
"""A turn of so few characters answers what was said before ("v3 0324")."""
_BARE_R1 = Lazy(r"(?<![\w.-])(?:(r1)|(v3(?:\.\d)?|v4))(?![\w.])")


def read_models(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    """Claim every mention of a model, in order of the text.

    Args:
        sheet: the text.
        lexicon: names and words.
        precisions: mentions of precisions; those that belong to a name are claimed with it.
    """
    found = _quoted(sheet) + _families(sheet, lexicon, precisions) + _chunks(sheet, lexicon, precisions)
    found += _hub_ids(sheet, lexicon, precisions)
    found = join_sizes_before(sheet, sorted(found, key=lambda m: m.start))
    found += find_file_sized(sheet)
    found += find_unnamed(sheet, lexicon, found)
    found.sort(key=lambda m: m.start)
    return sorted(found + find_kinds(sheet, found), key=lambda m: m.start)


def _quoted(sheet: Sheet) -> list[ModelMention]:
    found: list[ModelMention] = []
    for match in sheet.find(_QUOTED, claim=True):
        name = sheet.text[match.start(1) : match.end(1)].strip()
        found.append(ModelMention(ModelAsk(name, float(match.group(2))), match.start(), match.end()))
    return found


def _families(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    found: list[ModelMention] = []
    for match in _CANDIDATE.finditer(sheet.low):
        word = match.group(1)
        family = lexicon.family(word)
        if family is None and "-" in word:
            word = word.split("-")[0]
            family = lexicon.family(word)
        start, end = match.start(), match.start(1) + len(word)
        if family is None and (pair := _two_words(sheet, lexicon, word, end)):
            family, end = pair
        if not sheet.free(match.start(1), end):
            continue
        family = family or _misspelled(sheet, lexicon, word, end)
        if family is None:
            continue
        compound = _compound(sheet, lexicon, match.start(1), family)
        family, end = compound or (family, end)
        reader = NameTail(sheet, lexicon, precisions, family, end)
        reader.run()
        embeds = _EMBEDS_BEFORE.search(sheet.low[:start]) or _EMBEDS_AFTER.match(sheet.low, end)
        weak = word.removesuffix("s") in lexicon.names["rules"]["weak"]
        if weak and reader.end == end and not compound and not embeds:
            continue
        if family == "Phi" and word == "фи" and reader.end == end:
            continue
        sheet.claim(start, reader.end)
        found.append(reader.mention(start))
    return found + _bare_deepseek(sheet, lexicon, precisions)


def _two_words(sheet: Sheet, lexicon: Lexicon, word: str, end: int) -> tuple[str, int] | None:
    """Read a family's name written apart ("gpt oss", "т лайт")."""
    second = _SECOND_WORD.match(sheet.low, end)
    if not second:
        return None
    family = lexicon.family(f"{word}-{second.group(1)}") or (
        lexicon.family(word + second.group(1)) if len(word) > _SHORT and len(second.group(1)) > _SHORT else None
    )
    return (family, second.end()) if family else None


def _misspelled(sheet: Sheet, lexicon: Lexicon, word: str, end: int) -> str | None:
    """A word one slip away from a family, right before a version or size ("lamma 3.1 8b")."""
    if len(word) < 5 or word in lexicon.words["stop"] or "llama" in word or not _DIGIT_NEXT.match(sheet.low, end):
        return None
    from rapidfuzz.distance import OSA

    most = 2 if len(word) > 7 or _SIZED_NEXT.match(sheet.low, end) else 1
    best, slips = None, most + 1
    for spelling, family in [*lexicon.families.items(), *lexicon.stems.items()]:
        if spelling in lexicon.names["rules"]["weak"]:
            continue
        if spelling[0] == word[0] and len(spelling) > 4 and abs(len(spelling) - len(word)) < 2:
            distance = OSA.distance(word, spelling, score_cutoff=most)
            best, slips = (family, distance) if distance < slips else (best, slips)
    return best


def _compound(sheet: Sheet, lexicon: Lexicon, start: int, family: str) -> tuple[str, int] | None:
    """A name made of two families ("dolphin-llama3", "e5-mistral-7b-instruct") is a name of its own."""
    chunk = _COMPOUND.match(sheet.low, start)
    if not chunk or family == "DeepSeek":
        return None
    parts = chunk.group().split("-")
    second = next((n for n, part in enumerate(parts) if n and lexicon.families.get(part.rstrip("0123456789."))), None)
    if second is None or f"{parts[0]}-{parts[1]}" in lexicon.families:
        return None
    end = start + len("-".join(parts[: second + 1]))
    version = _COMPOUND_VERSION.match(sheet.low, end)
    end = version.end() if version else end
    return sheet.text[start:end], end


def _bare_deepseek(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    found: list[ModelMention] = []
    known = "deepseek" in sheet.low or "дипсик" in sheet.low
    for match in sheet.find(_BARE_R1):
        if match.group(2) and not known and len(sheet.low) > _REPLY:
            continue
        reader = NameTail(sheet, lexicon, precisions, "DeepSeek", match.end())
        reader.name.append(match.group().upper())
        reader.run()
        sheet.claim(match.start(), reader.end)
        found.append(reader.mention(match.start()))
    return found


def _chunks(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    """Names no family is known for, written together with a size: ``gpt4-x-alpaca-13b``, ``wizard:70b``."""
    found: list[ModelMention] = []
    for match in sheet.find(_CHUNK):
        name = sheet.text[match.start(1) : match.end(1)]
        reader = NameTail(sheet, lexicon, precisions, name, match.end())
        reader.size = float(match.group(2))
        reader.run()
        sheet.claim(match.start(), reader.end)
        found.append(reader.mention(match.start()))
    return found


def _hub_ids(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    found: list[ModelMention] = []
    for match in sheet.find(_HUB):
        owner, name = match.group(1), match.group(2)
        codes = lexicon.names["gpus"]["codes"]
        if (
            owner.lower() in codes
            or name.lower() in codes
            or not re.search(r"\d|-", name)
            or re.fullmatch(r"\w+\.\w+", owner)
            or "." in owner
        ):
            continue
        sheet.claim(*match.span())
        written = next((p.said for p in precisions if match.start(2) < p.start and p.end <= match.end()), None)
        name = sheet.text[match.start() : match.end()]
        found.append(ModelMention(ModelAsk(name, precision=written), *match.span()))
    return found
