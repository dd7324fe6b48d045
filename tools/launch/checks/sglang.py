"""Whether SGLang's parser takes a command line: by the recorded table of its flags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources

from tools.launch import pins
from tools.launch.checks.flag_table import Table, flag_faults
from tools.launch.files import Check

START = ("python3", "-m", "sglang.launch_server")


@cache
def flag_table() -> Table:
    """The recorded parser of the supported SGLang (``scripts/sglang_flags.py``)."""
    file = resources.files("tools.launch") / "data" / pins.SGLANG_FLAG_TABLE
    return json.loads(file.read_text(encoding="utf-8"))["flags"]


def check_sglang_flags(commands: Iterable[Sequence[str]]) -> Check:
    """Whether SGLang's parser knows every flag and value of ``python3 -m sglang.launch_server`` commands."""
    faults = [fault for command in commands for fault in _faults(command)]
    if faults:
        return Check("sglang-flags", False, "; ".join(faults))
    return Check("sglang-flags", True, f"every flag is in the parser of SGLang {pins.SGLANG}")


def _faults(command: Sequence[str]) -> list[str]:
    if tuple(command[:3]) != START:
        return ["not an SGLang command"]
    return flag_faults(command[3:], flag_table())
