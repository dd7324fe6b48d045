"""Precisions as people write them: of the weights, and of the KV cache."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.reader.lazy import Lazy
from agent.reader.sheet import Sheet

_GGUF = r"(?:ud-)?i?q_?[1-8](?:_?[0-9k](?:_?(?:xxs|xs|xl|nl|[sml01]))?|_(?:xxs|xs|nl|[sm]))?"
_WORD = (
    rf"{_GGUF}|(?:exl[23][-_ ])?\d(?:\.\d+)?[-_ ]?bpw|(?:gptq|awq|bnb|bitsandbytes|exl[23]|mlx|"
    rf"autoround)(?:[-_ ]?(?:int)?[-_ ]?[2-8](?:[-_ ]?(?:bits?|бит\w*))?)?"
    r"|авк[уе]?|гптк[уе]?|w(?:4|8)a(?:16|8|4)|nvfp4|mxfp[48]|nf4|fp[-_ ]?(?:4|8|16|32)|bf[-_ ]?16|f16|f32"
    r"|(?:int|инт)[-_ ]?[2-8]|float[-_ ]?(?:16|32)|bfloat[-_ ]?16|half[- ]precision"
    r"|(?:[1-8]\.\d{1,2}|[2-8])[-_ ]?(?:bits?|бита?(?:х|ная|ный|ную|ной|ке|ку|ка)?)|16[-_ ]?(?:bits?|бит\w*)"
)
_PRECISION = Lazy(
    rf"(?<![^\W_])(?:(?<!\d\.)(?=\d)|(?=[a-zиаг]))(?:{_WORD})(?:[ -]?(?:gptq|awq|int[48]|gguf))?(?![^\W_])"
)
_RUSSIAN_BITS = Lazy(r"(?<![а-я])(?:в\s+)?(двух|трех|четырех|пяти|шести|восьми|шестнадцати)[- ]?бит\w*")
_BITS = {"двух": 2, "трех": 3, "четырех": 4, "пяти": 5, "шести": 6, "восьми": 8, "шестнадцати": 16}
_FULL = Lazy(
    r"\b(?:full[- ](?:precision|version|scale|fat|weights?|size)|non[- ]?quanti[sz]ed|unquanti[sz]ed|"
    r"no[- ]quanti[sz]ation|"
    r"without quanti[sz]ation|original (?:precision|weights)|full(?= (?:deepseek|r1|v3|kimi|glm))|"
    r"в полной точности|полной точности|полная точность|без квантования|без кванта|без квантовки|неквантован\w+|"
    r"полноценн\w+(?= (?:дипсик|deepseek|р1|r1))|полн(?:ый|ого|ому|ую|ом)(?= (?:дипсик|deepseek|р1|r1|"
    r"v3))|оригинальн\w+ вес\w*)|(?<=[rрvв][13]\s)(?:полн(?:ый|ая|ую|ого)|full)(?!\w)"
)
_COMPLAINT = Lazy(r"\s(?:is|are) (?:only|not) supported")
_KV_KEY = (
    r"(?:kv|кв)(?:[- _]?(?:cache|кеш\w*|кэш\w*))?|cache[-_ ](?:quant|type[-_ ][kv]|dtype)|"
    r"kv[-_]cache[-_]dtype|ct[kv]|quantized kv|(?<![^\W_])к[еэ]ш\w*"
)
_KV = Lazy(
    rf"(?<![^\W_])(?:(?:{_KV_KEY})(?:\s*(?:в|in|at|as|to|dtype|quant\w*|of|is|=|:|-|на|это|режим\w*)){{0,3}}[\s=:]*([\w.]*\w)"
    rf"|((?:fp|bf|f|int|q|i)\d\w*)[- ](?:{_KV_KEY}))(?![^\W_])"
)


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision as it was written, with its place in the text."""

    said: str
    start: int
    end: int


def read_kv_cache(sheet: Sheet) -> str | None:
    """Return the precision asked for the KV cache ("q8_0", "fp8"), claiming every mention."""
    found: list[str] = []
    for match in sheet.find(_KV):
        said = match.group(1) or match.group(2)
        if _PRECISION.fullmatch(said):
            sheet.claim(*match.span())
            found.append(said)
    if not found:
        return None
    return "q8_0" if found[0] in {"q8", "q8_0"} else found[0].replace(" ", "")


def find_precisions(sheet: Sheet) -> list[Precision]:
    """Return every mention of a weight precision in order. Mentions are not claimed: names take theirs first."""
    found = [
        Precision(_written(m.group()), m.start(), m.end())
        for m in sheet.find(_PRECISION)
        if not _COMPLAINT.match(sheet.low, m.end())
    ]
    found += [Precision(f"{_BITS[m.group(1)]}bit", *m.span()) for m in sheet.find(_RUSSIAN_BITS)]
    found += [Precision("full", *m.span()) for m in sheet.find(_FULL)]
    return _without_overlaps(sorted(found, key=lambda p: (p.start, -p.end)))


def _without_overlaps(found: list[Precision]) -> list[Precision]:
    kept: list[Precision] = []
    for one in found:
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _written(said: str) -> str:
    said = re.sub(r"бит\w*", "bit", said.replace("инт", "int")).strip()
    said = re.sub(r"гптк\w?", "gptq", re.sub(r"авк\w?", "awq", said))
    if re.match(r"(?:ud-)?i?q_?\d", said):
        return said.replace("q_", "q").upper()
    return re.sub(r"(?<=\d)[-_ ]?bits?\b", "bit", said)
