"""Models: families with what follows the name, hub ids, bare sizes ("a 70B model"), models given by file size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.reader.lexicon import Lexicon
from agent.reader.quants import Precision
from agent.reader.sheet import Sheet
from tools.domain import ModelAsk

_CANDIDATE = re.compile(
    r"(?<![a-zа-я0-9._/@-])(?:[\w.-]{2,60}/)?([a-zа-я][a-zа-я]*(?:-(?:seek|oss|llama|lite|pro|r|a|embed|neox|j|v|hermes|лайт|про|осс|ос)(?![a-zа-я]))?)"
)
_SEPARATOR = r"(?:[-_:.]|\s?\(|\s|)"
_MOE = re.compile(_SEPARATOR + r"((\d+)\s?[xх]\s?(\d+(?:\.\d+)?)\s?[bб]|(\d+(?:\.\d+)?)[bб]x(\d+))(?![a-zа-я])")
_ACTIVE = re.compile(_SEPARATOR + r"([aа]\d+(?:\.\d+)?[bб]|e\d+b)(?![a-zа-я0-9])")
_SIZE = re.compile(
    _SEPARATOR
    + r"(\d+(?:\.\d+)?)(?:\s?-?(?:[bб]|в)(?![a-zа-я0-9])|\s?-?(?:billion|bln|млрд|миллиард\w*|лярд\w*|ярд\w*)(?:\s(?:параметр\w*|parameters?))?)"
)
_TRILLION = re.compile(_SEPARATOR + r"(\d+(?:\.\d+)?)\s?(?:t|т|трлн|трилл\w*|trillion)(?![a-zа-я0-9])")
_MILLION = re.compile(r"[-_: ](\d{2,3})\s?[mм](?![a-zа-я0-9])")
_VERSION = re.compile(
    _SEPARATOR + r"(v?\d{1,2}(?:[._]\d{1,2})?[vn]?)(?![\d]|[a-zа-я]{1,2}\b|[.,]\d|\s?x\s?\d|\s?(?:gb|gib|гб|гиг|g\b|%))"
)
_BARE = re.compile(
    r"[\s:-](\d{1,3}(?:\.\d)?)(?![\d]|[a-zа-я]|[.,]\d|\s?x\s?[a-zа-я\d]|x|\s?(?:gb|gib|гб|гиг\w*|g\b|%|k\b|к\b|gpu|card|карт|видео|видю|виде|юзер|user|польз|чел|ток|tok|шт|раз))"
)
_DATE = re.compile(r"[-_ ](0[1-9]\d\d|1[0-2]\d\d|2[3-6]\d\d)(?![\da-z])")
_WORD = re.compile(_SEPARATOR + r"([a-zа-я]+[+]?(?:\d(?:\.\d)?[a-z]?)?)(?![a-zа-я])")
_LETTERS = re.compile(_SEPARATOR + r"([a-zа-я]+)(?=\d)")
_PLUS = re.compile(r"[- ]?(?:plus|\+)(?![a-z0-9])")
_UNNAMED = re.compile(
    r"(?<![a-zа-я0-9.$_-])(\d{1,4}(?:\.\d+)?)(?:\s?-?(?:b|б)(?![a-zа-я0-9])|\s?-?(?:billion|bln|млрд|миллиард\w*)(?:\s(?:параметр\w*|parameters?))?)(?!\s(?:tokens?|токен|users|people|rub|руб|usd|dollars))"
)
_LIKENED = re.compile(r"(?:like an?|as an?|while an?|than an?|как у|чем)\s(?:\w+\s)?$")
_BOUND = re.compile(r"(?:over|more than|under|up to|above|at least|less than|больше|свыше|до|меньше|более)\s$")
_UNNAMED_MOE = re.compile(r"(?<![a-zа-я0-9.])(\d+x\d+(?:\.\d+)?b|\d+bx\d+)(?![a-zа-я0-9])")
_CHUNK = re.compile(
    r"(?<![\w/.-])(?=[^\s,;()]*[a-z])(?:[\w.-]{1,60}/)?([a-z][\w.]*(?:-[\w.]+){0,8}?)[-:_](\d+(?:\.\d+)?)b(?![a-z0-9])"
)
_QUOTED = re.compile(r"[`\"']([^`\"'\n]{2,120})[`\"'][\s-]*(\d+(?:\.\d+)?)\s?[bб](?![a-zа-я])")
_HUB = re.compile(r"(?<![\w/.:-])([A-Za-z][\w.-]{1,40})/([A-Za-z][\w.-]{2,80})(?![\w/])")
_FILE_SIZE = re.compile(
    r"~?(\d+(?:\.\d+)?)\s?-?\s?(gb|gib|g|mb|m|гб|гиг\w*|мб)\s(?:quanti[sz]ed\s|gguf\s|large\s|size\s|file\s)?(?:model|file|weights|gguf|модел\w*|файл)\b"
    r"|(?:model|models|модел\w*|файл\w*)\s(?:\w+\s){0,2}?(?:takes|needs|weighs|of|is|весит|весом|занимает|на|размером)\s(?:about\s|around\s|около\s|примерно\s)?~?(\d+(?:\.\d+)?)\s?(gb|gib|g|mb|гб|гиг\w*|мб)(?![a-zа-я])"
)
_KIND = re.compile(
    r"(?<![\w-])(embedding|embeddings|re-?rank(?:ing|er)|эмбеддинг\w*|эмбединг\w*|реранк\w*)(?:[- ](?:model|service|server|модел\w*|сервис\w*))?(?![\w-])"
)
_LLM = re.compile(r"(?<![\w-])(?:a|one|одна) (?:large language model|llm|ллм)(?![\w])")


@dataclass(slots=True)
class ModelMention:
    """A model in the text: what was said of it and where."""

    ask: ModelAsk
    start: int
    end: int
    family: str | None = None
    plural: bool = False
    by_file: bool = False
    words: list[str] = field(default_factory=list)


def read_models(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    """Claim every mention of a model, in order of the text.

    Args:
        sheet: the text.
        lexicon: names and words.
        precisions: mentions of precisions; those that belong to a name are claimed with it.
    """
    found = _quoted(sheet) + _families(sheet, lexicon, precisions) + _chunks(sheet, lexicon, precisions)
    found += _hub_ids(sheet, lexicon)
    found = _join_sizes_before(sheet, sorted(found, key=lambda m: m.start))
    found += _file_sized(sheet)
    found += _unnamed(sheet, lexicon, found)
    found.sort(key=lambda m: m.start)
    return found + _kinds(sheet, found)


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
        if not sheet.free(match.start(1), end):
            continue
        family = family or _misspelled(sheet, lexicon, word, end)
        if family is None:
            continue
        compound = _compound(sheet, lexicon, match.start(1), family)
        family, end = compound or (family, end)
        reader = _Tail(sheet, lexicon, precisions, family, end)
        reader.run()
        if word in lexicon.names["rules"]["weak"] and reader.end == end and not compound:
            continue
        if family == "Phi" and word == "фи" and reader.end == end:
            continue
        sheet.claim(start, reader.end)
        found.append(reader.mention(start))
    return found + _bare_deepseek(sheet, lexicon, precisions)


def _misspelled(sheet: Sheet, lexicon: Lexicon, word: str, end: int) -> str | None:
    """A word one slip away from a family, right before a version or size ("lamma 3.1 8b")."""
    if len(word) < 5 or word in lexicon.words["stop"] or "llama" in word or not _DIGIT_NEXT.match(sheet.low, end):
        return None
    from rapidfuzz.distance import OSA

    best, slips = None, 2.5
    for spelling, family in (lexicon.families | lexicon.stems).items():
        if spelling[0] == word[0] and len(spelling) > 4 and abs(len(spelling) - len(word)) < 2:
            distance = OSA.distance(word, spelling, score_cutoff=2)
            best, slips = (family, distance) if distance < slips else (best, slips)
    return best


_DIGIT_NEXT = re.compile(r"[\s:-]?\d")
_COMPOUND = re.compile(r"[a-z0-9.+]+(?:-[a-z0-9.+]+)+")


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
    return sheet.text[start:end], end


_BARE_R1 = re.compile(r"(?<![\w.-])(?:(r1)|(v3(?:\.\d)?|v4))(?![\w.])")


def _bare_deepseek(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    found: list[ModelMention] = []
    known = "deepseek" in sheet.low or "дипсик" in sheet.low
    for match in sheet.find(_BARE_R1):
        if match.group(2) and not known:
            continue
        reader = _Tail(sheet, lexicon, precisions, "DeepSeek", match.end())
        reader.name.append(match.group().upper())
        reader.run()
        sheet.claim(match.start(), reader.end)
        found.append(reader.mention(match.start()))
    return found


class _Tail:
    """Reads what follows a family name: version, size, suffixes, active parameters, precision."""

    def __init__(self, sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision], family: str, at: int) -> None:
        self.sheet, self.lexicon, self.family, self.end = sheet, lexicon, family, at
        self.precisions = {p.start: p for p in precisions}
        self.name: list[str] = []
        self.version: str | None = None
        self.size: float | None = None
        self.variant: list[str] = []
        self.precision: list[str] = []
        self._steps = (
            self._take_precision,
            self._moe,
            self._active,
            self._million,
            self._sized,
            self._trillion,
            self._date,
            self._numbered,
            self._bare,
            self._word,
        )

    def run(self) -> None:
        """Take one part after the other until none fits."""
        for _ in range(12):
            if not any(step() for step in self._steps):
                return

    def mention(self, start: int) -> ModelMention:
        """Return what was read."""
        glued = self.family in self.lexicon.names["rules"]["glued"]
        name = self.family
        for number, part in enumerate(self.name):
            name += ("" if part == "+" or (glued and number == 0 and part == self.version) else "-") + part
        if self.family in self.lexicon.names["rules"]["embedding"] and "embedding" not in self.variant:
            self.variant.append("embedding")
        ask = ModelAsk(name, self.size, "-".join(self.variant) or None, " ".join(self.precision) or None)
        return ModelMention(ask, start, self.end, family=self.family, words=self.variant)

    def _at(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.sheet.low, self.end)
        return found if found and found.end() > self.end and self.sheet.free(*found.span()) else None

    def _take(self, found: re.Match[str]) -> bool:
        self.end = found.end()
        return True

    def _take_precision(self) -> bool:
        gap = re.match(
            r"[\s\-_:./(]*(?:(?:в|in|at|с|кванте|квант|quant|quantized|with|native|version)\s)*",
            self.sheet.low[self.end : self.end + 24],
        )
        width = gap.end() if gap else 0
        for at in range(self.end, self.end + width + 1):
            one = self.precisions.get(at)
            if one and self.sheet.free(one.start, one.end):
                self.precision.append(one.said)
                self.end = one.end
                return True
        return False

    def _moe(self) -> bool:
        found = self._at(_MOE)
        if not found or self.size is not None:
            return False
        _, experts, size, size2, experts2 = found.groups()
        self.variant.append(f"{experts or experts2}x{size or size2}B")
        return self._take(found)

    def _active(self) -> bool:
        found = self._at(_ACTIVE)
        if not found:
            return False
        self.variant.append(found.group(1).upper().replace("А", "A").replace("Б", "B"))
        return self._take(found)

    def _million(self) -> bool:
        found = self._at(_MILLION)
        if not found or self.size is not None:
            return False
        self.size = float(found.group(1)) / 1000
        return self._take(found)

    def _sized(self) -> bool:
        found = self._at(_SIZE)
        if not found or self.size is not None:
            return False
        self.size = float(found.group(1))
        return self._take(found)

    def _trillion(self) -> bool:
        found = self._at(_TRILLION)
        if not found or self.size is not None:
            return False
        self.size = float(found.group(1)) * 1000
        return self._take(found)

    def _date(self) -> bool:
        found = self._at(_DATE)
        if not found or found.group(1) in self.lexicon.names["gpus"]["geforce"]:
            return False
        self.variant.append(found.group(1))
        return self._take(found)

    def _numbered(self) -> bool:
        """A version: glued to the family, or one that the family is known to have."""
        found = self._at(_VERSION)
        if not found or self.version or self.size is not None:
            return False
        said = found.group(1).replace("_", ".")
        number = said.lstrip("v").rstrip("vn")
        known = self.lexicon.names["rules"]["versions"].get(self.family)
        glued = found.start(1) == self.end
        spelled = said.startswith("v")
        if not (
            spelled or (known is not None and (said in known or number in known)) or (glued and float(number) < 10)
        ):
            return False
        if said.startswith("v0") or (not glued and self.name and not spelled and "." not in said):
            return False
        if self.family == "DeepSeek":
            self.version = f"V{number}"
        else:
            self.version = said.upper() if said.endswith("v") else said
        self.name.append(self.version)
        return self._take(found)

    def _bare(self) -> bool:
        """A bare number after a family is a size in billions ("квен 30")."""
        found = self._at(_BARE) or (self._at(re.compile(r"(\d{2,3})(?![\da-zа-я.])")) if not self.version else None)
        if (
            not found
            or self.size is not None
            or any("x" in v.lower() for v in self.variant[:1])
            or "(" in found.group()
        ):
            return False
        if float(found.group(1)) < 0.1:
            return False
        self.size = float(found.group(1))
        return self._take(found)

    def _word(self) -> bool:
        if self.family in {"Command R"} and (plus := self._at(_PLUS)):
            self.name.append("+")
            return self._take(plus)
        found = self._at(_WORD)
        if found and not self._is_suffix(found.group(1)):
            found = self._at(_LETTERS)
        if not found or not self._is_suffix(found.group(1)):
            return False
        said = found.group(1)
        if found.group()[0] in " (" and not self._may_stand_apart(said, found.end()):
            return False
        word = self.lexicon.after_family.get(said, said)
        suffixes = self.lexicon.names["suffixes"]
        if word in suffixes["name"]:
            self.name.append(_display(word))
            if word in {"coder", "vl", "math", "embedding", "distill", "reranker", "omni"}:
                self.variant.append("VL" if word == "vl" else word)
        elif word in suffixes["variant"]:
            self.variant.append(word if word == "it" else word.capitalize())
        return self._take(found)

    def _may_stand_apart(self, said: str, end: int) -> bool:
        """Whether a word after a space still belongs to the name, though it is an ordinary word too."""
        if said not in self.lexicon.names["suffixes"]["joined"]:
            return True
        sized = re.match(r"\s\d+(?:\.\d+)?\s?[bб](?![a-zа-я])", self.sheet.low[end : end + 12])
        return bool(sized) or (self.family == "Mistral" and said in {"small", "medium", "large"})

    def _is_suffix(self, said: str) -> bool:
        word = self.lexicon.after_family.get(said, said)
        suffixes = self.lexicon.names["suffixes"]
        return word in suffixes["name"] or word in suffixes["variant"] or word in suffixes["wrap"]


def _display(word: str) -> str:
    return (
        word.upper()
        if (len(word) <= 4 and word[-1].isdigit()) or word == "vl" or (word[:1] in "kv" and word[1:2].isdigit())
        else word.capitalize()
    )


def _chunks(sheet: Sheet, lexicon: Lexicon, precisions: Sequence[Precision]) -> list[ModelMention]:
    """Names no family is known for, written together with a size: ``gpt4-x-alpaca-13b``, ``wizard:70b``."""
    found: list[ModelMention] = []
    for match in sheet.find(_CHUNK):
        name = sheet.text[match.start(1) : match.end(1)]
        reader = _Tail(sheet, lexicon, precisions, name, match.end())
        reader.size = float(match.group(2))
        reader.run()
        sheet.claim(match.start(), reader.end)
        found.append(reader.mention(match.start()))
    return found


def _hub_ids(sheet: Sheet, lexicon: Lexicon) -> list[ModelMention]:
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
        found.append(ModelMention(ModelAsk(sheet.text[match.start() : match.end()]), *match.span()))
    return found


def _join_sizes_before(sheet: Sheet, found: list[ModelMention]) -> list[ModelMention]:
    """ "70B Llama", "the 14B (R1 distill)": a size right before a family without one belongs to it."""
    for mention in found:
        if mention.ask.size_b is not None or mention.family is None:
            continue
        before = re.search(
            r"(?<![\w.])(\d+(?:\.\d+)?)\s?-?[bб](?:illion)?[\s-]*(?:\(\s*|parameters?\s|parameter\s|model\s(?:of\s)?|версия\s|version\sof\s|of\s)?$",
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


def _file_sized(sheet: Sheet) -> list[ModelMention]:
    """Models known by the size of their file ("a 38 GB model"), which says nothing of parameters."""
    found: list[ModelMention] = []
    for match in sheet.find(_FILE_SIZE):
        sheet.claim(*match.span())
        said = sheet.text[match.start() : match.end()].strip()
        found.append(ModelMention(ModelAsk(f"model ({said})"), *match.span(), by_file=True))
    return found


def _unnamed(sheet: Sheet, lexicon: Lexicon, named: list[ModelMention]) -> list[ModelMention]:
    found: list[ModelMention] = []
    for match in sheet.find(_UNNAMED_MOE, claim=True):
        found.append(ModelMention(ModelAsk("Mixtral", None, match.group(1).upper().replace("X", "x")), *match.span()))
    for match in sheet.find(_UNNAMED):
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
    if plain or not sheet.free(at, start) or not ((word[0].isupper() and not first) or any(c.isdigit() for c in word)):
        return None, start
    return word, at


def _inherits(sheet: Sheet, start: int, earlier: list[ModelMention]) -> str | None:
    """ "Qwen3 14B or 32B": a size joined to a named model by a conjunction is of the same family."""
    for mention in earlier:
        between = sheet.low[mention.end : start] if mention.end <= start else "?" * 9
        if mention.family and re.fullmatch(
            r"\s?(?:,|/|or|and|и|или|либо|vs|\+|,? ?(?:and|or|и|или) (?:the|a|two|one)?)\s?", between
        ):
            return mention.ask.name
    return None


def _kinds(sheet: Sheet, named: list[ModelMention]) -> list[ModelMention]:
    """Unnamed embedding or re-ranking models, and an LLM beside them."""
    if any("embedding" in m.words for m in named):
        return []
    found: dict[str, ModelMention] = {}
    for match in sheet.find(_KIND):
        kind = "reranking model" if re.match(r"re-?rank|реранк", match.group(1)) else "embedding model"
        if "model" in match.group() or "serv" in match.group() or "модел" in match.group() or "сервис" in match.group():
            found.setdefault(kind, ModelMention(ModelAsk(kind), *match.span()))
    if found and not named:
        for match in sheet.find(_LLM):
            found.setdefault("LLM", ModelMention(ModelAsk("LLM"), *match.span()))
    return sorted(found.values(), key=lambda m: m.start)
