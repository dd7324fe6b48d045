"""Towers, KV sharing and what fits no other group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.parts import Config, over_ranks

FAMILIES: dict[str, tuple[str, str, Config]] = {}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    yield from over_ranks(FAMILIES)
