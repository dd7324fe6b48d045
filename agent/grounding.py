"""No figure without a source: every number with a unit in an answer is matched to a tool result or the asker's words.

A figure is a value and a kind of unit (bytes, tokens, tokens a second, seconds, parameters, bits a weight). Two figures
match when they agree within the rounding in which the answer shows its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage

from agent.state import State, tool_results
from prompts import text as say

RELATIVE_TOLERANCE = 0.005
"""Rounding that people allow themselves beyond the digits shown: 97.7 for 97.66."""

_NUMBER = r"(?<![\w.,])(\d{1,3}(?:[\u00a0\u202f ,]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)"
_UNIT_WORDS: dict[str, tuple[str, float]] = {
    "gib": ("bytes", 2**30), "гиб": ("bytes", 2**30), "mib": ("bytes", 2**20), "миб": ("bytes", 2**20),
    "kib": ("bytes", 2**10), "tib": ("bytes", 2**40), "gb": ("bytes", 1e9), "гб": ("bytes", 1e9), "mb": ("bytes", 1e6),
    "мб": ("bytes", 1e6), "tb": ("bytes", 1e12), "тб": ("bytes", 1e12),
    "gb/s": ("bandwidth", 1e9), "гб/с": ("bandwidth", 1e9),
    "tokens/s": ("speed", 1), "tok/s": ("speed", 1), "t/s": ("speed", 1), "токенов/с": ("speed", 1),
    "ток/с": ("speed", 1),
    "tokens": ("tokens", 1), "token": ("tokens", 1), "токенов": ("tokens", 1), "токена": ("tokens", 1),
    "токен": ("tokens", 1), "k tokens": ("tokens", 1024), "тыс. токенов": ("tokens", 1000),
    "s": ("seconds", 1), "с": ("seconds", 1), "seconds": ("seconds", 1), "секунд": ("seconds", 1),
    "billion": ("params", 1e9), "b parameters": ("params", 1e9), "млрд": ("params", 1e9),
}  # fmt: skip
_UNITS = "|".join(re.escape(unit) for unit in sorted(_UNIT_WORDS, key=len, reverse=True))
_FIGURE = re.compile(rf"{_NUMBER}[\s\u00a0\u202f-]?(?:({_UNITS}))(?![\w/])", re.IGNORECASE)
_RANGE = re.compile(rf"(\d+(?:[.,]\d+)?)\s?[–-]\s?(\d+(?:[.,]\d+)?)[\s\u00a0\u202f]?({_UNITS})(?![\w/])", re.IGNORECASE)
_ESTIMATED = frozenset({"speed", "seconds"})
SIGNIFICANT = 2
"""Digits in which estimates are shown (``tools.units.span``)."""
_CONTEXT = re.compile(r"(?<![\w.])(\d+(?:[.,]\d+)?)\s?([kкKК])(?!\w)")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+(?=[A-ZА-ЯЁ0-9*])|\n+")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with a unit as a text shows it; ``slack`` is half of its last digit, in the base unit."""

    text: str
    kind: str
    value: float
    slack: float


def figures(text: str) -> tuple[Figure, ...]:
    """Return the figures of a text: ``figures("113.7 GiB")[0].value == 113.7 * 2**30``; a range is both its ends."""
    plain = _RANGE.sub(r"\1 \3 – \2 \3", text.replace("**", ""))
    return tuple(_figure(found) for found in _FIGURE.finditer(plain))


def _figure(found: re.Match[str]) -> Figure:
    kind, factor = _UNIT_WORDS[found.group(2).lower()]
    digits = re.sub(r"[\u00a0\u202f ]|,(?=\d{3}(?!\d))", "", found.group(1)).replace(",", ".")
    decimals = len(digits.partition(".")[2])
    slack = 0.5 * 10**-decimals * factor
    if kind in _ESTIMATED and not decimals:
        slack *= 10 ** max(0, len(digits) - SIGNIFICANT)
    return Figure(found.group(0), kind, float(digits) * factor, slack)


class Facts:
    """What a conversation may state: values by kind of unit."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, kind: str, value: float) -> None:
        """Learn one value."""
        self._values.setdefault(kind, []).append(float(value))

    def add_text(self, text: str) -> None:
        """Learn every figure of a text; decimal and binary sizes of the asker both count ("98 GB")."""
        for figure in figures(text):
            self.add(figure.kind, figure.value)
            if figure.kind == "bytes" and "b" in figure.text.lower() and "ib" not in figure.text.lower():
                self.add("bytes", figure.value * (2**30 / 1e9))
            if re.search(r"(gb|гб)$", figure.text, re.IGNORECASE):
                self.add("bytes", figure.value / 1e9 * 2**30)
        for found in _CONTEXT.finditer(text):
            number = float(found.group(1).replace(",", "."))
            self.add("tokens", number * 1024)
            self.add("tokens", number * 1000)

    def add_data(self, data: Any, name: str = "") -> None:
        """Learn every number of plain data; its key tells the unit (``*_bytes``, ``*_tokens``, ``*_s``)."""
        if isinstance(data, Mapping):
            if data.keys() == {"code", "params"}:
                self.add_text(say("en", data["code"], **data["params"]))
            for key, value in data.items():
                self.add_data(value, str(key) if str(key) not in {"low", "value", "high"} else name)
        elif isinstance(data, (list, tuple)):
            for item in data:
                self.add_data(item, name)
        elif isinstance(data, bool) or data is None:
            return
        elif isinstance(data, (int, float)):
            self._add_named(name, abs(float(data)))
        elif isinstance(data, str):
            self.add_text(data)

    def _add_named(self, name: str, value: float) -> None:
        if "bandwidth" in name:
            self.add("bandwidth", value)
        elif "tokens_per_s" in name:
            self.add("speed", value)
        elif "bytes" in name:
            self.add("bytes", value)
        elif any(word in name for word in ("token", "context", "model_len", "max-model-len")):
            self.add("tokens", value)
        elif name.endswith(("_s", "seconds")):
            self.add("seconds", value)
        elif "params" in name:
            self.add("params", value)
        elif name.endswith("_gb"):
            self.add("bytes", value * 1e9)
            self.add("bytes", value * 2**30)
        elif name.endswith(("gib", "mib")):
            self.add("bytes", value * (2**30 if name.endswith("gib") else 2**20))

    def allows(self, figure: Figure) -> bool:
        """Whether some known value is what the figure shows, within rounding."""
        known = self._values.get(figure.kind, ())
        return any(abs(figure.value - v) <= max(figure.slack, RELATIVE_TOLERANCE * abs(v)) * 1.0001 for v in known)


def facts_of(state: State, *, whole: bool = True) -> Facts:
    """Collect what this conversation may state: tool results and the asker's own words.

    Args:
        state: the conversation.
        whole: with the results' data and the web's words, which the templates print and cite; a model may state only
            what the other tools told it.
    """
    facts = Facts()
    for message in state.get("messages", []):
        if isinstance(message, HumanMessage):
            facts.add_text(message.text)
        elif isinstance(message, ToolMessage) and (whole or message.name != "search_web"):
            if message.artifact and whole:
                facts.add_data(message.artifact)
            facts.add_data(_loaded(message.text))
    facts.add_data(state.get("panel_rig") or {})
    facts.add_data(state.get("known_rig") or {})
    return facts


def _loaded(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def ungrounded(text: str, facts: Facts) -> tuple[str, ...]:
    """Return the figures of a text that nothing supports."""
    return tuple(figure.text for figure in figures(text) if not facts.allows(figure))


def ground_draft(text: str, state: State) -> dict[str, Any]:
    """Check a model's text sentence by sentence.

    Returns:
        ``{"sentences": [{"text", "ok", "why"}], "grounded": bool}``; a table row is a sentence.
    """
    facts = facts_of(state, whole=False)
    checked = [
        {"text": piece, "ok": not wrong, "why": list(wrong)}
        for piece in _pieces(text)
        for wrong in [ungrounded(piece, facts)]
    ]
    return {"sentences": checked, "grounded": all(c["ok"] for c in checked)}


def states_plan(draft: Mapping[str, Any], state: State) -> bool:
    """Tell whether a checked text states a figure that was computed in this turn, or gets one in a sentence's place.

    What the asker said does not count: it would be there in a text that says nothing.
    """
    computed, said = Facts(), Facts()
    for message in tool_results(state):
        if message.name == "calculate_vram":
            computed.add_data(_loaded(message.text))
    said.add_text(state.get("turns", [""])[-1])
    stated = [figure for piece in draft["sentences"] if piece["ok"] for figure in figures(piece["text"])]
    return not draft["grounded"] or any(computed.allows(one) and not said.allows(one) for one in stated)


def _pieces(text: str) -> Iterator[str]:
    """Split into sentences, each with the white space that follows it, so that they join to the text again."""
    start = 0
    for gap in _SENTENCE.finditer(text):
        yield text[start : gap.end()]
        start = gap.end()
    if start < len(text):
        yield text[start:]


def join(sentences: Sequence[Mapping[str, Any]], instead: str) -> str:
    """Join checked sentences; the first that failed becomes ``instead``, the others are left out."""
    out: list[str] = []
    replaced = False
    for sentence in sentences:
        if sentence["ok"]:
            out.append(sentence["text"])
        elif not replaced:
            out.append(f"{instead}\n\n" if sentence["text"].endswith("\n") else f"{instead} ")
            replaced = True
    return "".join(out).strip()
