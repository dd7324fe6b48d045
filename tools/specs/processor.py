"""The machine's RAM as a Rig, for engines that run on the processor."""

from __future__ import annotations

from tools.domain import Gpu, Rig, note
from tools.units import gib

PROCESSOR = "cpu"
"""The maker of the one "card" that RAM is."""


def processor_rig() -> Rig:
    """Return this machine's RAM as one card whose memory others use in part."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    card = Gpu(
        name="RAM",
        vendor=PROCESSOR,
        memory_bytes=total,
        cuda_total_bytes=total,
        total_provenance="measured",
        reserved_bytes=total - free,
        memory_verified=True,
        source="psutil",
    )
    told = note("specs.against_ram", total=gib(total), free=gib(free))
    return Rig((card,), 1, total, None, "detected", (told,))
