"""What it is to run on: cards and the machine around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tools.domain.measured import Measured
from tools.domain.words import Note, Provenance


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card.

    Attributes:
        memory_bytes: what the driver reports (nvidia-smi's MiB).
        cuda_total_bytes: what the engine sees and budgets from; a little less than the driver's figure.
        total_provenance: where ``cuda_total_bytes`` comes from: ``measured``, or ``estimated`` from the driver's.
        reserved_bytes: already in use by others (a desktop, a browser, another process).
        fp16_flops: dense tensor FLOP/s.
        compute_capability: ``"8.6"``, ``"12.0"``, ``"gfx942"``, ``"metal"``.
        unified: memory is shared with the CPU (Apple, Strix Halo, DGX Spark).
        node: index of the machine it sits in.
        known_as: its name in the catalogue, where the driver gives it another.
        measured: what the user's own starts measured on such a card, newest first.
    """

    name: str
    vendor: str
    memory_bytes: int
    cuda_total_bytes: int
    total_provenance: Provenance = "estimated"
    reserved_bytes: int = 0
    bandwidth_bytes_per_s: float | None = None
    fp16_flops: float | None = None
    compute_capability: str | None = None
    fp8: bool | None = None
    fp4: bool | None = None
    nvlink: bool = False
    unified: bool = False
    node: int = 0
    memory_verified: bool = False
    source: str = ""
    measured: tuple[Measured, ...] = ()
    known_as: str = ""


@dataclass(frozen=True, slots=True)
class Rig:
    """The hardware that is planned for; ``gpus`` spans all nodes, ``notes`` say what detection met."""

    gpus: tuple[Gpu, ...]
    nodes: int = 1
    ram_bytes: int | None = None
    disk_free_bytes: int | None = None
    source: Literal["asked", "detected", "remembered", "panel"] = "asked"
    notes: tuple[Note, ...] = ()
