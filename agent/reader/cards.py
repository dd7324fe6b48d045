"""How many cards and how much memory each: what stands around a card's name, and cards that have no name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.reader.gpus import GpuMention
from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.sheet import Sheet

UNIT = r"(?:gb|gib|гб|гиг\w*|gigs?|go|g|гигабайт\w*)(?![^\W_])"
_MEMORY_BEFORE = Lazy(rf"(?<![\w.])(\d+(?:\.\d+)?)\s?{UNIT}[\s-]*(?:of\s)?(?:ram\s|vram\s|unified\s|memory\s)*$")
_MEMORY_AFTER = Lazy(
    rf"[\s,(:-]*(?:with\s|w/\s?|на\s|по\s|at\s|@\s?|of\s|со?\s|has\s|c\s|и\s)*(?:a\stotal\sof\s|всего\s|"
    rf"суммарно\s)?(\d+(?:\.\d+)?)\s?-?{UNIT}(?:\sof)?(\s?(?:unified|system|gpu|video|общей|единой|"
    rf"total)?\s?(?:memory|vram|ram|видеопамяти|памяти|врам|hbm\d?\w*|gddr\d\w*|озу|оперативки|ddr\d|"
    rf"model|модель)?)"
)
_BARE_AFTER = Lazy(
    r"(?:[\s-]|\s?(?:на|по)\s|,\s|\s?\((?=\d{1,3}\)))(\d{1,3})(?![\w%]|[.,]\d|\s?x|\s?-?(?:gb|gib|гб|гиг|g\b))(\s(?:each|каждая|озу|ram))?"
)
_COUNT_AFTER = Lazy(
    r"[\s)]*\(?x\s?(\d{1,4})(?![\d.]|\s?(?:gb|g\b|гб))\)?|[\s,(-]{0,3}(\d{1,2}|"
    r"[^\W\d_]{2,8})\s?-?(?:шт\w*|pcs|pieces|cards?|gpus?|карт\w*)(?![^\W\d_])|\s(pair|duo)(?![^\W\d_])"
)
_TIMES_TWICE = Lazy(r"\s?x\s?(\d{1,2})\s?x\s?(\d{1,2})(?!\w|\s?(?:gb|g\b|гб))")
"""Read "H100x8*2"."""
_FORM_AFTER = Lazy(r"[\s-]*(?:pcie|sxm\d?|nvl|blackwell|ada|mobile|laptop|gpus?|cards?|sff)(?![a-z0-9])")
_NODES_AFTER = Lazy(r"\s(?:nodes|servers|узл\w+|нод\w*|сервер\w*)\s?x\s?(\d{1,2})")
_TOTAL = Lazy(r"\s?\)?,?\s?(?:in\s)?(?:total|combined|всего|суммарно|в сумме|altogether|итого)")
_RAM_WORD = Lazy(r"\s?(?:of\s)?(?:system\s|main\s)?(?:ram|ddr\d|dram|озу|оператив\w*|рам)(?![^\W\d_])")
_PLAIN_SIZES = frozenset({8, 16, 18, 24, 32, 36, 48, 64, 96, 128, 192, 256, 512})
_SOLD_SIZES = (4, 6, 8, 10, 11, 12, 16, 20, 22, 24, 32, 40, 48, 64, 72, 80, 96, 98, 128, 141, 192, 288)
"""Memory sizes (GB) that cards are sold with: what is none of them may be the sum over several cards."""
_TIMES_MEMORY = Lazy(
    rf"(?<![\w.])(\d{{1,2}})\s?(?:x|(?:шт\w*\s|карт\w*\s|видеокарт\w*\s)?по|(?:cards?\s|gpus?\s)?of)\s?"
    rf"(\d{{1,3}}(?:\.\d)?)\s?{UNIT}"
)
_TIMES_BARE = Lazy(r"(?<![\w.])(?<!mixtral\s)(?<!moe\s)([2-9]|1[0-6])\s?x\s?(\d{2,3})(?=[\s,;!?)]*(?:$|[^\W\d_]{3}))")
"""Read "it's 2x24" where nothing says that the number is memory."""
_SUM = Lazy(rf"(?<![\w.])(\d{{1,3}})(?:\s?{UNIT})?\s?\+\s?(\d{{1,3}})\s?{UNIT}(?!\s(?:of\s)?(?:ram|ddr|озу))")
"""Read "24+8GB": two cards."""
_TAKEN = Lazy(r"\s?(?:is\s|are\s|уже\s)?(?:taken|in use|used|already|occupied|free|занят\w*|свободн\w*)(?![^\W_])")
_COUNT_ASKED = Lazy(
    r"(?:how many|сколько|скольк\w*|number(?: of)?|количество)\s(?:(?!сто(?:ит|ят|ил)|обойд)\w+\s){0,2}$"
)
_UNNAMED_ASKED = Lazy(r"(?:how many|сколько)\s(?:(?!сто(?:ит|ят|ил)|обойд)[^\W\d_]+\s)?$")
"""How many of a card; "сколько стоит" asks for its price."""
_SET_APART = Lazy(r"[,+&]|(?<![^\W\d_])(?:and|with|plus|и|с|плюс)(?![^\W\d_])")
_DIGITS_BEFORE = Lazy(r"(?<![\w.])(\d{1,3})[\sx*-]{0,3}$")
_BESIDE = Lazy(rf"(?<![\w.])(\d{{1,3}})\s?-?{UNIT}(?:\scard)?\s?(?:,|\+|&|and|и|plus)\s?(?:an?\s|one\s)?$")
_OTHER_SIZE = Lazy(
    rf"[\s,]*(?:vs\.?|versus|or|или|против|/)\s?(?:the\s|an?\s)?(\d{{1,3}})\s?{UNIT}(?!\s(?:of\s)?(?:ram|ddr|озу))"
)
_SIZES = Lazy(r"(?<![\w.])\d{1,3}(?:\s?(?:\+|,|/|&|and|и)\s?\d{1,3})+(?![\w.])")
_OF_CARDS = frozenset({"gpus", "hardware", "used", "time"})
_NOT_A_CARD = Lazy(
    r"[\s_-]*(?:memory|vram|util|poor|box|ram|памят|operator|driver|instance|hour|offload|"
    r"layers|[0-3](?!\d))(?![a-z]{3})"
)


def measure(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> None:
    """Read count and memory on both sides of a card, claiming what is used."""
    _look_after(sheet, lexicon, mention)
    _look_before(sheet, lexicon, mention)
    known = known_sizes(lexicon, mention) or _SOLD_SIZES
    count, memory = mention.count, mention.memory_gb
    if (
        count
        and count > 1
        and memory
        and (mention.total or (memory not in known and any(abs(memory / count - k) < 0.6 for k in known)))
    ):
        mention.memory_gb = round(memory / count, 2)


def known_sizes(lexicon: Lexicon, mention: GpuMention) -> Sequence[float]:
    """Return the memory sizes (GB) that a card is sold with, as far as the reader needs them."""
    gpus = lexicon.names["gpus"]
    return gpus["codes"].get(mention.code or "", ()) or gpus["memory"].get(mention.name or "", ())


def _look_after(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> None:
    for _ in range(5):
        if not (
            _form(sheet, mention)
            or _memory_after(sheet, lexicon, mention)
            or _bare_memory(sheet, lexicon, mention)
            or _count_after(sheet, lexicon, mention)
        ):
            return


def _form(sheet: Sheet, mention: GpuMention) -> bool:
    found = _FORM_AFTER.match(sheet.low, mention.end)
    if not found or not sheet.free(*found.span()) or not mention.name:
        return False
    sheet.claim(*found.span())
    mention.end = found.end()
    return True


def _memory_after(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> bool:
    found = _MEMORY_AFTER.match(sheet.low, mention.end)
    if not found or mention.memory_gb is not None or not sheet.free(found.start(1), found.end(1)):
        return False
    if _TAKEN.match(sheet.low, found.end()) or _is_of_the_machine(sheet, lexicon, mention, found):
        return False
    memory, kind = float(found.group(1)), found.group(2).strip()
    joined = not re.search(r"[,:]|with|\sс\s", sheet.low[mention.end : found.start(1)])
    is_ram = bool(re.search(r"(?<!v)ram|ddr|озу|операт|system", kind)) or bool(_RAM_WORD.match(sheet.low, found.end()))
    if (
        "model" in kind
        or "модел" in kind
        or (is_ram and not mention.unified and not (joined and memory in known_sizes(lexicon, mention)))
    ):
        return False
    return _take_memory(sheet, mention, memory, found.end())


def _is_of_the_machine(sheet: Sheet, lexicon: Lexicon, mention: GpuMention, found: re.Match[str]) -> bool:
    """Read "3070 and 32GB", "8x 4090, 256G of memory": far more than the card is sold with, and set apart from it."""
    memory = float(found.group(1))
    if not is_too_much(lexicon, mention, memory) or not _SET_APART.search(sheet.low[mention.end : found.start(1)]):
        return False
    return memory / (mention.count or _count_before(sheet, mention) or 1) not in known_sizes(lexicon, mention)


def is_too_much(lexicon: Lexicon, mention: GpuMention, memory_gb: float) -> bool:
    """Whether no card of a name can have so much memory: more than a modded one, twice what is sold."""
    most = _SOLD_SIZES[-1] if mention.name is None else memory_gb
    return memory_gb > 2 * max(known_sizes(lexicon, mention), default=most / 2)


def _count_before(sheet: Sheet, mention: GpuMention) -> int | None:
    """Return the digits right before a card, which are read after its memory."""
    said = _DIGITS_BEFORE.search(sheet.low[max(0, mention.start - 8) : mention.start])
    return int(said.group(1)) if said else None


def _bare_memory(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> bool:
    found = _BARE_AFTER.match(sheet.low, mention.end)
    if not found or mention.memory_gb is not None or not sheet.free(*found.span()):
        return False
    memory, said = float(found.group(1)), found.group()
    each = (found.group(2) or "").strip()
    if (each in {"озу", "ram"} and not mention.unified) or ("(" in said and not mention.name):
        return False
    spoken = said.lstrip().startswith(("на ", "по ")) or each in {"each", "каждая"}
    sold = memory in (known_sizes(lexicon, mention) if mention.name else _SOLD_SIZES)
    sold = sold or (mention.unified and memory in _PLAIN_SIZES)
    if not (sold or (spoken and (memory in _PLAIN_SIZES or memory in {4, 6, 10, 11, 12, 20, 22, 40, 80, 98}))) or (
        said.startswith(",") and not each and not sold
    ):
        return False
    return _take_memory(sheet, mention, memory, found.end())


def _take_memory(sheet: Sheet, mention: GpuMention, memory: float, end: int) -> bool:
    mention.memory_gb = memory
    total = _TOTAL.match(sheet.low, end) or (
        re.search(r"total|всего|суммарно", sheet.low[mention.end : end]) and "total"
    )
    mention.total = bool(total)
    sheet.claim(mention.end, end)
    mention.end = end
    return True


def _count_after(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> bool:
    twice = _TIMES_TWICE.match(sheet.low, mention.end)
    if twice and mention.count is None and sheet.free(*twice.span()):
        mention.count = int(twice.group(1)) * int(twice.group(2))
        sheet.claim(*twice.span())
        mention.end = twice.end()
        return True
    nodes = _NODES_AFTER.match(sheet.low, mention.end)
    found = nodes or _COUNT_AFTER.match(sheet.low, mention.end)
    if not found or mention.count is not None or not sheet.free(*found.span()):
        return False
    count = lexicon.number(next(filter(None, found.groups())))
    if count is None:
        return False
    mention.count = count
    if not nodes:
        sheet.claim(*found.span())
        mention.end = found.end()
    return True


def _look_before(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> None:
    for _ in range(7):
        left = max(0, mention.start - 60)
        text = sheet.low[left : mention.start]
        memory = _MEMORY_BEFORE.search(text)
        if memory and mention.memory_gb is None and sheet.free(left + memory.start(), mention.start):
            mention.memory_gb = float(memory.group(1))
            _extend(sheet, mention, left + memory.start())
            continue
        if not _word_before(sheet, lexicon, mention, text, left):
            return


def _word_before(sheet: Sheet, lexicon: Lexicon, mention: GpuMention, text: str, left: int) -> bool:
    """Step over one word to the left; returns False at the end of the card's phrase."""
    number = re.search(r"(?:(?<=\s)|(?<=^)|(?<=[(,;:]))(-?)(\d{1,7})[\s]?(x?)[\s-]{0,2}$", text) or re.search(
        r"(?<![\w.])()(\d{1,4})()[\sx-]{0,3}$", text
    )
    if number and sheet.free(left + number.start(), mention.start):
        if mention.count is None and len(number.group(2)) < 6:
            mention.count = int(number.group(1) + number.group(2))
            _extend(sheet, mention, left + number.start())
        return False
    word = re.search(r"([^\W\d_]+)[\s/-]{0,2}$", text)
    if not word or not sheet.free(left + word.start(), left + word.end(1)):
        return False
    said = word.group(1)
    if lexicon.is_a("between_count_and_gpu", said):
        mention.start = left + word.start()
        return True
    count = lexicon.numbers.get(said)
    if count and mention.count is None and (mention.name or mention.memory_gb or said not in {"a", "an"}):
        mention.count = count
        _extend(sheet, mention, left + word.start())
    return False


def _extend(sheet: Sheet, mention: GpuMention, start: int) -> None:
    sheet.claim(start, mention.start)
    mention.start = start


def find_unnamed(sheet: Sheet, lexicon: Lexicon) -> list[GpuMention]:
    """Cards without a name: "two GPUs", "a 12 GB card", "3x24 GB". Only with a count or memory."""
    found: list[GpuMention] = []
    for match in sheet.find(_TIMES_MEMORY, claim=True):
        found.append(GpuMention(None, *match.span(), count=int(match.group(1)), memory_gb=float(match.group(2))))
    for match in sheet.find(_SUM):
        if all(float(size) in _SOLD_SIZES for size in match.groups()):
            sheet.claim(*match.span())
            found += [GpuMention(None, *match.span(n), memory_gb=float(match.group(n))) for n in (1, 2)]
    for match in sheet.find(_TIMES_BARE):
        if float(match.group(2)) in _SOLD_SIZES:
            sheet.claim(*match.span())
            found.append(GpuMention(None, *match.span(), count=int(match.group(1)), memory_gb=float(match.group(2))))
    for word in sheet.words:
        if (
            not lexicon.is_a("gpu", word.text)
            or not sheet.free(word.start, word.end)
            or _NOT_A_CARD.match(sheet.low, word.end)
        ):
            continue
        mention = GpuMention(None, word.start, word.end)
        measure(sheet, lexicon, mention)
        mention.count_asked = bool(_UNNAMED_ASKED.search(sheet.low[max(0, word.start - 24) : word.start]))
        if mention.count is not None or mention.memory_gb is not None or mention.count_asked:
            sheet.claim(word.start, word.end)
            found += [*_beside(sheet, mention), mention]
    return sorted(found, key=lambda m: m.start)


def _beside(sheet: Sheet, mention: GpuMention) -> list[GpuMention]:
    """Read "a 24GB and a 12GB card": a size joined to that of a card is of a card of its own."""
    before = _BESIDE.search(sheet.low[: mention.start]) if mention.memory_gb is not None else None
    if before is None or not sheet.free(*before.span()):
        return []
    sheet.claim(*before.span())
    return [GpuMention(None, *before.span(), memory_gb=float(before.group(1)))]


def other_sizes(sheet: Sheet, cards: Sequence[GpuMention]) -> list[GpuMention]:
    """Read "M4 Max 36GB vs 48GB": the same card with another size, as its alternative."""
    found: list[GpuMention] = []
    for card in cards:
        other = _OTHER_SIZE.match(sheet.low, card.end) if card.name and card.memory_gb is not None else None
        if other and sheet.free(*other.span(1)):
            sheet.claim(*other.span())
            start, end = other.span(1)
            memory = float(other.group(1))
            found.append(GpuMention(card.name, start, end, card.count, memory, card.unified, card.code))
    return found


def give_listed(sheet: Sheet, lexicon: Lexicon, cards: Sequence[GpuMention]) -> None:
    """Read "3090 + 3070 (24 и 8)": as many sizes in a row as cards lack one, each sold with its size."""
    lacking = [card for card in cards if card.memory_gb is None and card.name]
    if len(lacking) < 2:
        return
    for match in sheet.find(_SIZES):
        sizes = [float(size) for size in re.findall(r"\d+", match.group())]
        if len(sizes) == len(lacking) and all(
            size in known_sizes(lexicon, card) for size, card in zip(sizes, lacking, strict=True)
        ):
            for size, card in zip(sizes, lacking, strict=True):
                card.memory_gb = size
            return


def count_is_asked(sheet: Sheet, lexicon: Lexicon, mention: GpuMention) -> bool:
    """Whether the text asks how many of this card, and not how many of something else with it."""
    asked = _COUNT_ASKED.search(sheet.low[max(0, mention.start - 40) : mention.start])
    if not asked or mention.count is not None:
        return False
    start = max(0, mention.start - 40) + asked.start()
    between = [word for word in sheet.words if start <= word.start < mention.start]
    return all(noun.key in _OF_CARDS for noun in lexicon.nouns.find(between))
