"""What ``scripts/vllm_flags.py`` recorded of the supported vLLM: its parsers, and the names their flags choose from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from tools.launch import pins

_FILE = os.path.join(os.path.dirname(__file__), "data", pins.FLAG_TABLE)


@cache
def recorded() -> Mapping[str, Any]:
    """Return the record.

    Returns:
        ``flags`` and ``preload_flags`` (a flag's ``nargs``, ``type`` and ``choices`` by its name),
        ``reasoning_parsers``, ``tool_parsers``, and ``remote_code_types`` (types of models whose configuration only
        their own code reads).
    """
    with open(_FILE, encoding="utf-8") as file:
        return json.load(file)
