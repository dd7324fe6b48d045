"""Amounts that are not part of a name: RAM, memory already in use, context, users, machines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agent.reader.cards import UNIT
from agent.reader.flags import Flags, tokens
from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.sheet import Sheet

_MEMORY = Lazy(
    rf"(?<![\w.])~?(\d+(?:\.\d+)?)\s?-?(?:({UNIT})|(tb|тб|терабайт\w*|t(?=\s(?:of\s)?(?:ram|"
    rf"ddr)))(?![^\W_])|(mb|mib|мб)(?![^\W_]))"
)
_RAM = (
    r"(?:(?:system|main|host|cpu|server)\s)?(?<!v)(?:ram|ddr\d?|dram|lpddr\d\w?|ддр\d?|rdimm|озу|оператив\w*|"
    r"рам[аы]?|system memory|host memory)(?![^\W\d_])"
)
_RAM_AFTER = Lazy(rf"\s?(?:of\s|в\s|на\s)?{_RAM}")
_RAM_BEFORE = Lazy(rf"(?:{_RAM}|(?<!cache\s)(?<![a-z])memory|(?<!\w)памяти)[\s:=(]*(?:is\s|на\s|-\s|всего\s)?$")
_BARE_RAM = Lazy(
    r"(?<![\w.])(\d{1,4})\s(?:озу|оператив\w*|ram|ddr\d)(?![^\W\d_])|(?:озу|оператив\w*|"
    r"(?<!v)ram)(?:\s(?:докинуть|добавить|докупить|поднять|нарастить|расширить|увеличить|будет|есть|всего|у меня|"
    r"to|upgraded?|is|на|до)){0,3}[\s:]+(\d{1,4})(?!\w|\.\d)"
)
_BARE_VRAM = Lazy(
    r"(?:vram|врам\w*|видеопамят\w*)[\s:]+(\d{1,3})(?!\w|\.\d)|(?<![\w.])(\d{1,3})\s(?:vram|врам\w*)(?![^\W\d_])"
)
_WAS = Lazy(
    r"\s(?:(?:just|already|now)\s)?(?:upgraded|expanded|extended|bumped|raised|increased|upgrading|going) to \d"
)
"""After an amount that is no more."""
_MEMORY_AFTER = Lazy(r"\s?(?:of\s)?memory(?![^\W\d_])")
_DISK_AFTER = Lazy(r"\s?(?:of\s)?(?:\w+\s)?(?:disk|ssd|nvme|hdd|storage|drive|диск\w*|ссд|места)(?![^\W\d_])")
_CPU_BEFORE = Lazy(
    r"(?:epyc|xeon|(?:raspberry|orange)\s?pi|nuc|threadripper|ryzen|\bi[3579]|\d{4}x(?:3d)?)(?:[\s-]\w+){0,4}?(?:\s?,\s?|\s(?:with|and|с|и)\s|\s)$"
)
_DISK_BEFORE = Lazy(r"(?:disk|ssd|nvme|hdd|storage|диск\w*|ссд)[\s:]*(?:на\s|of\s)?$")
_VRAM_AFTER = Lazy(
    r"\s?(?:of\s|на\s|on\s(?:the\s|my\s)?|в\s)?(?:(?:total|gpu|graphics|dedicated)\s)?(?:vram|video|"
    r"gpu|card|graphics|gddr\d\w*|hbm\w*|видеопам\w*|видео|врам\w*|карт\w*|видюх\w*|видях\w*|unified|"
    r"памяти)"
)
_VRAM_BEFORE = Lazy(
    r"(?:vram|врам\w*|видеопам\w*|video memory|gpu memory|cards?|gpus?|карт\w*|карточк\w*|"
    r"видеокарт\w*|видюх\w*|видях\w*)(?:\s(?:is|на|с|по|of|with|has|всего|only|at|у меня|там|"
    r"have))*[\s:,=-]*$"
)
_USED = Lazy(
    r"(?:already|taken|in use|occupied|занят\w*|съел\w*|съедает|жрет|отъел\w*|отъедает|уже висит|"
    r"уже занима\w+|забирает|забит\w*)"
)
_WHO = (
    r"(?:browser|desktop|chrome|firefox|xorg|windows|display|system|game|another process|"
    r"other process|someone|браузер\w*|хром\w*|десктоп|рабочий стол|винд\w*|систем\w*|иксы|игр\w*|"
    r"другой процесс|другим процессом|коллег\w*|яндекс|телеграм)"
)
_USER_OF_MEMORY = Lazy(_WHO)
_BARE_USED = Lazy(
    rf"(?:{_WHO}\s(?:уже\s|already\s)?(?:съел\w*|ест|жрет|занял\w*|занимает|отъел\w*|отъедает|takes|"
    rf"uses|took|eats|ate)|занято|занятых)\s(?:уже\s|about\s|около\s)?(\d{{1,3}}(?:\.\d+)?)(?![\w.])"
)
_MODEL_USES = Lazy(
    r"(?:sits at|uses|using|takes|taking|needs|weighs|consum\w+|занимает|весит|ест|кушает|requires|"
    r"went to|goes to|up to|limit\w*|за)\s(?:about\s|around\s|только\s|just\s)?~?$"
)
_LOOSE_BEFORE = Lazy(
    r"(?:^|(?:\b(?:ve|meant|mean|on|in|is|are|if|хватит ли|хватит|"
    r"into|upgraded to|within|with|have|has|only|got|at|under|just|my|the|a|на|в|во|с|до|есть|имею|"
    r"всего|только|мои|моих|моей|карта|по)|[,:;(]))\s*$"
)
_ENOUGH = Lazy(r"\s(?:be\s)?(?:should|enough|sufficient|хватит|хватает|достаточно|мало)")
_K = r"(\d{1,13}(?:\.\d+)?)\s?(k|m|тыс\w*|thousand|million)?"
_CONTEXT_WORD = (
    r"(?:context|ctx|контекст\w*|окн[оаеу]\w*|window|tokens?|токен\w*|prompts?|промпт\w*|seq(?:uence)?(?:\slen\w*)?)"
)
_BEFORE_WORD = Lazy(
    rf"(?<![\w.-])(?:\d+\s?k?\s?(?:to|-|до|or)\s?)?{_K}(?![\w])(?:\s?-?(?:токен\w*|tokens?|"
    rf"token)\s(?:of\s)?)?[\s-](?:long\s|max\s|full\s)?{_CONTEXT_WORD}"
)
_AFTER_WORD = Lazy(
    rf"(?:context|ctx|контекст\w*|окн[оаеу]\w*|window|prompts?|промпт\w*|диалог\w*|seq len|(?:(?:context|"
    rf"max|sequence) |(?<!model ))length|истори\w*|документ\w*|documents?|chats of)(?:\s(?:of|is|to|about|up|at|до|"
    rf"в|на|по|около|примерно|size|length|len|max|длиной|длина|окно|нужен|нужно|хочу|мне|хотя|бы|где|"
    rf"то|around|и|for|each))*[\s=:~]*{_K}(?![\w.]|\s?(?:{UNIT}|%|users?|юзер|польз|чел|people|х|x))"
)
_BARE_K = Lazy(r"(?<![\w.$-])(\d{1,4}(?:\.\d)?)\s?(k)(?![^\W_])")
_BARE_M = Lazy(r"(?<![\w.$-])(1|2|10)(m)(?![^\W_])")
_ROUND = Lazy(r"(?<![\w.$-])(?<!length\s)(\d{4,6})(?![\w.]\w|\s?(?:mi?b|gb|мб|гб))")
_BUYS = Lazy(r"(?<![^\W_])(?:buy|budget|price|cost|купить|взять|брать|бюджет\w*|цена|стоит|потратить)(?![^\W_])")
_UP_TO = Lazy(r"(?:up to|under|within|for|до|за|в пределах)\s$")
"""Of what is bought "up to 100k" is money."""
_OVER = Lazy(r"(?:more than|above|over|beyond|больше|выше|свыше|larger than)\s$")
_USERS = Lazy(
    r"(?<![\w.])(\d{1,6}|[^\W\d_]{2,12})\s?\+?[\s-](?:(?:concurrent|simultaneous|parallel|active|"
    r"async|other|lora|daily|internal|remote|busy|api|chat|human|одновременн\w+|параллельн\w+|активн\w+|живых|разн\w+|наших|моих)\s)*"
    r"(users?|requests?|people|clients?|sessions?|seats|employees|developers|devs|persons|chats|analysts|students|"
    r"colleagues|engineers|researchers|coworkers|teammates|customers|testers|staff|calls|"
    r"conversations|streams|пользовател\w*|юзер\w*|человек\w*|людей|чел|запрос\w*|клиент\w*|"
    r"сотрудник\w*|разработчик\w*|разраб\w*|сесси\w*|чатов|поток\w*|диалогов|коллег\w*|оператор\w*)(?![^\W\d_])(?!\s?(?:/|per|a|в)\s?(?:s|sec|second|min|minute|hour|day|сек\w*|с|мин\w*)(?![^\W\d_]))"
)
_USERS_BARE = Lazy(
    r"(?<![\w.])(\d{2,5})\s(?:concurrent|concurrently|simultaneously|in parallel|at once|"
    r"at a time|at the same time|at peak|одновременно|разом|параллельно)(?![^\W\d_])"
)
_USERS_AFTER = Lazy(
    r"(?:пользователей|юзеров|запросов|людей|users|requests|clients)\s(?:будет\s|станет\s|is\s|are\s|"
    r"=\s|до\s)?(\d{1,6})(?![\w.]|\s?(?:gpu|card|карт))"
)
_TEAM = Lazy(
    r"(?:team|group|department|office|class|команд[аыуе]|отдел\w*|групп[аыуе]|офис\w*)\s(?:of|из|на|в)\s(\d{1,5})(?![\w.])"
)
_NODES = Lazy(
    r"(?<![\w.])(\d{1,3}|[^\W\d_]{2,12})[\s-](?:(?:gpu(?=\s\w+s(?!\w))|физических|отдельных|separate|"
    r"identical)\s)?(nodes?|servers?|machines?|boxes|hosts|узл\w*|нод\w*|сервер\w*|сервак\w*|машин\w*|"
    r"тач(?:ки|ек|ках)|хост\w*)(?![^\W\d_])"
)
_EACH_NODE = Lazy(
    r"nodes have|per (?:node|server|machine|box|host)|each|на (?:узел|ноду|сервер|каждом|каждой|каждый|узле|"
    r"ноде)|в каждом|в каждой"
)
_EACH = Lazy(
    r"(?<![\w.])(\d{1,2})\s(?:each|apiece|per (?:node|server|machine|box)|"
    r"в кажд\w+|на кажд\w+|в сервере|на ноду)"
)
_NODE_WITH = Lazy(
    r"[\s,:-]*(?:x|по|with|of|having|each with|each having|с|в каждом|на каждом)\s?$|[\s,:-]*(?:x|по|"
    r"with|of|with a|с)\s?(?:одной|одному|одна)?\s?$"
)

_NODE_OF = Lazy(r"\sof\s(?!them|these|those)")


@dataclass(slots=True)
class Memory:
    """A memory size nothing has claimed yet, in GB, sorted by what it belongs to."""

    kind: str
    gb: float
    start: int
    end: int


@dataclass(slots=True)
class Amounts:
    """Amounts of one text."""

    ram_gb: float | None = None
    reserved_gb: float | None = None
    vram: list[Memory] = field(default_factory=list)
    loose: list[Memory] = field(default_factory=list)


def read_memory(sheet: Sheet) -> Amounts:
    """Sort every unclaimed memory size: RAM, a card's, in use, disk, or loose."""
    amounts = Amounts()
    for match in sheet.find(_MEMORY):
        if _WAS.match(sheet.low, match.end()):
            sheet.claim(*match.span())
            continue
        value = float(match.group(1)) * (1024 if match.group(3) else 1) / (1024 if match.group(4) else 1)
        kind = _kind_of(sheet, match)
        sheet.claim(*match.span())
        memory = Memory(kind, round(value, 3), *match.span())
        if kind == "ram" and amounts.ram_gb is None:
            amounts.ram_gb = memory.gb
        elif kind == "reserved":
            amounts.reserved_gb = memory.gb
        elif kind in {"vram", "loose"}:
            getattr(amounts, kind).append(memory)
    for match in sheet.find(_BARE_RAM, claim=True):
        amounts.ram_gb = amounts.ram_gb or float(match.group(1) or match.group(2))
    for match in sheet.find(_BARE_VRAM, claim=True):
        amounts.vram.append(Memory("vram", float(match.group(1) or match.group(2)), *match.span()))
    for match in sheet.find(_BARE_USED, claim=True):
        amounts.reserved_gb = amounts.reserved_gb or float(match.group(1))
    return amounts


def _kind_of(sheet: Sheet, match: re.Match[str]) -> str:
    before, after = sheet.low[max(0, match.start() - 40) : match.start()], sheet.low[match.end() : match.end() + 40]
    near = re.split(r"[.?!\n;]\s", before)[-1] + " # " + re.split(r"[.?!\n;,]\s", after)[0]
    if _CPU_BEFORE.search(before) and not _VRAM_AFTER.match(after):
        return "ram"
    if _DISK_AFTER.match(after) or _DISK_BEFORE.search(before):
        return "disk"
    if _RAM_AFTER.match(after) and not _USED.search(near):
        return "ram"
    if _USER_OF_MEMORY.search(near) or (_USED.search(near) and not _RAM_AFTER.match(after)):
        return "reserved"
    if _RAM_AFTER.match(after):
        return "ram"
    if _MODEL_USES.search(before) or match.group(4):
        return "used"
    if _VRAM_AFTER.match(after) or _VRAM_BEFORE.search(before):
        return "vram"
    if _RAM_BEFORE.search(before):
        return "vram" if re.match(r"\s(?:each|per card|per gpu|каждая)", after) else "ram"
    loose = _LOOSE_BEFORE.search(before) or _ENOUGH.match(after) or _MEMORY_AFTER.match(after)
    return "loose" if loose or not after.strip(" .?!") else "other"


def read_context(sheet: Sheet, flags: Flags) -> int | None:
    """Return the context asked for, in tokens: a flag's value first, then what words say, then a bare ``64k``."""
    worded = [_value(m, sheet) for p in (_BEFORE_WORD, _AFTER_WORD) for m in sheet.find(p, claim=True)]
    price = _BUYS.search(sheet.low)
    bare = [
        _value(m, sheet)
        for p in (_BARE_K, _BARE_M)
        for m in sheet.find(p, claim=True)
        if not (price and _UP_TO.search(sheet.low[: m.start()]))
    ]
    if flags.context:
        return flags.context[0]
    stated = [v for v in worded if v and v >= 16]
    loose = [v for v in bare if v]
    return max(stated + loose) if stated else loose[0] if loose else _round_number(sheet)


def _round_number(sheet: Sheet) -> int | None:
    """Return the last number that can only be a length of context: a multiple of 1024 ("16384 fails")."""
    found = [int(m.group(1)) for m in sheet.find(_ROUND) if int(m.group(1)) % 1024 == 0 and int(m.group(1)) > 1024]
    return found[-1] if found else None


def _value(match: re.Match[str], sheet: Sheet) -> int | None:
    if _OVER.search(sheet.low[max(0, match.start() - 12) : match.start()]):
        return None
    number, suffix = match.group(1), match.group(2) or ""
    suffix = "k" if suffix[:1] in {"k", "к", "т"} or suffix == "thousand" else "m" if suffix else ""
    return tokens(number, suffix)


def read_users(sheet: Sheet, lexicon: Lexicon, flags: Flags) -> int | None:
    """Return how many people or requests at once; "several hundred" is no number."""
    found = [
        number
        for m in sheet.find(_USERS)
        if (number := lexicon.number(m.group(1)))
        and not re.search(r"^(?:a|an|the|one|один|одна|одной)$", m.group(1))
        and _claimed(sheet, m)
    ]
    at_once = [int(m.group(1)) for m in sheet.find(_USERS_BARE, claim=True)]
    found += [int(m.group(1)) for p in (_USERS_AFTER, _TEAM) for m in sheet.find(p, claim=True)]
    return next(iter([*flags.users, *at_once, *found]), None)


def _claimed(sheet: Sheet, match: re.Match[str]) -> bool:
    sheet.claim(*match.span())
    return True


@dataclass(slots=True)
class Nodes:
    """How many machines, where that was said, and whether what follows is for each of them."""

    count: int | None = None
    start: int = -1
    end: int = -1
    per_node: bool = False
    several: bool = False


def read_nodes(sheet: Sheet, lexicon: Lexicon, flags: Flags) -> Nodes:
    """Read the number of machines. One machine is not a number worth stating."""
    nodes = Nodes(
        several=bool(
            re.search(
                r"multi[- ]?node|several nodes|per (?:node|box|server)|несколько (?:нод|узлов|серверов)|cluster|"
                r"кластер",
                sheet.low,
            )
        )
    )
    nodes.per_node = bool(_EACH_NODE.search(sheet.low))
    if flags.nodes:
        nodes.count = flags.nodes[0]
        return nodes
    for match in sheet.find(_NODES):
        number = lexicon.number(match.group(1))
        if number and number > 1:
            nodes.count, nodes.start, nodes.end = number, match.start(), match.end()
            sheet.claim(*match.span())
            break
    return nodes


def is_sum(sheet: Sheet, nodes: Nodes, count: int) -> bool:
    """Read "16x V100, 4 servers (4 each)": a count that the machines' own counts add up to."""
    return any(int(m.group(1)) * (nodes.count or 1) == count for m in _EACH.finditer(sheet.low))


def multiplies(sheet: Sheet, nodes: Nodes, start: int) -> bool:
    """Whether a count that starts at ``start`` is for each machine."""
    if nodes.count is None:
        return False
    return nodes.per_node or (
        0 <= nodes.end <= start
        and bool(
            _NODE_WITH.match(sheet.low[nodes.end : start] + " ")
            or _NODE_OF.match(sheet.low, nodes.end)
            or _NODE_WITH.search(sheet.low[nodes.end : start][-12:])
        )
        and start - nodes.end < 16
    )
