"""Cards: names with count and memory around them, Apple and other unified machines, cards without a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon, lexicon
from agent.reader.sheet import Sheet

_PREFIX = (
    r"(?:(?:nvidia|geforce|amd|radeon|intel|tesla|тесла|теслы|quadro|instinct|apple|нвидиа|джифорс|радеон)[\s-]+)*"
)
_RTX = r"(?:rtx|gtx|ртх|гтх|ртикс|жтх|рткс)"
_START, _PLURAL = r"(?<![\w.-])", r"(?:'?s(?![a-z]))?"
_GEFORCE = Lazy(
    rf"(?<![\w.$]){_PREFIX}(?:({_RTX})[\s-]*)?(?<!\d)([1-9]\d{{3}})(?:[\s-]?(ti|ти|"
    rf"тай))?(?![\da-ce-rt-z%а-я]|d[a-z\d])(?:[\s-]?(super|супер))?(?:[\s-]?(d)(?![a-z]))?(?:\s(mobile|laptop|"
    rf"max-q|{_RTX}))*(?:'?s(?![a-z]))?"
)
_RADEON = Lazy(r"(?<![\w])(?:amd\s)?(?:radeon\s)?(?:(rx)\s?-?)?((?:5|6|7|9)\d[0-7]0m?)\s?(xtx|xt|gre)?(?:'?s)?(?![\w])")
_CODE = Lazy(
    rf"(?<![\w.]){_PREFIX}((?:gb|gh|gv|gp|mi|[ahblvtpkmrw]|910|310)-?\d{{0,4}}(?:(?!x\d)[a-z]){{0,2}})(?:[\s-]?(pcie|sxm\d?|"
    rf"nvl|hbm\d?\w?))?(?:'?s)?(?![\w.]*b(?:\W|$))(?=[-\s\d,.;:?!)/x*+'\"\]]|$|[а-я])"
)
_APPLE = Lazy(
    r"(?<![\w-])(?:apple\s)?(?:m([1-6])(?:\s?(pro|max|ultra|про|макс|ультра))?(?:\s(?:mac\s?studios?|"
    r"mac\s?book(?:\s(?:pro|air))?|mac\s?minis?|imac|mac|mini|studio|air))?"
    r"|(mac\s?studios?|mac\s?book(?:\s(?:pro|air))?|mac\s?minis?|imac|mac\s?pro|mac|мак\s?студио|"
    r"макбук\w*(?:\s(?:про|аир|эйр))?|мак\s?мини|маке?|маку)(?:[\s,]+(?:with\s|"
    r"на\s)?(?:apple\s)?m([1-6])(?:\s?(pro|max|ultra|про|макс|ультра))?)?|"
    r"apple(?:\ssilicon)?)(?![\w-])"
)
_INSTANCE = Lazy(r"(?<![\w])([gp]\d[a-z]{0,2}\.(?:\d+)?xl(?:arge)?)(?![\w])")
_SHORT_6000 = Lazy(r"(?<=x\s)(6000)(?!\d)|(?<=x)(6000)(?!\d)")
_CHIP = Lazy(r"Apple M\d")
_TIERS = {"про": "Pro", "макс": "Max", "ультра": "Ultra"}
_MACHINES = {
    "мак": "Mac",
    "маке": "Mac",
    "маку": "Mac",
    "макстудио": "Mac Studio",
    "макмини": "Mac mini",
    "macstudio": "Mac Studio",
    "macmini": "Mac mini",
    "imac": "iMac",
    "macpro": "Mac Pro",
    "mac": "Mac",
}


@dataclass(slots=True)
class GpuMention:
    """A card in the text. ``count`` None = not said; memory is per card unless ``total`` says it is for all."""

    name: str | None
    start: int
    end: int
    count: int | None = None
    memory_gb: float | None = None
    unified: bool = False
    code: str | None = None
    total: bool = False
    count_asked: bool = False


Reader = Callable[[re.Match[str], Lexicon], "GpuMention | None"]
"""What makes a mention of a match."""


def find_names(sheet: Sheet, words: Lexicon) -> list[GpuMention]:
    """Claim every card named in the text, in order; counts and memory are read later."""
    found: list[GpuMention] = []
    readers = ((_INSTANCE, _instance), *_series(), (_GEFORCE, _geforce), (_RADEON, _radeon), (_CODE, _code))
    for pattern, reader in (*readers, (_APPLE, _apple)):
        for match in sheet.find(pattern):
            mention = reader(match, words)
            if mention:
                sheet.claim(mention.start, mention.end)
                found.append(mention)
    if any(m.name == "RTX PRO 6000" for m in found):
        found += [GpuMention("RTX PRO 6000", *m.span()) for m in sheet.find(_SHORT_6000, claim=True)]
    return _join_apple(sheet, sorted(found, key=lambda m: m.start))


@cache
def _series() -> tuple[tuple[Lazy, Reader], ...]:
    """Lines of cards whose name is a pattern, from the data."""
    return tuple(
        (Lazy(_START + one["said"].replace("{rtx}", _RTX) + _PLURAL), partial(_named, one))
        for one in lexicon().names["gpus"]["series"]
    )


def _named(series: Mapping[str, Any], match: re.Match[str], _words: Lexicon) -> GpuMention:
    said = match.groups() or ("",)
    name = series["name"].format(
        (said[0] or "").upper(),
        title=(said[0] or "").title().replace("Agx", "AGX").replace(" Nx", " NX"),
        ti=" Ti" if said[-1] in {"ti", "ти"} else "",
    )
    return GpuMention(name, *match.span(), unified=bool(series.get("unified")))


def _instance(match: re.Match[str], lexicon: Lexicon) -> GpuMention | None:
    said = match.group(1)
    known = lexicon.names["gpus"]["instances"].get(said if said.endswith("large") else said + "arge")
    return GpuMention(known[0], *match.span(), count=known[1]) if known else None


def _geforce(match: re.Match[str], lexicon: Lexicon) -> GpuMention | None:
    prefix, number, ti, super_, d, _ = match.groups()
    named = bool(prefix) or "geforce" in match.group() or re.search(r"\d\s(?:rtx|gtx|ртх)", match.group())
    if number not in lexicon.names["gpus"]["geforce"] and not named:
        return None
    workstation = number.endswith("000")
    series = "GTX" if number[0] == "1" else "RTX"
    name = (
        f"{series} {number}"
        + (" Ti" if ti else "")
        + (" SUPER" if super_ else "")
        + (" D" if d and not workstation else "")
    )
    return GpuMention(name, *match.span())


def _radeon(match: re.Match[str], _words: Lexicon) -> GpuMention | None:
    rx, number, tail = match.groups()
    if not (rx or tail or "radeon" in match.group()):
        return None
    return GpuMention(f"RX {number}" + (f" {tail.upper()}" if tail else ""), *match.span())


def _code(match: re.Match[str], lexicon: Lexicon) -> GpuMention | None:
    codes = lexicon.names["gpus"]["codes"]
    said = match.group(1).replace("-", "")
    code = said if said in codes else said[:-1] if said.endswith("s") and said[:-1] in codes else None
    if code is None:
        return None
    name = code.upper()
    if match.group(2):
        form = match.group(2)
        name += " PCIe" if form == "pcie" else "" if form.startswith("hbm") else f" {form[:3].upper()}"
    return GpuMention(name, *match.span(), code=code)


def _apple(match: re.Match[str], _words: Lexicon) -> GpuMention | None:
    chip, tier = match.group(1) or match.group(4), match.group(2) or match.group(5)
    if chip:
        tier = _TIERS.get(tier, (tier or "").capitalize())
        return GpuMention(f"Apple M{chip} {tier}".strip(), *match.span(), unified=True)
    machine = re.sub(r"\s", "", match.group(3) or "").removesuffix("s")
    if machine.startswith(("macbook", "макбук")):
        return GpuMention("Apple MacBook", *match.span(), unified=True)
    return GpuMention(f"Apple {_MACHINES.get(machine, '')}".strip(), *match.span(), unified=True)


def _join_apple(sheet: Sheet, found: list[GpuMention]) -> list[GpuMention]:
    """A Mac and its chip ("MacBook, M4 Max") are one machine."""
    kept: list[GpuMention] = []
    for mention in found:
        before = kept[-1] if kept else None
        if before and _one_apple(before.name or "", mention.name or "", sheet.low[before.end : mention.start]):
            before.name = mention.name if _CHIP.match(mention.name or "") else before.name
            before.end = mention.end
        else:
            kept.append(mention)
    return kept


def _one_apple(first: str, second: str, between: str) -> bool:
    both = first.startswith("Apple") and second.startswith("Apple")
    return both and len(between.strip(" ,()")) <= 4 and bool(_CHIP.match(first)) != bool(_CHIP.match(second))
