"""Whether vLLM's parser takes a command line: by the recorded table of its flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.launch import pins
from tools.launch.checks.flag_table import Table, flag_faults
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
    table: Table = recorded()["flags"]
    if words[:2] == ["vllm", "preload"]:
        table, rest = {**table, **recorded()["preload_flags"]}, words[2:]
    elif words[:2] == ["vllm", "serve"] and len(words) > 2 and not words[2].startswith("-"):
        rest = words[3:]
    else:
        return ["not a vllm serve or vllm preload command"]
    named = {flag: {**table[flag], "choices": recorded()[names]} for flag, names in _NAMED.items()}
    return flag_faults(rest, {**table, **named})
