"""From seats to a placement: cache pools, each engine's share of its card, the order of starts, what stays free.

Engines start strictly one after another, largest first, and each checks what is free when it starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tools.domain import Gpu, GpuUse, InstancePlan, Placement, Verdict
from tools.plan.demand import Choice, Sizer
from tools.plan.placement import Seat, reserve_bytes
from tools.plan.waiting import SLEEP_RESIDUE_BYTES
from tools.units import MIB
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES, start_check, utilization_for
from tools.vram.estimate import estimate


def settle(choices: Sequence[Choice], seats: Sequence[Seat], gpus: Sequence[Gpu], sizer: Sizer) -> Placement:
    """Give each seated instance its pool, its share of the card and its turn to start; all are resident together.

    Args:
        choices: what runs.
        seats: where, one a choice and in the same order.
        gpus: the rig's cards.
        sizer: the calculator.

    Returns:
        A placement that says ``fits`` only if every start passes the engine's own check.
    """
    pools = _pools(seats, gpus)
    plans = [_instance(choices[seat.index], seat, gpus, pool, sizer) for seat, pool in zip(seats, pools, strict=True)]
    ordered = in_start_order(plans)
    uses = tuple(_use(index, gpu, _held(ordered, index)) for index, gpu in enumerate(gpus))
    missing = deficit_bytes(uses, gpus)
    complete = len(seats) == len(choices) and bool(seats)
    verdict: Verdict = "fits" if complete and not missing and starts(ordered, gpus) else "does_not_fit"
    return Placement(verdict, missing, ordered, uses)


def settle_asleep(
    choices: Sequence[Choice], seats: Sequence[Seat], gpus: Sequence[Gpu], sizer: Sizer
) -> Placement | None:
    """Settle instances of which one is awake at a time while the others sleep; None where a start would fail.

    Each gets what its cards hold beside the residues of all the others. The first awake is the largest.
    """
    pools: list[int] = []
    for seat in seats:
        neighbours = _neighbours(seat, seats)
        left = min(_spare(gpus[c], [seat]) - neighbours[c] * SLEEP_RESIDUE_BYTES for c in seat.cards)
        if left < 0:
            return None
        pools.append(seat.demand.kv_bytes + left // MIB * MIB)
    plans = [_instance(choices[seat.index], seat, gpus, pool, sizer) for seat, pool in zip(seats, pools, strict=True)]
    ordered = in_start_order(plans)
    ordered = tuple(replace(plan, awake=plan.start_order == 0 or not _met(plan, ordered)) for plan in ordered)
    uses = tuple(_use(index, gpu, _held_asleep(ordered, index)) for index, gpu in enumerate(gpus))
    if not starts(ordered, gpus):
        return None
    return Placement("fits", 0, ordered, uses)


def starts(plans: Sequence[InstancePlan], gpus: Sequence[Gpu]) -> bool:
    """Tell whether every instance passes the engine's check when they start one after another.

    An instance that sleeps holds its residue once the next one starts; one that stays awake holds all it takes. At its
    own start an engine has already taken its CUDA context.
    """
    swap = any(plan.deployment.sleep_mode for plan in plans)
    for plan in plans:
        share = plan.deployment.gpu_memory_utilization
        if share is None:
            return False
        for card in plan.gpu_indices:
            earlier = [p for p in plans if p.start_order < plan.start_order and card in p.gpu_indices]
            held = sum(SLEEP_RESIDUE_BYTES if swap else p.footprint.total_bytes for p in earlier)
            gpu = gpus[card]
            free = gpu.cuda_total_bytes - gpu.reserved_bytes - held - CUDA_CONTEXT_BYTES
            if not start_check(gpu.cuda_total_bytes, free, share).ok:
                return False
    return True


def in_start_order(plans: Sequence[InstancePlan]) -> tuple[InstancePlan, ...]:
    """Number the starts, largest first; equal ones in the order they were asked for."""
    ranking = sorted(range(len(plans)), key=lambda i: (-plans[i].footprint.total_bytes, i))
    turn = {index: order for order, index in enumerate(ranking)}
    return tuple(replace(plan, start_order=turn[index]) for index, plan in enumerate(plans))


def deficit_bytes(uses: Sequence[GpuUse], gpus: Sequence[Gpu]) -> int:
    """Bytes missing in all: what must be freed or added for every card to keep its reserve; 0 where all do."""
    return sum(max(0, reserve_bytes(gpu) - use.free_bytes) for use, gpu in zip(uses, gpus, strict=True))


def _pools(seats: Sequence[Seat], gpus: Sequence[Gpu]) -> list[int]:
    """Share out what is left on the cards in proportion to need, the tightest instance first."""
    on_card = [[seat for seat in seats if card in seat.cards] for card in range(len(gpus))]
    spare = [float(max(0, _spare(gpu, on_card[card]))) for card, gpu in enumerate(gpus)]
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


def _spare(gpu: Gpu, there: Sequence[Seat]) -> int:
    """Bytes left for larger pools: beyond all needs and either the reserve or the doubt about the estimates."""
    doubt = math.ceil(math.sqrt(sum(seat.demand.doubt_bytes**2 for seat in there)))
    taken = sum(seat.demand.total_bytes for seat in there)
    return gpu.cuda_total_bytes - gpu.reserved_bytes - taken - max(reserve_bytes(gpu), doubt)


def _instance(choice: Choice, seat: Seat, gpus: Sequence[Gpu], pool: int, sizer: Sizer) -> InstancePlan:
    gpu = gpus[seat.cards[0]]
    share = min(1.0, utilization_for(gpu.cuda_total_bytes, seat.demand.inside_bytes + pool))
    split = seat.demand.footprint.deployment
    bare = sizer.deployment(choice, gpu, split.tp, split.pp)
    deployment = replace(bare, kv_cache_memory_bytes=pool, gpu_memory_utilization=share)
    return InstancePlan(
        name=choice.served[0],
        served_names=choice.served,
        deployment=deployment,
        footprint=estimate(deployment, gpu),
        gpu_indices=seat.cards,
    )


def _met(plan: InstancePlan, plans: Sequence[InstancePlan]) -> bool:
    """Whether an instance that starts earlier sits on one of this one's cards."""
    cards = set(plan.gpu_indices)
    return any(p.start_order < plan.start_order and cards & set(p.gpu_indices) for p in plans)


def _neighbours(seat: Seat, seats: Sequence[Seat]) -> dict[int, int]:
    return {card: sum(1 for other in seats if other is not seat and card in other.cards) for card in seat.cards}


def _held(plans: Sequence[InstancePlan], card: int) -> int:
    return sum(plan.footprint.total_bytes for plan in plans if card in plan.gpu_indices)


def _held_asleep(plans: Sequence[InstancePlan], card: int) -> int:
    there = [plan for plan in plans if card in plan.gpu_indices]
    return sum(plan.footprint.total_bytes if plan.awake else SLEEP_RESIDUE_BYTES for plan in there)


def _use(index: int, gpu: Gpu, used: int) -> GpuUse:
    return GpuUse(
        index=index,
        name=gpu.name,
        total_bytes=gpu.cuda_total_bytes,
        reserved_bytes=gpu.reserved_bytes,
        used_bytes=used,
        free_bytes=gpu.cuda_total_bytes - gpu.reserved_bytes - used,
    )
