"""Models without a name: bare sizes ("a 70B model"), the size of a file, the kind ("an embedding model")."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.model_name import ModelMention
from agent.reader.sheet import Sheet
from tools.domain import ModelAsk

_UNNAMED = Lazy(
    r"(?<![\w.$-])(\d{1,4}(?:\.\d+)?)(?:\s?-?b(?:s|'s)?(?![^\W_])|\s?-?(?:billion|bln|млрд|"
    r"миллиард\w*)(?:\s(?:параметр\w*|parameters?))?)(?!\s(?:tokens?|токен|users|people|rub|руб|usd|"
    r"dollars))"
)
_SIZE_FIRST = Lazy(r"(?<![\w.$-])(\d{1,3}(?:\.\d+)?)b-([a-z]{4,24})(?![^\W_])")
_NAME = 4
"""Letters of a name, at least."""
_FLAG_BEFORE = Lazy(r"-$")
_MOST = 64
"""Bare sizes read from one text, at most."""
_LIKENED = Lazy(r"(?:like an?|as an?|while an?|than an?|как у|чем)\s(?:\w+\s)?$")
_BOUND = Lazy(r"(?:over|more than|under|up to|above|at least|less than|больше|свыше|до|меньше|более)\s$")
_UNNAMED_MOE = Lazy(r"(?<![\w.])(\d+x\d+(?:\.\d+)?b|\d+bx\d+)(?![^\W_])")
_FILE_SIZE = Lazy(
    r"~?(\d+(?:\.\d+)?)\s?-?\s?(gb|gib|g|mb|m|гб|гиг\w*|мб)\s(?:quanti[sz]ed\s|gguf\s|large\s|size\s|"
    r"file\s)?(?:model|file|weights|gguf|модел\w*|файл\w*)\b"
    r"|(?:model|models|модел\w*|файл\w*)\s(?:\w+\s){0,2}?(?:takes|needs|weighs|of|is|is just|is only|весит|весом|"
    r"занимает|на|размером)\s(?:about\s|around\s|около\s|примерно\s)?~?(\d+(?:\.\d+)?)\s?(gb|gib|g|mb|"
    r"гб|гиг\w*|мб)(?![^\W\d_])"
    r"|(?:file|weights|файл\w*|веса)\s(?:of\s|size\s|are\s|is\s|на\s|в\s|же\s|всего\s|размером\s|весит\s){0,2}(\d+(?:\.\d+)?)\s?(gb|gib|гб|гиг\w*)(?![^\W\d_])"
)
_WISHED_FOR = Lazy(
    r"(?:посовет\w*|подскаж\w*|порекоменд\w*|подбер\w*|подобрать|как(?:ую|ая|ие|ой)|лучш\w+|recommend|suggest|best|which)\s(?:\w+\s){0,2}$"
)
"""A model that is asked for has no file yet: "посоветуй модель на 8 гб" names a card."""
_KIND = Lazy(
    r"(?<![\w-])(embedding|embeddings|re-?rank(?:ing|er)|эмбеддинг\w*|эмбединг\w*|"
    r"реранк\w*|embedder|эмбеддер)(?:[- ](?:models?|services?|server|модел\w*|сервис\w*))?(?![\w-])"
)
_COUNTED = Lazy(r"(?<![\w-])(?:an?|one|two|the|our|my)\s$")
_ASKED_KIND = Lazy(r"(?:which|what|какую|какой|какая)\s(?:\w+\s){0,2}$")
_RERANKS = Lazy(r"re-?rank|реранк")
_LISTED_KIND = Lazy(r"(?:^|[+,:&]|\d\s?gb|(?<![^\W_])(?:and|plus|with|и|еще|плюс|рядом))\s?$")
_OTHER_KIND = Lazy(
    r"(?<![\w-])an?\s(vision|vlm|speech|tts|stt|asr|ocr|coding|chat|draft|reward)(?:[- ]model)?(?![\w-])"
)
_LLM = Lazy(r"(?<![\w-])(?:an?|one|одна) (?:large language model|llm|ллм)(?![\w])")


def join_sizes_before(sheet: Sheet, found: list[ModelMention]) -> list[ModelMention]:
    """Read "70B Llama", "the 14B (R1 distill)": a size right before a family without one belongs to it."""
    for mention in found:
        if mention.ask.size_b is not None or mention.family is None:
            continue
        before = re.search(
            r"(?<![\w.])(\d+(?:\.\d+)?)\s?-?b(?:illion)?[\s-]*(?:\(\s*|parameters?\s|parameter\s|"
            r"model\s(?:of\s)?|версия\s|version\sof\s|of\s)?$",
            sheet.low[max(0, mention.start - 40) : mention.start],
        )
        if not before:
            continue
        start = max(0, mention.start - 40) + before.start(1)
        if sheet.free(start, mention.start):
            sheet.claim(start, mention.start)
            mention.ask = replace(mention.ask, size_b=float(before.group(1)))
            mention.start = start
    return found


def find_file_sized(sheet: Sheet) -> list[ModelMention]:
    """Models known by the size of their file ("a 38 GB model"), which says nothing of parameters."""
    found: list[ModelMention] = []
    for match in sheet.find(_FILE_SIZE):
        if _WISHED_FOR.search(sheet.low[max(0, match.start() - 32) : match.start()]):
            continue
        sheet.claim(*match.span())
        said = sheet.text[match.start() : match.end()].strip()
        found.append(ModelMention(ModelAsk(f"model ({said})"), *match.span(), by_file=True))
    return found


def find_unnamed(sheet: Sheet, lexicon: Lexicon, named: list[ModelMention]) -> list[ModelMention]:
    """Claim bare sizes ("7B", "8x7b", "семерка"), each of the family it is joined to, else unnamed."""
    found: list[ModelMention] = []
    for match in sheet.find(_UNNAMED_MOE, claim=True):
        found.append(ModelMention(ModelAsk("Mixtral", None, match.group(1).upper().replace("X", "x")), *match.span()))
    for match in sheet.find(_SIZE_FIRST):
        if match.group(2) not in lexicon.words["stop"] and not lexicon.family(match.group(2)):
            sheet.claim(*match.span())
            name = sheet.text[match.start(2) : match.end(2)]
            found.append(ModelMention(ModelAsk(name, float(match.group(1))), *match.span(), family=name))
    for match in islice(sheet.find(_UNNAMED), _MOST):
        size = float(match.group(1))
        start = match.start()
        before = sheet.low[max(0, start - 24) : start]
        if (named or found) and (_LIKENED.search(before) or _BOUND.search(before)):
            continue
        name, start = _name_before(sheet, lexicon, start)
        inherited = None if name else _inherits(sheet, start, named + found)
        ask = ModelAsk(name or inherited or f"{match.group(1)}B model", size)
        sheet.claim(start, match.end())
        found.append(ModelMention(ask, start, match.end(), family=name or inherited))
    for word in sheet.words:
        noun = lexicon.size_noun(word.text) if word.text[0].isalpha() else None
        if noun and sheet.free(word.start, word.end):
            sheet.claim(word.start, word.end)
            found.append(ModelMention(ModelAsk(f"{noun:g}B model", float(noun)), word.start, word.end))
    return found


def _name_before(sheet: Sheet, lexicon: Lexicon, start: int) -> tuple[str | None, int]:
    """An unknown capitalised or digit-bearing word right before a size is the model's name ("Tigerbot 180B")."""
    before = re.search(r"([A-Za-z][\w.+-]{2,40})[\s:-]$", sheet.text[max(0, start - 48) : start])
    if not before:
        return None, start
    word = before.group(1)
    at = max(0, start - 48) + before.start(1)
    plain = (
        word.lower() in lexicon.words["stop"] or word.lower() in lexicon.words["gpu"] or lexicon.number(word.lower())
    )
    first = not sheet.text[:at].strip() or re.search(r"[.?!\n:]\s*$", sheet.text[:at])
    spelled = (
        (word[0].isupper() and not first) or any(c.isdigit() for c in word) or _is_foreign(sheet, lexicon, word, at)
    )
    if plain or not spelled or not sheet.free(at, start):
        return None, start
    return word, at


def _is_foreign(sheet: Sheet, lexicon: Lexicon, word: str, at: int) -> bool:
    """Whether a small-letter word can only be a name: a Latin one in a text that has letters of its own."""
    low = word.lower()
    if sheet.low.isascii() or len(low) < _NAME or lexicon.latin.knows(low):
        return False
    return low.isascii() and not _FLAG_BEFORE.search(sheet.low[:at])


def _inherits(sheet: Sheet, start: int, earlier: list[ModelMention]) -> str | None:
    """Read "Qwen3 14B or 32B": a size joined to a named model by a conjunction is of the same family."""
    for mention in earlier:
        between = sheet.low[mention.end : start] if mention.end <= start else "?" * 9
        if mention.family and re.fullmatch(
            r"\s?(?:,|/|or|and|и|или|либо|vs|\+|,? ?(?:and|or|и|или) (?:the|a|two|one)?)\s?", between
        ):
            return mention.ask.name
    return None


def find_kinds(sheet: Sheet, named: list[ModelMention]) -> list[ModelMention]:
    """Unnamed embedding or re-ranking models, and an LLM beside them."""
    embeds = any("embedding" in m.words for m in named)
    found: dict[str, ModelMention] = {}
    reranks = len(named) > 1 or _RERANKS.search(sheet.low)
    for match in sheet.find(_KIND):
        if _ASKED_KIND.search(sheet.low[: match.start()]):
            continue
        kind = "reranking model" if re.match(r"re-?rank|реранк", match.group(1)) else "embedding model"
        if embeds and kind == "embedding model":
            continue
        counted = _COUNTED.search(sheet.low[: match.start()]) if match.group(1).endswith("er") else None
        listed = reranks and _LISTED_KIND.search(sheet.low[: match.start()])
        if counted or listed or re.search("model|serv|модел|сервис", match.group()):
            found.setdefault(kind, ModelMention(ModelAsk(kind), *match.span()))
    others = list(sheet.find(_OTHER_KIND))
    if found or len(others) > 1:
        for match in others:
            found.setdefault(match.group(1), ModelMention(ModelAsk(f"{match.group(1)} model"), *match.span()))
    if found and not named:
        for match in sheet.find(_LLM):
            found.setdefault("LLM", ModelMention(ModelAsk("LLM"), *match.span()))
    return sorted(found.values(), key=lambda m: m.start)
