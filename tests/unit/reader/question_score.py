"""Judges readings against what questions say (tests/questions)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).parents[2] / "questions"
_BITS = (
    (("w8a", "gptq-int8", "q8", "8bit", "8-bit", "int8", "fp8", "mxfp8"), 8),
    (("w4a", "q4", "4bit", "4-bit", "int4", "awq", "gptq", "nf4", "mxfp4", "nvfp4", "iq4", "mlx-4", "4bpw"), 4),
    (("q2", "iq2", "2bit", "2-bit"), 2),
    (("q3", "iq3"), 3),
    (("q5",), 5),
    (("q6",), 6),
    (("fp32",), 32),
    (("fp16", "bf16", "full", "float16", "half"), 16),
)


def questions(name: str) -> list[dict[str, Any]]:
    """Return the questions of a file."""
    return [json.loads(line) for line in (QUESTIONS / name).read_text(encoding="utf-8").splitlines()]


def turns_of(question: Mapping[str, Any]) -> list[str]:
    """Return what the asker says, turn by turn."""
    return list(question.get("turns") or [question["text"]])


def is_right(question: Mapping[str, Any], reading: Mapping[str, Any]) -> bool:
    """Tell whether a reading has all that a question says, and asks where it must."""
    if question["expect"] != "correct":
        if not _matched(question["models"], reading["models"], _same_model):
            return False
        if not _matched(question["gpus"], reading["gpus"], _same_card):
            return False
        if not all(_close(question[key], reading[key], 0.05) for key in ("ram_gb", "context", "users", "nodes")):
            return False
    for key in ("engine", "config_kind"):
        if question[key] and _plain(question[key]) != _plain(reading[key]):
            return False
    asked = bool(reading["must_ask"]) or not question["ask_strict"]
    return asked and reading["intent"] in {question["intent"], *question["also"]}


def _matched(
    wanted: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
) -> bool:
    """Whether each of two lists has a partner in the other."""
    left = list(found)
    for one in wanted:
        partner = next((other for other in left if same(one, other)), None)
        if partner is None:
            return False
        left.remove(partner)
    return not left


def _same_model(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    if wanted["name"] and "model" not in wanted["name"].lower() and not _alike(wanted["name"], found["name"]):
        return False
    if wanted["size_b"] is not None and not _close(wanted["size_b"], found["size_b"], 0.05):
        return False
    bits = _bits(wanted["precision"])
    return (bits is None or bits == _bits(found["precision"])) and wanted["copies"] in {None, found["copies"] or 1}


def _same_card(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    if wanted["name"] and not _alike(_short(wanted["name"]), _short(found["name"])):
        return False
    if wanted["memory_gb"] is not None and not _close(wanted["memory_gb"], found["memory_gb"], 0.08):
        return False
    return wanted["count"] in {None, found["count"] or 1}


def _short(name: str | None) -> str:
    return re.sub(r"rtx|apple|nvidia", "", _plain(name))


def _plain(word: str | None) -> str:
    return re.sub(r"[^a-z0-9а-я]", "", (word or "").lower())


def _alike(one: str, other: str | None) -> bool:
    first, second = _plain(one), _plain(other)
    return bool(second) and (first in second or second in first)


def _bits(word: str | None) -> int | None:
    said = (word or "").lower()
    return next((bits for marks, bits in _BITS if any(mark in said for mark in marks)), None)


def _close(one: float | None, other: float | None, share: float) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= share * max(abs(one), abs(other))
