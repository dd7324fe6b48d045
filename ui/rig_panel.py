"""The hardware fields beside the chat: from what is typed there to a Rig, and from a Rig to the fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tools.domain import Gpu, Rig
from tools.errors import BadValue
from tools.specs.gpus import GpuCatalogue
from tools.units import GIB, gib, parse_size

MAX_CARDS = 1024
_PIECE = re.compile(r"\s*(?:(\d+)\s*[x×хX*]\s*)?(.+?)\s*", re.DOTALL)
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class RigFields:
    """What the fields hold, as text: ``card`` may join several with ``+``; ``count`` multiplies them all."""

    card: str = ""
    count: str = "1"
    reserved: str = ""
    ram: str = ""


def rig_of_fields(fields: RigFields, gpus: GpuCatalogue) -> Rig | None:
    """Read the fields.

    Returns:
        The rig, or None where no card is given.

    Raises:
        BadValue: a field can't be read.
        UnknownGpu: no such card.
    """
    if not fields.card.strip():
        return None
    count = _count(fields.count or "1")
    reserved = _size(fields.reserved)
    cards: list[Gpu] = []
    for piece in fields.card.split("+"):
        found = _PIECE.fullmatch(piece)
        if found is None:
            raise BadValue("errors_ui.bad_card", value=fields.card)
        times, name = found.groups()
        gpu = replace(gpus.find(name).gpu, reserved_bytes=reserved or 0)
        cards += [gpu] * (_count(times or "1") * count)
        if len(cards) > MAX_CARDS:
            raise BadValue("errors_ui.bad_count", value=len(cards), limit=MAX_CARDS)
    return Rig(gpus=tuple(cards), ram_bytes=_size(fields.ram), source="panel")


def _count(word: str) -> int:
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 1 <= value <= MAX_CARDS or value % 1:
        raise BadValue("errors_ui.bad_count", value=word, limit=MAX_CARDS)
    return int(value)


def _size(word: str) -> int | None:
    """Read a size; a bare number and GB mean GiB, as people mean them for memory."""
    if not word.strip():
        return None
    bare = _NUMBER.fullmatch(word)
    asked = f"{bare.group(1)}GiB" if bare else re.sub(r"(?i)(гб|гиб|gb)\s*$", "GiB", word.strip())
    try:
        return parse_size(asked)
    except BadValue as error:
        raise BadValue("errors_ui.bad_rig_size", value=word) from error


def fields_of_rig(rig: Rig) -> RigFields:
    """Fill the fields from a rig."""
    groups = [(name, len(list(cards))) for name, cards in groupby(rig.gpus, key=lambda gpu: gpu.name)]
    if len(groups) == 1:
        card, count = groups[0][0], str(groups[0][1])
    else:
        card, count = " + ".join(f"{times}x{name}" for name, times in groups), "1"
    reserved = max((gpu.reserved_bytes for gpu in rig.gpus), default=0)
    return RigFields(card, count, _size_words(reserved), _size_words(rig.ram_bytes or 0))


def _size_words(size_bytes: int) -> str:
    return "" if not size_bytes else f"{size_bytes / GIB:.1f}".removesuffix(".0") + "GiB"


def rig_label(rig: Rig | None) -> str:
    """Name a rig in a few words: ``2 × RTX 3090 (23.6 GiB)``; empty for None."""
    if rig is None or not rig.gpus:
        return ""
    return " + ".join(
        f"{len(cards)} × {cards[0].name} ({gib(cards[0].cuda_total_bytes)})"
        for cards in (list(group) for _, group in groupby(rig.gpus, key=lambda gpu: gpu.name))
    )


COMMON_CARDS: Sequence[str] = (
    "RTX PRO 6000 Blackwell", "RTX 5090", "RTX 5080", "RTX 5070 Ti", "RTX 5060 Ti 16GB",
    "RTX 4090", "RTX 4080 SUPER", "RTX 4070 Ti SUPER", "RTX 4060 Ti 16GB", "RTX 4060",
    "RTX 3090", "RTX 3080", "RTX 3060", "RTX 6000 Ada", "RTX A6000",
    "L4", "L40S", "A10", "A100 80GB", "H100", "H200", "B200", "T4",
    "RX 7900 XTX", "MI300X",
)  # fmt: skip
"""Cards people name most (the dropdown's list); any other can be typed."""
