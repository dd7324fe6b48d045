"""What is free on a card now, as an engine that starts on it would find.

CUDA's free memory can't be asked without making a context, which takes memory itself; what the driver calls in use is
taken from what the engine sees of the card in all. Where that is not sure, what is free is never given too low.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tools.specs.cards import engine_total
from tools.units import GIB

if TYPE_CHECKING:
    from tools.domain import Gpu
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.probes import Card, Process

LEAST_CONTEXT_BYTES = GIB // 4
"""What vLLM's own CUDA context takes before it looks: 0.3 to 0.5 GiB where logs tell (79.18 GiB H100: 78.70 free, RTX
5090: 30.85 of 31.36); a little less is counted, so that nobody is refused whom the engine would not refuse."""
MOST_HOLDERS = 4
_NAME_CHARS = 40


@dataclass(frozen=True, slots=True)
class CardMemory:
    """Memory of a card, in bytes.

    Attributes:
        name: the card's.
        total_bytes: what an engine sees and takes its share of.
        free_bytes: what is free now, before an engine makes its context.
        context_bytes: what that context takes at least.
    """

    name: str
    total_bytes: int
    free_bytes: int
    context_bytes: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds memory; ``used_bytes`` is None where nobody tells."""

    pid: int
    name: str
    used_bytes: int | None


class CardProbes(Protocol):
    """The questions asked here; ``tools.specs.probes.MachineProbes`` answers them."""

    def nvidia(self) -> tuple[Card, ...]:
        """NVIDIA cards in the order of ``CUDA_DEVICE_ORDER=PCI_BUS_ID``."""
        ...

    def amd(self) -> tuple[Card, ...]:
        """AMD cards."""
        ...

    def ram_bytes(self) -> int | None:
        """System memory in all."""
        ...

    def nvidia_processes(self, index: int) -> tuple[Process, ...]:
        """Who holds memory of an NVIDIA card."""
        ...


def cards_of(vendor: str, probes: CardProbes, catalogue: GpuCatalogue) -> tuple[CardMemory | None, ...]:
    """Return a maker's cards in the driver's order; None for one that does not tell what is free.

    Args:
        vendor: ``nvidia`` or ``amd``; of others nothing is known.
        probes: who is asked.
        catalogue: where a card's further facts come from.

    Raises:
        ProbeFailed: the driver does not answer.
    """
    asks: dict[str, Callable[[], tuple[Card, ...]]] = {"nvidia": probes.nvidia, "amd": probes.amd}
    if vendor not in asks:
        return ()
    from tools.specs.detect import gpu_of

    ram = probes.ram_bytes()
    return tuple(card_memory(card, gpu_of(card, vendor, ram, catalogue)) for card in asks[vendor]())


def card_memory(card: Card, gpu: Gpu | None) -> CardMemory | None:
    """Return what is free on a card.

    Args:
        card: as its driver reports it now.
        gpu: what is known of such a card; its total is the engine's.
    """
    context = LEAST_CONTEXT_BYTES if gpu is not None and gpu.vendor == "nvidia" else 0
    if gpu is None:
        return None
    if gpu.unified:
        return _shared(gpu)
    if card.mig:
        if card.slice_bytes is None:
            return None
        total, used = card.slice_bytes
        return CardMemory(gpu.name, engine_total(total), max(0, total - used), context)
    return CardMemory(gpu.name, gpu.cuda_total_bytes, max(0, gpu.cuda_total_bytes - gpu.reserved_bytes), context)


def _shared(gpu: Gpu) -> CardMemory | None:
    """A CUDA card that shares the machine's memory: vLLM asks the system (``MemorySnapshot.measure``, 0.32.0)."""
    if gpu.vendor != "nvidia":
        return None
    import psutil

    return CardMemory(gpu.name, gpu.cuda_total_bytes, int(psutil.virtual_memory().available), 0)


def card_holders(vendor: str, index: int, probes: CardProbes) -> tuple[Holder, ...]:
    """Return the processes that hold most of a card's memory; empty where its driver does not tell."""
    import psutil

    found: list[Holder] = []
    for one in probes.nvidia_processes(index) if vendor == "nvidia" else ():
        try:
            found.append(Holder(one.pid, psutil.Process(one.pid).name(), one.used_bytes))
        except psutil.Error:  # of another container, or just ended
            continue
    return largest(found)


def ram_holders(least_bytes: int) -> tuple[Holder, ...]:
    """Return the processes that hold most of the machine's memory, from ``least_bytes`` on."""
    import psutil

    found: list[Holder] = []
    for process in psutil.process_iter(["name", "memory_info"]):
        memory = process.info["memory_info"]
        if memory and memory.rss >= least_bytes:
            found.append(Holder(process.pid, process.info["name"] or "?", int(memory.rss)))
    return largest(found)


def largest(found: Iterable[Holder]) -> tuple[Holder, ...]:
    """Return the few that hold most."""
    return tuple(sorted(found, key=lambda one: -(one.used_bytes or 0))[:MOST_HOLDERS])


def named(holders: Sequence[Holder]) -> str:
    """Write holders for people: ``VLLM::Worker (pid 4402) 20.1 GiB, Xorg (pid 900)``. Names are others' data."""
    return ", ".join(_named(one) for one in holders)


def _named(one: Holder) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in one.name[:_NAME_CHARS])
    size = f" {one.used_bytes / GIB:.1f} GiB" if one.used_bytes is not None else ""
    return f"{name} (pid {one.pid}){size}"
