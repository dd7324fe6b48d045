"""Whether vLLM's parser takes a command line: by the recorded table of its flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools.launch import pins
from tools.launch.files import Check
from tools.launch.recorded import recorded

_NAMED = {"--reasoning-parser": "reasoning_parsers", "--tool-call-parser": "tool_parsers"}
"""Flags whose values the server checks, not the parser (``validate_api_server_args``)."""


def check_flags(commands: Iterable[Sequence[str]]) -> Check:
    """Whether vLLM's parsers know every flag and value of ``vllm serve`` and ``vllm preload`` commands."""
    faults = [fault for command in commands for fault in _flag_faults(command)]
    name = "vllm-flags"
    if faults:
        return Check(name, False, "; ".join(faults))
    return Check(name, True, f"every flag is in the parser of vLLM {pins.VLLM}")


def _flag_faults(command: Sequence[str]) -> list[str]:
    """Read ``vllm serve MODEL --flag value ...`` or ``vllm preload --flag value ...`` as the parser would."""
    words = list(command)
    table: Mapping[str, Mapping[str, Any]] = recorded()["flags"]
    if words[:2] == ["vllm", "preload"]:
        table, rest = {**table, **recorded()["preload_flags"]}, words[2:]
    elif words[:2] == ["vllm", "serve"] and len(words) > 2 and not words[2].startswith("-"):
        rest = words[3:]
    else:
        return ["not a vllm serve or vllm preload command"]
    faults: list[str] = []
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        values = [value] if equals else []
        while rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        row = table.get(flag)
        faults += [f"{flag} is not a flag"] if row is None else _value_faults(flag, row, values)
    return faults


def _value_faults(flag: str, row: Mapping[str, Any], values: list[str]) -> list[str]:
    expected = row.get("nargs", 1)
    if (isinstance(expected, int) and len(values) != expected) or (expected == "+" and not values):
        return [f"{flag} takes {expected} values, not {len(values)}"]
    choices = recorded()[_NAMED[flag]] if flag in _NAMED else row.get("choices")
    if choices and not set(values) <= set(choices):
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
