"""Whether llama-server's parser takes a command line: by the recorded table of its flags."""

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
    """The recorded parser: by a flag's name its ``long`` name, ``nargs``, ``type`` and ``choices``."""
    file = resources.files("tools.launch") / "data" / pins.LLAMACPP_FLAG_TABLE
    return json.loads(file.read_text(encoding="utf-8"))["flags"]


def check_llama_flags(commands: Iterable[Sequence[str]]) -> Check:
    """Whether llama-server's parser knows every flag and value of its commands."""
    faults = [fault for command in commands for fault in flag_faults(command)]
    if faults:
        return Check("llamacpp-flags", False, "; ".join(faults))
    return Check("llamacpp-flags", True, f"every flag is in the parser of llama.cpp {pins.LLAMACPP}")


def flag_faults(command: Sequence[str]) -> list[str]:
    """Read ``llama-server --flag value ...`` as the parser does (``common_params_parse_ex``, ``common/arg.cpp``).

    A flag takes the words that follow whatever they look like; there are no positional words and no ``--flag=value``.
    """
    words = list(command)
    if words[:1] != ["llama-server"]:
        return ["not a llama-server command"]
    faults: list[str] = []
    at = 1
    while at < len(words):
        flag = words[at]
        row = flag_table().get(flag)
        count = row["nargs"] if row else 0
        values = words[at + 1 : at + 1 + count]
        faults += _value_faults(flag, row, values) if row else [f"{flag} is not a flag"]
        at += 1 + count
    return faults


def _value_faults(flag: str, row: Mapping[str, Any], values: list[str]) -> list[str]:
    if len(values) != row["nargs"]:
        return [f"{flag} takes {row['nargs']} values, not {len(values)}"]
    if "choices" in row and not set(values) <= set(row["choices"]):
        return [f"{flag} does not allow {values}"]
    if "type" in row and not all(_is_number(value) for value in values):
        return [f"{flag} needs a number, not {values}"]
    return []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
