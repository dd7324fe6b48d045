"""PyTorch's message when the card is full: what was asked for, what was free, and who holds the rest.

Two wordings: since 2.1 "GPU 0 has a total capacity of 79.18 GiB of which ... is free. Process 123 has ... in use.
Including non-PyTorch memory, this process has ...", before "(GPU 0; 23.69 GiB total capacity; 21 GiB already
allocated; 112.00 MiB free; ...)". Source: ``c10/cuda/CUDACachingAllocator.cpp``.
"""

from __future__ import annotations

import re
from typing import Any

from tools.logs.pattern import NUMBER, UNIT, size

_AMOUNT = NUMBER + UNIT
_FIELDS = {
    "asked_bytes": re.compile(rf"Tried to allocate {_AMOUNT}"),
    "total_bytes": re.compile(
        rf"(?:total capac(?:i)?ty of {_AMOUNT})|GPU \d{{1,3}}(?: has|;) {_AMOUNT}(?: total capacity)?"
    ),
    "free_then_bytes": re.compile(rf"of which {_AMOUNT} is free|; {_AMOUNT} free;"),
    "process_bytes": re.compile(rf"this process has {_AMOUNT} memory in use"),
    "torch_bytes": re.compile(rf"memory {_AMOUNT} is allocated by PyTorch|; {_AMOUNT} already allocated"),
    "unused_bytes": re.compile(rf"{_AMOUNT} is reserved by PyTorch but unallocated"),
}
_NEIGHBOUR = re.compile(rf"Process \d{{1,10}} has {_AMOUNT} memory in use")
MAX_TEXT = 4000
MAX_NEIGHBOURS = 64


def read_oom(text: str) -> dict[str, Any]:
    """Return the sizes of an out-of-memory message; ``neighbours_bytes`` is the sum over other processes.

    Args:
        text: the message, its lines joined.
    """
    text = text[:MAX_TEXT]
    found: dict[str, Any] = {}
    for name, expression in _FIELDS.items():
        match = expression.search(text)
        if match:
            found[name] = _amount(match)
    others = [_amount(match) for match in list(_NEIGHBOUR.finditer(text))[:MAX_NEIGHBOURS]]
    if others:
        found["neighbours_bytes"] = sum(others)
    return found


def _amount(match: re.Match[str]) -> int:
    """Read the first alternative that matched."""
    groups = [group for group in match.groups() if group is not None]
    return size(groups[0], groups[1])
