"""What every family's placement shares: the order of starts, what each card holds, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from types import ModuleType

from tools.domain import Gpu, GpuUse, InstancePlan
from tools.plan.engines import Family
from tools.plan.placement import Seat, reserve_bytes


def family_module(family: Family) -> ModuleType:
    """Return the module with a family's ``settle`` and ``settle_asleep``."""
    return import_module(f"tools.plan.families.{family}")


def in_start_order(plans: Sequence[InstancePlan]) -> tuple[InstancePlan, ...]:
    """Number the starts, largest first; equal ones in the order they were asked for."""
    ranking = sorted(range(len(plans)), key=lambda i: (-plans[i].footprint.total_bytes, i))
    turn = {index: order for order, index in enumerate(ranking)}
    return tuple(replace(plan, start_order=turn[index]) for index, plan in enumerate(plans))


def deficit_bytes(uses: Sequence[GpuUse], gpus: Sequence[Gpu]) -> int:
    """Bytes missing in all: what must be freed or added for every card to keep its reserve; 0 where all do."""
    return sum(max(0, reserve_bytes(gpu) - use.free_bytes) for use, gpu in zip(uses, gpus, strict=True))


def met(plan: InstancePlan, plans: Sequence[InstancePlan]) -> bool:
    """Whether an instance that starts earlier sits on one of this one's cards."""
    cards = set(plan.gpu_indices)
    return any(p.start_order < plan.start_order and cards & set(p.gpu_indices) for p in plans)


def neighbours(seat: Seat, seats: Sequence[Seat]) -> dict[int, int]:
    """Count the other instances on each card of a seat."""
    return {card: sum(1 for other in seats if other is not seat and card in other.cards) for card in seat.cards}


def held(plans: Sequence[InstancePlan], card: int, asleep_bytes: int | None = None) -> int:
    """Bytes that instances hold on a card.

    Args:
        plans: every instance.
        card: its index.
        asleep_bytes: what one that is not awake holds; None = as much as one that is.
    """
    total = 0
    for plan in plans:
        if card in plan.gpu_indices:
            total += plan.bytes_on(card) if plan.awake or asleep_bytes is None else asleep_bytes
    return total


def use_of(index: int, gpu: Gpu, used: int) -> GpuUse:
    """A card with what is on it."""
    return GpuUse(
        index=index,
        name=gpu.name,
        total_bytes=gpu.cuda_total_bytes,
        reserved_bytes=gpu.reserved_bytes,
        used_bytes=used,
        free_bytes=gpu.cuda_total_bytes - gpu.reserved_bytes - used,
    )
