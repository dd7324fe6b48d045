"""Cards: names with count and memory around them, Apple and other unified machines, cards without a name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.sheet import Sheet

_PREFIX = (
    r"(?:(?:nvidia|geforce|amd|radeon|intel|tesla|тесла|теслы|quadro|instinct|apple|нвидиа|джифорс|радеон)[\s-]+)*"
)
_RTX = r"(?:rtx|gtx|ртх|гтх|ртикс|жтх|рткс)"
_GEFORCE = Lazy(
    rf"(?<![\w.$]){_PREFIX}(?:({_RTX})[\s-]*)?(?<!\d)([1-9]\d{{3}})(?:[\s-]?(ti|ти|"
    rf"тай))?(?![\da-rt-z%а-я])(?:[\s-]?(super|супер))?(?:[\s-]?(d)(?![a-z]))?(?:\s(mobile|laptop|"
    rf"max-q|{_RTX}))*(?:'?s(?![a-z]))?"
)
_RTX_PRO = Lazy(
    rf"(?<![\w])(?:nvidia\s)?(?:(?:{_RTX}[\s-]*)?(?:pro|про)[\s-]*(\d000)|"
    rf"{_RTX}[\s-]*(\d000)[\s-]*(?:pro|про))(d)?(?![\d])(?:[\s-]*(?:blackwell|workstation|server|max-q|"
    rf"edition|se|ws))*(?:'?s(?![a-z]))?"
)
_ADA = Lazy(
    rf"(?<![\w])(?:nvidia\s)?(?:quadro\s)?(?:({_RTX})[\s-]*)?(\d[05]00|5880)[\s-]*(ada|"
    rf"ада)(?:\s(?:generation|gen))?(?![a-z])(?:'?s(?![a-z]))?"
)
_RTX_A = Lazy(
    rf"(?<![\w])(?:nvidia\s)?(?:quadro\s)?(?:{_RTX}[\s-]*)?(a(?:400|1000|2000|3000|4000|4500|5000|5500|"
    rf"6000))(?![\d])(?:'?s(?![a-z]))?"
)
_QUADRO = Lazy(r"(?<![\w])(?:nvidia\s)?quadro\s(?:rtx\s)?([pm]?\d{4})(?!\d)")
_TITAN = Lazy(r"(?<![\w])(?:nvidia\s)?titan\s(rtx|xp|x|v)(?![\w])")
_RADEON = Lazy(r"(?<![\w])(?:amd\s)?(?:radeon\s)?(?:(rx)\s?-?)?((?:5|6|7|9)\d[05]0)\s?(xtx|xt|gre)?(?:'?s)?(?![\w])")
_IGPU = Lazy(r"(?<![\w])(?:amd\s)?(?:radeon\s)?(7[468]0m|8[89]0m|80[56]0s)(?![\w])")
_ARC = Lazy(r"(?<![\w])(?:intel\s)?(?:arc\s(?:pro\s)?([ab]\d{2,3})|(b[567]\d{1,2}0))(?!\w)")
_CODE = Lazy(
    rf"(?<![\w.]){_PREFIX}((?:gb|gh|mi|[ahblvtpkmrw]|910)-?\d{{0,4}}[a-z]{{0,2}})(?:[\s-]?(pcie|sxm\d?|"
    rf"nvl|hbm\d?\w?))?(?:'?s)?(?![\w.]*b(?:\W|$))(?=[-\s\d,.;:?!)/x*+'\"\]]|$|[а-я])"
)
_APPLE = Lazy(
    r"(?<![\w-])(?:apple\s)?(?:m([1-6])(?:\s?(pro|max|ultra|про|макс|ультра))?(?:\s(?:mac\s?studios?|"
    r"mac\s?book(?:\s(?:pro|air))?|mac\s?minis?|imac|mac))?"
    r"|(mac\s?studios?|mac\s?book(?:\s(?:pro|air))?|mac\s?minis?|imac|mac\s?pro|mac|мак\s?студио|"
    r"макбук\w*(?:\s(?:про|аир|эйр))?|мак\s?мини|маке?|маку)(?:[\s,]+(?:with\s|"
    r"на\s)?(?:apple\s)?m([1-6])(?:\s?(pro|max|ultra|про|макс|ультра))?)?|"
    r"apple(?:\ssilicon)?)(?![\w-])"
)
_UNIFIED = Lazy(
    r"(?<![\w])(strix\shalo|ryzen\sai\smax\+?(?:\s?\d{3})?|ai\smax\+?\s?395|framework\sdesktop|"
    r"dgx\ssparks?|gb10|jetson\s(?:agx\s)?(?:orin|thor|xavier)(?:\s(?:nano|nx))?|orin\s(?:nano|nx|agx)|agx\sorin)(?![\w])"
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


def find_names(sheet: Sheet, lexicon: Lexicon) -> list[GpuMention]:
    """Claim every card named in the text, in order; counts and memory are read later."""
    found: list[GpuMention] = []
    readers = (
        (_INSTANCE, _instance),
        (_RTX_PRO, _rtx_pro),
        (_ADA, _ada),
        (_RTX_A, _rtx_a),
        (_QUADRO, _quadro),
        (_TITAN, _titan),
        (_UNIFIED, _unified),
        (_IGPU, _igpu),
        (_GEFORCE, _geforce),
        (_RADEON, _radeon),
        (_ARC, _arc),
        (_CODE, _code),
        (_APPLE, _apple),
    )
    for pattern, reader in readers:
        for match in sheet.find(pattern):
            mention = reader(match, lexicon)
            if mention:
                sheet.claim(mention.start, mention.end)
                found.append(mention)
    if any(m.name == "RTX PRO 6000" for m in found):
        found += [GpuMention("RTX PRO 6000", *m.span()) for m in sheet.find(_SHORT_6000, claim=True)]
    return _join_apple(sheet, sorted(found, key=lambda m: m.start))


def _instance(match: re.Match[str], lexicon: Lexicon) -> GpuMention | None:
    said = match.group(1)
    known = lexicon.names["gpus"]["instances"].get(said if said.endswith("large") else said + "arge")
    return GpuMention(known[0], *match.span(), count=known[1]) if known else None


def _rtx_pro(match: re.Match[str], _: Lexicon) -> GpuMention:
    return GpuMention(f"RTX PRO {match.group(1) or match.group(2)}" + ("D" if match.group(3) else ""), *match.span())


def _ada(match: re.Match[str], _: Lexicon) -> GpuMention | None:
    return GpuMention(f"RTX {match.group(2)} Ada", *match.span())


def _rtx_a(match: re.Match[str], _: Lexicon) -> GpuMention:
    return GpuMention(f"RTX {match.group(1).upper()}", *match.span())


def _quadro(match: re.Match[str], _: Lexicon) -> GpuMention:
    number = match.group(1).upper()
    return GpuMention(f"Quadro {number}" if number[0].isalpha() else f"Quadro RTX {number}", *match.span())


def _titan(match: re.Match[str], _: Lexicon) -> GpuMention:
    return GpuMention(f"TITAN {match.group(1).upper()}", *match.span())


def _unified(match: re.Match[str], _: Lexicon) -> GpuMention:
    said = match.group(1)
    if "spark" in said or said == "gb10":
        return GpuMention("DGX Spark", *match.span(), unified=True)
    name = said.title() if "jetson" in said or "orin" in said else "Strix Halo"
    return GpuMention(name.replace("Agx", "AGX").replace(" Nx", " NX"), *match.span(), unified=True)


def _igpu(match: re.Match[str], _: Lexicon) -> GpuMention:
    return GpuMention(f"Radeon {match.group(1).upper()}", *match.span(), unified=True)


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


def _radeon(match: re.Match[str], _: Lexicon) -> GpuMention | None:
    rx, number, tail = match.groups()
    if not (rx or tail or "radeon" in match.group()):
        return None
    return GpuMention(f"RX {number}" + (f" {tail.upper()}" if tail else ""), *match.span())


def _arc(match: re.Match[str], _: Lexicon) -> GpuMention:
    return GpuMention(f"Arc {(match.group(1) or match.group(2)).upper()}", *match.span())


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


def _apple(match: re.Match[str], _: Lexicon) -> GpuMention | None:
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
