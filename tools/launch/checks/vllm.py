"""Whether vLLM's parser takes a command line: by the recorded table of its flags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from tools.launch import pins
from tools.launch.files import Check


@cache
def flag_table() -> Mapping[str, Mapping[str, Any]]:
    """The recorded parser of the supported vLLM: a flag's ``nargs``, ``type`` and ``choices`` by its name."""
    file = resources.files("tools.launch") / "data" / pins.FLAG_TABLE
    return json.loads(file.read_text(encoding="utf-8"))["flags"]


def check_flags(commands: Iterable[Sequence[str]]) -> Check:
    """Whether vLLM's parser knows every flag and value of ``vllm serve`` commands."""
    faults = [fault for command in commands for fault in _flag_faults(command)]
    name = "vllm-flags"
    if faults:
        return Check(name, False, "; ".join(faults))
    return Check(name, True, f"every flag is in the parser of vLLM {pins.VLLM}")


def _flag_faults(command: Sequence[str]) -> list[str]:
    """Read ``vllm serve MODEL --flag value ...`` as the parser would."""
    words = list(command)
    if words[:2] != ["vllm", "serve"] or len(words) < 3 or words[2].startswith("-"):
        return ["not a vllm serve command"]
    faults: list[str] = []
    rest = words[3:]
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        values = [value] if equals else []
        while rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        row = flag_table().get(flag)
        faults += [f"{flag} is not a flag"] if row is None else _value_faults(flag, row, values)
    return faults


def _value_faults(flag: str, row: Mapping[str, Any], values: list[str]) -> list[str]:
    expected = row.get("nargs", 1)
    if (isinstance(expected, int) and len(values) != expected) or (expected == "+" and not values):
        return [f"{flag} takes {expected} values, not {len(values)}"]
    if "choices" in row and not set(values) <= set(row["choices"]):
        return [f"{flag} does not allow {values}"]
    if "type" in row and not all(_is_number(value, row["type"]) for value in values):
        return [f"{flag} needs a number, not {values}"]
    return []


def _is_number(text: str, kind: str) -> bool:
    try:
        (int if kind == "int" else float)(text)
    except ValueError:
        return False
    return True
