"""The hardware of this machine as a Rig: cards, what is in use on them, system memory, free disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tools.domain import Gpu, Note, Rig, note
from tools.errors import RequestError
from tools.specs.cards import UNIFIED_SHARE, engine_total
from tools.specs.gpus import GpuCatalogue
from tools.specs.rig_data import rig_from_json, rig_json
from tools.units import GIB

if TYPE_CHECKING:  # who only turns a rig into data needs no probes
    from tools.specs.probes import AppleChip, Card, Probes

__all__ = ["detect_rig", "rig_from_json", "rig_json"]

SAME_MEMORY = 0.02
"""A driver's figure within 2 % of the catalogue's means the same card in the same mode; ECC takes 6.25 %."""

SMALLEST_BYTES = GIB
"""Less than 1 GiB of own memory is a graphics core of a CPU."""


def detect_rig(probes: Probes | None = None, catalogue: GpuCatalogue | None = None) -> Rig:
    """Describe this machine.

    Memory that other processes use on a card becomes its ``reserved_bytes``. A missing or broken driver gives no cards
    and a note, never an error.

    Args:
        probes: who is asked; by default this machine.
        catalogue: where a card's further facts come from.
    """
    if probes is None:
        from tools.specs.probes import MachineProbes

        probes = MachineProbes()
    catalogue = catalogue or GpuCatalogue.load()
    notes: list[Note] = []
    ram = probes.ram_bytes()
    gpus: list[Gpu] = []
    for vendor, ask in (("nvidia", probes.nvidia), ("amd", probes.amd)):
        for card in _ask(vendor, ask, notes):
            gpu = gpu_of(card, vendor, ram, catalogue)
            if gpu is not None:
                gpus.append(gpu)
                notes.extend(_about(card, gpu))
    apple = _ask_apple(probes, notes)
    if apple is not None:
        gpus.append(_apple_gpu(apple, catalogue))
    if not gpus:
        notes.append(note("specs.no_gpu_found"))
    return Rig(tuple(gpus), 1, ram, probes.disk_free_bytes(), "detected", tuple(notes))


def _ask(vendor: str, ask: Callable[[], Sequence[Card]], notes: list[Note]) -> Sequence[Card]:
    from tools.specs.probes import ProbeFailed

    try:
        return ask()
    except ProbeFailed as failure:
        notes.append(note("specs.driver_broken", vendor=vendor.upper(), reason=str(failure)[:200]))
        return ()


def _ask_apple(probes: Probes, notes: list[Note]) -> AppleChip | None:
    from tools.specs.probes import ProbeFailed

    try:
        return probes.apple()
    except ProbeFailed as failure:
        notes.append(note("specs.driver_broken", vendor="Apple", reason=str(failure)[:200]))
        return None


def _about(card: Card, gpu: Gpu) -> list[Note]:
    found: list[Note] = []
    if gpu.reserved_bytes:
        found.append(note("specs.gpu_in_use", name=gpu.name, used=f"{gpu.reserved_bytes / GIB:.1f}"))
    if card.mig:
        found.append(note("specs.mig_mode", name=gpu.name))
    return found


def gpu_of(card: Card, vendor: str, ram: int | None, catalogue: GpuCatalogue) -> Gpu | None:
    """Return what a driver says of a card as a Gpu; None for a graphics core without memory of its own.

    Args:
        card: as its driver reports it.
        vendor: its maker.
        ram: the machine's memory in bytes, which some cards share.
        catalogue: where its further facts come from.
    """
    known = _known(card, vendor, catalogue)
    total = card.total_bytes
    if known is not None and known.unified:
        total = ram or known.memory_bytes
        share = known.cuda_total_bytes / known.memory_bytes
        return replace(known, memory_bytes=total, cuda_total_bytes=round(total * share), memory_verified=True)
    if total is None or total < SMALLEST_BYTES:
        return None
    engine = engine_total(total, vendor)
    base = known or Gpu(card.name or f"{vendor.upper()} GPU", vendor, total, engine, compute_capability=card.capability)
    same = known is not None and abs(known.memory_bytes - total) <= SAME_MEMORY * total
    if same:
        engine = min(base.cuda_total_bytes, total)
    used = card.used_bytes if card.used_is_net else max(0, card.used_bytes - (total - engine))
    return replace(
        base,
        name=card.name or base.name,
        known_as=known.name if known else "",
        memory_bytes=total,
        cuda_total_bytes=engine,
        total_provenance=base.total_provenance if same else "estimated",
        reserved_bytes=min(used, total),
        compute_capability=card.capability or base.compute_capability,
        memory_verified=True,
    )


def _known(card: Card, vendor: str, catalogue: GpuCatalogue) -> Gpu | None:
    """The catalogue's card of the driver's name; without one (sysfs often gives none) by instruction set and memory."""
    memory_gb = card.total_bytes / GIB if card.total_bytes else None
    if card.name:
        try:
            return catalogue.find(card.name, memory_gb=memory_gb).gpu
        except RequestError:
            return None
    for row in catalogue.rows:
        if row["vendor"] == vendor and card.capability and row["compute_capability"] == card.capability:
            near = memory_gb is not None and abs(row["memory_mib"] / 1024 - memory_gb) <= SAME_MEMORY * memory_gb
            if near or row["unified"]:
                return catalogue.find(row["name"], memory_gb=row["memory_mib"] / 1024).gpu
    return None


def _apple_gpu(chip: AppleChip, catalogue: GpuCatalogue) -> Gpu:
    try:
        known = catalogue.find(chip.name, memory_gb=chip.memory_bytes / GIB).gpu
        share = known.cuda_total_bytes / known.memory_bytes
    except RequestError:
        known = Gpu(chip.name or "Apple GPU", "apple", 1, 1, unified=True, compute_capability="metal")
        share = UNIFIED_SHARE
    usable = min(chip.gpu_limit_bytes or round(chip.memory_bytes * share), chip.memory_bytes)
    beside = chip.memory_bytes - usable
    return replace(
        known,
        name=chip.name or known.name,
        memory_bytes=chip.memory_bytes,
        cuda_total_bytes=usable,
        total_provenance="estimated",
        reserved_bytes=min(max(0, chip.used_bytes - beside), usable),
        memory_verified=True,
    )
