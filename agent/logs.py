"""The log that a conversation is about, and what the asker would change in its start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.reader import read
from tools.errors import BadValue
from tools.logs.changed import read_changes
from tools.logs.paste import Paste, pasted
from tools.specs.names import said_name

_SHARE = re.compile(r"(?<![\w.,])0[.,]\d{1,3}(?![\w.,]*\d)|(?<!\d)(\d{2})\s?%")
_FLAG = re.compile(r"(?<!\w)--?[a-z]")


def is_wordless(turn: str) -> bool:
    """Whether a turn shows no language: no letters at all, or none beside a pasted log."""
    found = pasted(turn)
    words = found.words if found and found.whole else turn
    return not any(letter.isalpha() for letter in words)


def without_log(text: str) -> str:
    """Return a message with a mark in the place of its log: long, and written by no one who may ask for anything."""
    found = pasted(text)
    if not found or not found.whole:
        return text
    lines = found.text.count("\n") + 1
    return f"{found.words}\n[a log of {found.log.engine}, {lines} lines: read it with read_engine_log]".strip()


def log_in(turns: Sequence[str]) -> tuple[int, Paste] | None:
    """Return the newest log of a conversation with the number of its turn, or None."""
    for number in range(len(turns) - 1, -1, -1):
        found = pasted(turns[number])
        if found:
            return number, found
    return None


def intent_after(reading: Mapping[str, Any], turns: Sequence[str]) -> str:
    """Return what the last turn wants: one that names other cards or models leaves the failure in a log behind.

    A card or a model that the log does not tell only completes it.
    """
    known, found = str(reading.get("intent", "other")), log_in(turns)
    if known != "explain_error" or pasted(turns[-1]) or not found:
        return known
    said, log = read(turns[-1:]), found[1].log
    card = bool(log.card or log.memory.total_bytes) and any(card.name or card.memory_gb for card in said.gpus)
    elsewhere = card or (log.model is not None and bool(said.models))
    return said.intent if elsewhere and said.intent != "other" else known


def is_about_log(reading: Mapping[str, Any], found: tuple[int, Paste] | None, turns: Sequence[str]) -> bool:
    """Whether the last turn asks about the log: it holds it, or goes on about the failure in it.

    An error that is only quoted in a question counts where that question is about one model on one machine.
    """
    if found is None:
        return False
    number, paste = found
    alone = len(reading.get("models", [])) <= 1 and all((m.get("copies") or 1) == 1 for m in reading.get("models", []))
    if not paste.whole and not (alone and reading.get("intent") == "explain_error"):
        return False
    return number == len(turns) - 1 or reading.get("intent") == "explain_error" or bool(_changes(turns[-1]))


def log_arguments(reading: Mapping[str, Any], found: tuple[int, Paste], turns: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of ``read_engine_log``: what the words say beyond the log."""
    number, paste = found
    arguments: dict[str, Any] = {}
    model = next(iter(reading.get("models", [])), None)
    if model and model.get("name"):
        arguments["model"] = _named(model)
    card = next(iter(reading.get("gpus", [])), None)
    if card and card.get("name") and card["name"] != paste.log.card:
        arguments["gpu"] = card["name"]
    flags = changed_flags(reading, paste, turns[number + 1 :]) if number < len(turns) - 1 else ""
    return arguments | ({"changes": flags} if flags else {})


def _named(model: Mapping[str, Any]) -> str:
    name = said_name(str(model["name"]), model.get("size_b"), model.get("variant"))
    return f"{name}@{model['precision']}" if model.get("precision") else name


def _changes(words: str) -> dict[str, Any]:
    """Read what a turn says as flags ("--max-num-seqs 8"), or as a bare share of the card ("and with 0.85?")."""
    if _FLAG.search(words):
        try:
            return read_changes(words)
        except BadValue:
            return {}
    share = _SHARE.search(words)
    if not share:
        return {}
    return {
        "gpu_memory_utilization": float(share.group(1) or share.group().replace(",", "."))
        / (100 if share.group(1) else 1)
    }


def changed_flags(reading: Mapping[str, Any], paste: Paste, later: Sequence[str]) -> str:
    """Return as flags what the turns after a log change of its start: flags and shares, context, sequences, cache."""
    changes: dict[str, Any] = {}
    for words in later:
        changes |= _changes(words)
    known = paste.log.arguments
    for name, said in (("max_model_len", "context"), ("max_num_seqs", "users"), ("kv_cache_dtype", "kv_cache")):
        value = reading.get(said)
        if value is not None and value != known.get(name) and name not in changes:
            changes[name] = value
    cards = sum(card.get("count") or 1 for card in reading.get("gpus", []))
    if cards > 1 and cards != int(known.get("tp") or 1) * int(known.get("pp") or 1):
        changes["tp"] = cards
    return _flags(changes)


def _flags(changes: Mapping[str, Any]) -> str:
    words = {"tp": "tensor-parallel-size", "pp": "pipeline-parallel-size", "ep": "enable-expert-parallel"}
    parts: list[str] = []
    for name, value in changes.items():
        flag = f"--{words.get(name, name).replace('_', '-')}"
        parts.append(flag if value is True else f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}")
    return " ".join(parts)
