"""What follows the name of a model's family: version, size, suffixes, active parameters, precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.quants import Precision
from agent.reader.sheet import Sheet
from tools.domain import ModelAsk

_SEPARATOR = r"(?:[-_:.]|\s?\(|\s|)"
_MOE = Lazy(_SEPARATOR + r"((\d+)\s?x\s?(\d+(?:\.\d+)?)\s?b|(\d+(?:\.\d+)?)bx(\d+))(?![^\W\d_])")
_ACTIVE = Lazy(_SEPARATOR + r"(a\d+(?:\.\d+)?b|e\d+b)(?![^\W_])")
_SIZE = Lazy(
    _SEPARATOR
    + (
        r"(\d+(?:\.\d+)?)(?:\s?-?b(?![^\W_])|\s?-?(?:billion|bln|млрд|миллиард\w*|лярд\w*|"
        r"ярд\w*)(?:\s(?:параметр\w*|parameters?))?)"
    )
)
_TRILLION = Lazy(_SEPARATOR + r"(\d+(?:\.\d+)?)\s?(?:t|трлн|трилл\w*|trillion)(?![^\W_])")
_MILLION = Lazy(r"(?:[-_: ]|\s?\()(\d{2,3})\s?m(?![^\W_])")
_VERSION = Lazy(
    _SEPARATOR
    + (
        r"(v?\d{1,2}(?:[._]\d{1,2})?[vn]?)(?![\d]|[^\W\d_]{1,2}\b|[.,]\d|\s?x\s?\d|\s?(?:gb|gib|гб|гиг|"
        r"g\b|%))"
    )
)
_BARE = Lazy(
    r"[\s:-](\d{1,3}(?:\.\d)?)(?![\d]|[^\W\d_]|[.,]\d|\s?x\s?(?:[^\W\d_]|\d{3})|x|\s?(?:gb|gib|гб|гиг\w*|g\b|"
    r"%|k\b|к\b|gpu|card|карт|видео|видю|виде|юзер|user|польз|чел|ток|tok|шт|раз))"
)
_GLUED = Lazy(r"(\d{2,3})(?![\w.])")
_DATE = Lazy(r"[-_ ](0[1-9]\d\d|1[0-2]\d\d|2[3-6]\d\d)(?![\da-z])")
_WORD = Lazy(_SEPARATOR + r"([^\W\d_]+[+]?(?:\d(?:\.\d)?[a-z]?)?)(?![^\W\d_])")
_LETTERS = Lazy(_SEPARATOR + r"([^\W\d_]+)(?=\d)")
_UNKNOWN = Lazy(r"(?:-[a-z][a-z0-9.]*){1,2}(?=-\d{1,3}(?:\.\d+)?b(?![^\W_]))")
_BASE_OF = Lazy(r"\s(?:of|clock|speed|image|url|path|config|precision|memory)(?![^\W_])")
"""After "base" these show that it is no variant of the model."""
_PLUS = Lazy(r"[- ]?(?:plus|\+)(?![a-z0-9])")


@dataclass(slots=True)
class ModelMention:
    """A model in the text: what was said of it and where."""

    ask: ModelAsk
    start: int
    end: int
    family: str | None = None
    by_file: bool = False
    removed: bool = False
    words: list[str] = field(default_factory=list)


class NameTail:
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
            self._unknown,
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

    def _at(self, pattern: Lazy) -> re.Match[str] | None:
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
        spelled_out = spelled and number in (known or ())
        written = said.upper() if said.endswith("v") else number if spelled_out else said
        self.version = f"V{number}" if self.family == "DeepSeek" else written
        self.name.append(self.version or written)
        return self._take(found)

    def _bare(self) -> bool:
        """A bare number after a family is a size in billions ("квен 30")."""
        found = self._at(_BARE) or (self._at(_GLUED) if not self.version else None)
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

    def _unknown(self) -> bool:
        """Words written together with a size that follows them ("Llama2-Chinese-13b")."""
        found = self._at(_UNKNOWN) if self.size is None else None
        if not found:
            return False
        self.variant.append(found.group().strip("-"))
        return self._take(found)

    def _may_stand_apart(self, said: str, end: int) -> bool:
        """Whether a word after a space still belongs to the name, though it is an ordinary word too."""
        if said not in self.lexicon.names["suffixes"]["joined"]:
            return True
        if said == "base" and self.size is not None:
            return not _BASE_OF.match(self.sheet.low, end)
        sized = re.match(r"\s\d+(?:\.\d+)?\s?b(?![^\W\d_])", self.sheet.low[end : end + 12])
        return bool(sized) or said in self.lexicon.names["rules"]["apart"].get(self.family, ())

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
