"""What card a bare memory size means: "98 GB" is the class of the RTX PRO 6000, "96GiB" is taken to the byte."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tools.domain import Gpu, Note, note
from tools.errors import BadValue
from tools.specs.cards import certainty, engine_total, estimated, gpu_from_row, with_memory
from tools.specs.gpus import MAX_MEMORY_GIB, GpuMatch
from tools.specs.names import latin
from tools.units import MIB

CLASS_TOLERANCE = 0.03
"""A stated "GB" means the card of that class if one is within 3 %."""

Rows = Sequence[dict[str, Any]]

_SIZE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(tib|gib|mib|tb|gb|mb|go|g|t)?\s*(?:card|vram|gpu)?\s*")
_UNITS = {"mib": ("MiB", 1.0), "gib": ("GiB", 1.0), "tib": ("GiB", 1024.0), "tb": ("GB", 1024.0), "t": ("GB", 1024.0)}
_MB = ("GB", 1 / 1000)


def by_memory(rows: Rows, size: str | float) -> GpuMatch:
    """Find the class of card that a memory size means; see ``GpuCatalogue.by_memory``.

    Raises:
        BadValue: not a size, or outside 0..4096 GiB.
    """
    amount, unit = _read(size)
    said, query = f"{amount:g} {unit}", str(size)
    if unit != "GB":
        return _exact(rows, said, round(amount * (1024 if unit == "GiB" else 1)), query)
    same = _same_class(rows, amount)
    if same and _one_generation(same):
        first = same[0]
        named = note("specs.memory_named", said=said, name=first["name"], mib=first["memory_mib"])
        gpu = gpu_from_row(first)
        return GpuMatch(gpu, query, _names(same[1:]), (named, *certainty(first, gpu)))
    own = [row for row in same if row["vendor"] == "nvidia"]
    if not own:
        match = _exact(rows, said, round(amount * 1024), query)
        return replace(match, notes=(note("specs.memory_as_gib", said=said, gib=f"{amount:g}"), *match.notes))
    gpu = replace(gpu_from_row(own[0]), **_shared(own), name=f"GPU {said}", nvlink=False)
    taken = note("specs.memory_class", said=said, mib=own[0]["memory_mib"])
    return GpuMatch(gpu, query, _names(same), (taken, *_unless_measured(gpu)))


def unified_by_memory(rows: Rows, query: str, memory_gib: float) -> GpuMatch:
    """A machine with unified memory said by its memory alone: what all chips sold with it (or all chips) share."""
    same = [row for row in rows if row["memory_mib"] == round(memory_gib * 1024)] or list(rows)
    gpu, _ = with_memory(gpu_from_row(same[0]), memory_gib)
    maker = gpu.vendor.capitalize()
    gpu = replace(gpu, **_shared(same), name=f"{maker} {memory_gib:g}GB", nvlink=False)
    taken = note("specs.unified_unnamed", said=query, name=gpu.name)
    return GpuMatch(gpu, query, _names(same), (taken, *certainty(same[0], gpu)))


def _read(size: str | float) -> tuple[float, str]:
    text = size if isinstance(size, str) else f"{size:g}"
    found = _SIZE.fullmatch(latin(text)) if len(text) <= 40 else None
    if found is None:
        raise BadValue("errors_specs.bad_gpu_memory", value=text[:40])
    word = found.group(2) or "gb"
    unit, factor = _MB if word == "mb" else _UNITS.get(word, ("GB", 1.0))
    amount = float(found.group(1)) * factor
    if not 0 < amount <= MAX_MEMORY_GIB * (1024 if unit == "MiB" else 1):
        raise BadValue("errors_specs.bad_gpu_memory", value=text)
    return amount, unit


def _same_class(rows: Rows, amount_gb: float) -> list[dict[str, Any]]:
    """Discrete cards within 3 % of that many GiB: verified driver figures first, then the nearest."""
    wanted = amount_gb * 1024
    near = [row for row in rows if not row["unified"] and row["class"] != "laptop"]
    near = [row for row in near if abs(row["memory_mib"] - wanted) <= CLASS_TOLERANCE * wanted]
    return sorted(near, key=lambda row: (not row["memory_verified"], abs(row["memory_mib"] - wanted)))


def _one_generation(rows: Rows) -> bool:
    """Tell whether the cards that stand on desks (or all, if none does) are of one kind, the best match among them."""
    desktop = [row for row in rows if row["class"] in {"consumer", "workstation"}] or rows
    kinds = {(row["vendor"], row["compute_capability"]) for row in desktop}
    return len(kinds) == 1 and rows[0] in desktop


def _exact(rows: Rows, said: str, mib: int, query: str) -> GpuMatch:
    """An unnamed card of that many MiB; a known card with the very same driver figure lends what it shares."""
    same = [row for row in rows if row["memory_mib"] == mib and row["memory_kind"] == "driver"]
    same = [row for row in same if row["vendor"] == "nvidia"]
    if same:
        least = min(same, key=lambda row: row["cuda_total_bytes"])
        gpu = replace(gpu_from_row(least), **_shared(same), name=f"GPU {said}", nvlink=False)
    else:
        gpu = Gpu(f"GPU {said}", "nvidia", mib * MIB, engine_total(mib * MIB), source="memory as stated")
    return GpuMatch(gpu, query, _names(same), _unless_measured(gpu))


def _unless_measured(gpu: Gpu) -> tuple[Note, ...]:
    return () if gpu.total_provenance == "measured" else (estimated(gpu),)


def _shared(rows: Rows) -> dict[str, Any]:
    """Facts in which all of several cards agree, None where they do not; their source is those cards."""
    facts: dict[str, Any] = {"source": ", ".join(_names(rows))}
    scales = {"fp8": None, "fp4": None, "compute_capability": None, "bandwidth_gbps": 1e9, "fp16_tflops": 1e12}
    names = {"bandwidth_gbps": "bandwidth_bytes_per_s", "fp16_tflops": "fp16_flops"}
    for key, scale in scales.items():
        values = {row[key] for row in rows}
        only = values.pop() if len(values) == 1 else None
        facts[names.get(key, key)] = only * scale if only is not None and scale else only
    return facts


def _names(rows: Rows) -> tuple[str, ...]:
    return tuple(row["name"] for row in rows[:5])
