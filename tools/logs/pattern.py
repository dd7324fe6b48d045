"""One kind of log line: a word that every such line holds, the expression that reads it, and what its groups are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.logs.facts import Phase
from tools.units import GIB, KIB, MIB

Convert = Callable[[str], Any]
NUMBER = r"(-?\d{1,14}(?:\.\d{1,9})?)"
COUNT = r"(\d{1,4}(?:,\d{3}){1,5}|\d{1,15})"
UNIT = r" ?([KMG]i?B|bytes|B)"
_UNITS = {"b": 1, "bytes": 1, "kib": KIB, "kb": KIB, "mib": MIB, "mb": MIB, "gib": GIB, "gb": GIB}
"""Engines print binary units under decimal names as well: vLLM to 0.8, SGLang and llama.cpp divide by 2**30."""


def gib(text: str) -> int:
    """Read a number of GiB as bytes."""
    return round(float(text) * GIB)


def mib(text: str) -> int:
    """Read a number of MiB as bytes."""
    return round(float(text) * MIB)


def whole(text: str) -> int:
    """Read a whole number, thousands apart or not."""
    return int(text.replace(",", ""))


def size(number: str, unit: str) -> int:
    """Read a number with its unit: ``size("112.00", "MiB")``."""
    return round(float(number) * _UNITS[unit.lower()])


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of line.

    Attributes:
        trigger: text that every such line holds; looked for before the expression is tried.
        expression: its groups are the fields, in their order. Linear: no repetition within a repetition.
        groups: for each group the field's name and how its text is read; None passes a group over.
        phase: how far the start has come when this line is printed.
        marks: values that the line stands for without printing them.
    """

    trigger: str
    expression: re.Pattern[str]
    groups: tuple[tuple[str, Convert] | None, ...] = ()
    phase: Phase | None = None
    marks: tuple[tuple[str, Any], ...] = ()

    def read(self, text: str) -> Mapping[str, Any] | None:
        """Return the fields of a line, or None where it is of another kind."""
        if self.trigger not in text:
            return None
        found = self.expression.search(text)
        if not found:
            return None
        values = dict(self.marks)
        for group, value in zip(self.groups, found.groups(), strict=False):
            if group and value is not None:
                values[group[0]] = group[1](value)
        return values


def pattern(
    trigger: str, expression: str, *groups: tuple[str, Convert] | None, phase: Phase | None = None, **marks: Any
) -> Pattern:
    """Build a Pattern; an empty expression is the trigger itself."""
    return Pattern(trigger, re.compile(expression or re.escape(trigger)), groups, phase, tuple(marks.items()))
