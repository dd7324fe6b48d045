"""Reading a command line by a recorded table of an argparse parser's flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Table = Mapping[str, Mapping[str, Any]]
"""By a flag with its dashes: ``nargs`` (0 = a switch; absent = one value), ``type`` (int or float), ``choices``."""


def flag_faults(words: Sequence[str], table: Table) -> list[str]:
    """Return what the parser would refuse in ``--flag value ...``; nothing where it takes all of it."""
    faults: list[str] = []
    rest = list(words)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        values = [value] if equals else []
        while rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        row = table.get(flag)
        faults += [f"{flag} is not a flag"] if row is None else _value_faults(flag, row, values)
    return faults


def _value_faults(flag: str, row: Mapping[str, Any], values: list[str]) -> list[str]:
    expected = row.get("nargs", 1)
    if (isinstance(expected, int) and len(values) != expected) or (expected == "+" and not values):
        return [f"{flag} takes {expected} values, not {len(values)}"]
    if "choices" in row and not set(values) <= set(row["choices"]):
        return [f"{flag} does not allow {values}"]
    kind = {"int": int, "float": float}.get(row.get("type", ""))
    try:
        for value in values if kind else ():
            kind(value)  # pyright: ignore[reportOptionalCall]
    except ValueError:
        return [f"{flag} needs a number, not {values}"]
    return []
