"""What families share: the order of starts, what each card holds and lacks, how layers are cut, how pools grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from types import ModuleType

from tools.domain import Checkpoint, Gpu, GpuUse, InstancePlan, ModelSpec, Quantization
from tools.errors import BadValue
from tools.plan.engines import Family
from tools.plan.placement import Seat, reserve_bytes
from tools.units import MIB
from tools.vram.loaded import is_by_size
from tools.vram.weights import parameter_bytes

TENSOR_PARALLEL = (8, 4, 2, 1)
"""Ways to cut every layer; of the cards of a model the widest such cut is taken that its layers allow, and what is left
becomes pipeline stages (3 cards: 3 stages; 6 cards: 3 stages of 2)."""


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


def splits(model: ModelSpec, checkpoint: Checkpoint, tp: int) -> bool:
    """Tell whether the engine takes a rank's share of every layer: heads divide, and blocks and groups are whole.

    Sources: vLLM 0.32 ``config/model.py:verify_with_parallel_config``, and the refusals of ``tools.vram.storage``.
    """
    if is_by_size(checkpoint.quantization):
        checkpoint = replace(checkpoint, quantization=Quantization())
    try:
        parameter_bytes(model, checkpoint, tp)
    except BadValue:
        return False
    return True


def share_out_pools(seats: Sequence[Seat], gpus: Sequence[Gpu]) -> list[int]:
    """Share out what is left on the cards in proportion to need, the tightest instance first."""
    on_card = [[seat for seat in seats if card in seat.cards] for card in range(len(gpus))]
    spare = [float(max(0, spare_bytes(gpu, on_card[card]))) for card, gpu in enumerate(gpus)]
    weight = [float(sum(seat.demand.kv_bytes for seat in there)) for there in on_card]
    pools = [seat.demand.kv_bytes for seat in seats]
    waiting = set(range(len(seats)))
    while waiting:
        ratios = {i: min(spare[c] / weight[c] for c in seats[i].cards) for i in waiting}
        index = min(waiting, key=lambda i: (ratios[i], i))
        extra = ratios[index] * seats[index].demand.kv_bytes
        pools[index] += int(extra) // MIB * MIB
        waiting.discard(index)
        for card in seats[index].cards:
            spare[card] = max(0.0, spare[card] - extra)
            weight[card] = max(1.0, weight[card] - seats[index].demand.kv_bytes)
    return pools


def spare_bytes(gpu: Gpu, there: Sequence[Seat]) -> int:
    """Bytes left for larger pools: beyond all needs and either the reserve or the doubt about the estimates."""
    doubt = math.ceil(math.sqrt(sum(seat.demand.doubt_bytes**2 for seat in there)))
    taken = sum(seat.demand.total_bytes for seat in there)
    return gpu.cuda_total_bytes - gpu.reserved_bytes - taken - max(reserve_bytes(gpu), doubt)
