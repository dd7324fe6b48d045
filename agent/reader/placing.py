"""Which card a memory size belongs to, and how many cards stand in each machine."""

from __future__ import annotations

from agent.reader import amounts, cards
from agent.reader.flags import Flags
from agent.reader.gpus import GpuMention
from agent.reader.lazy import Lazy
from agent.reader.lexicon import lexicon
from agent.reader.said import Said
from agent.reader.sheet import Sheet

_OF_NODES = Lazy(r"\s(?:nodes|servers|boxes|machines|hosts)(?!\sx)(?![^\W\d_])")
_IN_EACH = Lazy(
    r"(?<![\w.])(\d{1,2}|one|two|four|eight)(?:\s\w+)?\s(?:each|apiece|per)"
    r"|each (?:with|has|having) (\d{1,2})(?!\d|\s?g)"
)
"""Read "three A100 nodes, 8 each"."""


def attach_memory(gpus: list[GpuMention], memory: amounts.Amounts, flags: Flags, said: Said) -> list[GpuMention]:
    """Give each memory size (GB) that nothing has claimed to the nearest card without one, or to the machine.

    Args:
        gpus: the cards of the text; those without a memory get theirs.
        memory: sizes by what they belong to.
        flags: a log may state how much a card has.
        said: its ``ram_gb`` is set where a size can be no card's.

    Returns:
        The cards, and one without a name where only its size is said.
    """
    unified = next((g for g in gpus if g.unified and g.memory_gb is None), None)
    if unified and said.ram_gb and not memory.vram:
        unified.memory_gb, said.ram_gb = said.ram_gb, None
    for one in memory.vram + memory.loose:
        lacking = [g for g in gpus if g.memory_gb is None]
        if lacking:
            near = min(lacking, key=lambda g: abs(g.start - one.start))
            count = near.count or 1
            total = _is_total(one, near, count)
            if not total and one.kind == "loose" and cards.is_too_much(lexicon(), near, one.gb):
                said.ram_gb = said.ram_gb or one.gb
                continue
            near.memory_gb = one.gb / count if total else one.gb
        elif one.kind == "loose" and gpus and all(_is_not_of(gpu, one) for gpu in gpus):
            said.ram_gb = said.ram_gb or one.gb
        elif not gpus:
            gpus = [GpuMention(None, one.start, one.end, memory_gb=one.gb)]
    if flags.card_gb:
        for gpu in gpus:
            gpu.memory_gb = gpu.memory_gb or (flags.card_gb if not gpu.name else None)
        gpus = gpus or [GpuMention(None, 0, 0, memory_gb=flags.card_gb)]
    return gpus


def _is_not_of(gpu: GpuMention, memory: amounts.Memory) -> bool:
    """Whether a memory can be neither a card's own nor that of all such cards together."""
    together = (gpu.memory_gb or 0) * (gpu.count or 1)
    return cards.is_too_much(lexicon(), gpu, memory.gb) and abs(together - memory.gb) > 1


def _is_total(memory: amounts.Memory, card: GpuMention, count: int) -> bool:
    """Whether a memory is that of several cards: no such card is sold, or "480G vram" of ten unnamed ones."""
    if card.name:
        known = cards.known_sizes(lexicon(), card)
        return count > 1 and memory.gb not in known and memory.gb / count in known
    return memory.kind == "vram" and count > 1 and memory.gb / count >= 4


def _count_nodes(sheet: Sheet, gpus: list[GpuMention], nodes: amounts.Nodes) -> None:
    """Read "three A100 nodes, 8 each": a count before a card is that of the machines named after it."""
    gpu = gpus[0] if len(gpus) == 1 and nodes.count is None else None
    if gpu is None or not gpu.name or (gpu.count or 0) < 2 or not _OF_NODES.match(sheet.low, gpu.end):
        return
    each = _IN_EACH.search(sheet.low[gpu.end :])
    if each:
        nodes.count = gpu.count
        gpu.count = (gpu.count or 1) * (lexicon().number(next(filter(None, each.groups()))) or 1)


def place_on_nodes(sheet: Sheet, gpus: list[GpuMention], nodes: amounts.Nodes, flags: Flags) -> None:
    """Multiply counts that are for each machine, so that ``count`` is that of all machines."""
    _count_nodes(sheet, gpus, nodes)
    if flags.gpus_per_node:
        total = flags.gpus_per_node[0] * (nodes.count or 1)
        if not gpus:
            gpus.append(GpuMention(None, 0, 0))
        gpus[0].count = total
        return
    for gpu in gpus:
        if gpu.count and amounts.multiplies(sheet, nodes, gpu.start) and not amounts.is_sum(sheet, nodes, gpu.count):
            gpu.count *= nodes.count or 1
    if (
        nodes.count is None
        and nodes.several
        and len(gpus) == 1
        and not (gpus[0].count and gpus[0].name and not nodes.per_node)
    ):
        gpus[0].count, gpus[0].count_asked = None, True
    if len(gpus) == 1 and nodes.count and gpus[0].count is None and nodes.end > 0:
        gpus[0].count = nodes.count
