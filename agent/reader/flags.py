"""Engine flags, log lines and other text with numbers that mean one fixed thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.reader.lazy import Lazy
from agent.reader.sheet import Sheet

_SEP = r"(?:[\s=:]{1,3}|\s(?:to|at|is|was|set to|равно)\s)"
_NUMBER = r"(\d+(?:\.\d+)?)\s?([km]?)(?![^\W_]|\sx\s)"
_NAMES = {
    "context": (
        r"max[-_ ]model[-_ ]len|ctx[-_ ]size|num[-_]ctx|n[-_]ctx|context[-_]len(?!gth)|"
        r"max[-_ ]seq(?:uence)?[-_ ]len(?:gth)?|"
        r"max[-_]position[-_]embeddings|context[-_]length|max[-_ ]len|(?<![\w-])-c"
    ),
    "users": (
        r"max[-_ ]num[-_ ]seqs|max[-_]batch[-_]size|max[-_]running[-_]requests|ollama[-_]num[-_]parallel|"
        r"concurrency|batch(?: size)?(?: of)?"
    ),
    "tp": r"(?:tensor[-_ ]parallel[-_ ]size|tensor[-_ ]parallel|(?<![a-z])tp(?:[-_]size)?)",
    "pp": r"(?:pipeline[-_ ]parallel[-_ ]size|pipeline[-_ ]parallel|(?<![a-z])pp)",
    "dp": r"(?:data[-_]parallel[-_]size|(?<![a-z])dp)",
    "nodes": r"(?:num[-_])?nodes|nnodes",
    "gpus_per_node": r"gpus[-_]per[-_]node|gpu[-_]per[-_]node",
    "copies": r"number[-_]of[-_]instances|num[-_]instances|num[-_]replicas|replicas?|n[-_]workers?",
    "ignored": (
        r"gpu[-_ ]memory[-_ ]utili[sz]ation|num[-_]gpus?|num[-_]batch|num[-_]layers|n[-_]gpu[-_]layers|"
        r"(?<![\w-])-?ngl|temperature|top[-_][pk]|seed|max[-_]num[-_]batched[-_]tokens|max[-_]tokens|"
        r"n[-_]predict|swap[-_]space|cpu[-_]offload[-_]gb|block[-_]size|port|threads|mem[-_]fraction[-_]static|"
        r"iogpu\.wired_limit_mb|pre[-_]layer|kv[-_]cache[-_]memory[-_]bytes|\bgpu|\bdevice|cuda:"
    ),
}
_FLAG = Lazy("|".join(rf"(?P<{name}>{words})" for name, words in _NAMES.items()))
_VALUE = Lazy(rf"(?:{_SEP}|(?<=gpu)|(?<=tp)|(?<=pp)|(?<=dp)){_NUMBER}")
_LOG_CONTEXT = Lazy(
    r"max(?:imum)? (?:seq(?:uence)? len(?:gth)?|model len(?:gth)?|"
    r"context length)\s*\((\d+)\)(?:[^\n]{0,90}?\(\d+\))?|maximum concurrency for (\d+) tokens per request: [\d.]+x?"
)
_LOG_TOTAL = Lazy(r"total capacity of (\d+(?:\.\d+)?) ?gib|(\d+(?:\.\d+)?) ?gib total capacity")
_LOG_NOISE = Lazy(
    r"(?:tr(?:ied|ies|ying) to allocate|allocat\w+|reserved|free(?: memory)?|unused|"
    r"left)\s+(?:about\s+|~)?\d+(?:\.\d+)?\s?[gmk]i?b?\b"
    r"|\d+(?:\.\d+)?\s?[gmk]i?b?\s+(?:is |are |sit |still |of memory )*(?:free|unused|left|is allocated|reserved)\b"
    r"|kv cache (?:memory|size):\s?[\d.,]+\s?(?:[gmk]i?b|tokens)\b|(?:loading|weights) took [\d.]+ gi?b\b"
    r"|# ?(?:gpu|cpu) blocks: \d+|estimated maximum model length is \d+"
    r"|cache memory \([^)]*\)|[\d.]+ gib kv cache is needed"
    r"|desired gpu memory utilization \([^)]*\)"
    r"|(?:kv cache holds just|holds? (?:just|only))\s+\d+"
    r"|свободно\s+(?:еще\s+)?\d+(?:\.\d+)?\s?(?:гб|гиг\w*)?|\d+(?:\.\d+)?\s?(?:гб|гиг\w*)\s+свободн\w+"
)
_USED_OF = Lazy(
    r"(\d+(?:\.\d+)?)\s?(?:g?i?b?\s?/|(?:gi?b|гб|гиг\w*)?\s(?:out of|of|из))"
    r"\s?(\d+(?:\.\d+)?)\s?(?:g(?:i?b)?|гб|гиг\w*)\b"
)
_MONEY = Lazy(
    r"(?:\$|€|₽|£)\s?\d+(?:[.,]\d+)?\s?[km]?|\d+(?:\.\d+)?\s?(?:[km]|тыс\w*|тыщ\w*|млн)?\s?(?:(?:\$|€|₽|£)|usd|"
    r"dollars|bucks|eur(?:os?)?|rub|руб\w*|р\.|р(?![^\W_])|долл\w*|бакс\w*|евро|тыс\w*|тыщ\w*|"
    r"косар\w*)(?!\w|\s(?:токен|контекст|tokens?|ctx|симв))"
    r"|(?:бюджет\w*|budget)\s(?:до\s|of\s|is\s|~|около\s|в\s)*\d+(?:\.\d+)?\s?k?"
)
_VERSION = Lazy(
    r"(?<![\w.-])v?\d+\.\d+\.\d+(?:\.?(?:post|rc|dev)\d*)?(?![\w])|(?:vllm|sglang|ollama|cuda|"
    r"driver|python|torch|ubuntu)[ =]+v?\d+(?:\.\d+)+"
)
_SPEED = Lazy(r"\d+(?:\.\d+)?\s?(?:-\s?\d+\s?)?(?:tok\w*|t|токен\w*|ток)\s?(?:/|per|в|a)\s?(?:s|sec|second|сек\w*|с)\b")
_SHARE = Lazy(r"(?<![\w.])0\.\d+(?![\w])|\d+(?:\.\d+)?\s?%")


@dataclass(slots=True)
class Flags:
    """What flags and log lines state. Lists keep every value in order."""

    context: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    tp: list[int] = field(default_factory=list)
    pp: list[int] = field(default_factory=list)
    dp: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    gpus_per_node: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    card_gb: float | None = None


def tokens(number: str, suffix: str) -> int:
    """Return a token count: ``32k`` is 32768, ``100k`` is 100000, ``1m`` is a million."""
    value = float(number)
    if suffix in {"k", "к"}:
        whole = round(value)
        return whole * 1024 if value == whole and whole & (whole - 1) == 0 else round(value * 1000)
    return round(value * 1_000_000) if suffix in {"m", "м"} else round(value)


def read_flags(sheet: Sheet) -> Flags:
    """Claim flags, log lines, money, versions and speeds, and return what the flags say."""
    flags = Flags()
    for found in sheet.find(_LOG_CONTEXT, claim=True):
        flags.context.append(int(found.group(1) or found.group(2)))
    for found in sheet.find(_LOG_TOTAL, claim=True):
        flags.card_gb = float(found.group(1) or found.group(2))
    for pattern in (_MONEY, _VERSION, _SPEED):
        sheet.claim_all(pattern)
    for found in sheet.find(_USED_OF, claim=True):
        flags.card_gb = max(float(found.group(1)), float(found.group(2)))
    sheet.claim_all(_LOG_NOISE)
    _read_named(sheet, flags)
    sheet.claim_all(_SHARE)
    return flags


def _read_named(sheet: Sheet, flags: Flags) -> None:
    for found in sheet.find(_FLAG):
        value = _VALUE.match(sheet.low, found.end())
        if not value or not sheet.free(*value.span()):
            continue
        name = found.lastgroup or "ignored"
        if name == "ignored" and found.group() in {"gpu", "device"} and len(value.group(1)) > 1:
            continue
        if name == "users" and found.group().startswith("batch") and value.group(2):
            continue
        sheet.claim(found.start(), value.end())
        if name != "ignored" and len(value.group(1)) < 16:
            getattr(flags, name).append(tokens(value.group(1), value.group(2)))
