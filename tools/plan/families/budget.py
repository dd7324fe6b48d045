"""vLLM: a share of the whole card is set aside at start, and what weights leave of it becomes the cache.

Engines start strictly one after another, largest first, and each checks what is free when it starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tools.domain import Deployment, Footprint, Gpu, InstancePlan, Placement, Verdict
from tools.errors import BadValue
from tools.plan.demand import Choice, Demand, Sizer
from tools.plan.families.common import (
    TENSOR_PARALLEL,
    deficit_bytes,
    held,
    in_start_order,
    met,
    neighbours,
    share_out_pools,
    spare_bytes,
    splits,
    use_of,
)
from tools.plan.kernels import runs_on
from tools.plan.placement import Seat
from tools.plan.waiting import SLEEP_RESIDUE_BYTES
from tools.units import MIB
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES, start_check, utilization_for
from tools.vram.estimate import estimate


def demand(choice: Choice, gpu: Gpu, ranks: int, version: str | None) -> Demand | None:
    """Return what a choice needs on each of ``ranks`` cards like ``gpu``; None where it can't be split so.

    Over several machines every layer is cut over the cards of one, and each machine is a stage of the pipeline.

    Args:
        choice: what runs.
        gpu: one of the cards, which are equal.
        ranks: how many.
        version: of the engine; None = the newest supported.

    Raises:
        NotYetExact: the model or its format is not covered exactly.
    """
    cuts = TENSOR_PARALLEL if choice.machines == 1 else (ranks // choice.machines,)
    for tp in cuts:
        if ranks % tp == 0 and splits(choice.model, choice.checkpoint, tp):
            found = _compute(deployment(choice, gpu, tp, ranks // tp, version), choice.users, gpu)
            if found:
                return found
    return None


def _compute(bare: Deployment, users: int, gpu: Gpu) -> Demand | None:
    try:
        pool = _whole_mib(estimate(bare, gpu).kv_needed_bytes + MIB)
        footprint = estimate(replace(bare, kv_cache_memory_bytes=pool), gpu)
        crowd = footprint.max_concurrency or 0.0
        if 0 < crowd < users:  # layers of several kinds share pages, so sequences take more than their sum
            pool = _whole_mib(math.ceil(pool * users / crowd) + 2 * MIB)
            footprint = estimate(replace(bare, kv_cache_memory_bytes=pool), gpu)
    except BadValue:
        return None
    return _demand(footprint, pool)


def deployment(choice: Choice, gpu: Gpu, tp: int, pp: int, version: str | None) -> Deployment:
    """Build the deployment of a choice on cards like ``gpu``; float16 is set where the card needs it."""
    half = runs_on(choice.checkpoint, gpu).half
    checkpoint = replace(choice.checkpoint, dtype="float16") if half else choice.checkpoint
    return Deployment(
        model=choice.model,
        checkpoint=checkpoint,
        engine_version=version,
        max_model_len=choice.context,
        max_num_seqs=choice.users,
        max_num_batched_tokens=choice.step,
        kv_dtype=choice.kv_dtype,
        tp=tp,
        pp=pp,
        cpu_offload_bytes=-(-choice.offload_bytes // (tp * pp)),
        sleep_mode=choice.sleeps,
        extra_flags=("--dtype", "float16") if half else (),
    )


def _demand(footprint: Footprint, pool: int) -> Demand:
    non_torch = footprint.context_bytes.value - CUDA_CONTEXT_BYTES
    bands = (footprint.activation_bytes, footprint.cuda_graph_bytes, footprint.context_bytes)
    inside = footprint.weights_bytes + non_torch + bands[0].value + bands[1].value
    return Demand(
        footprint=footprint,
        inside_bytes=math.ceil(inside),
        outside_bytes=CUDA_CONTEXT_BYTES,
        kv_bytes=pool,
        doubt_bytes=math.ceil(math.sqrt(sum((band.high - band.value) ** 2 for band in bands))),
    )


def _whole_mib(size_bytes: int) -> int:
    return -(-size_bytes // MIB) * MIB


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
    pools = share_out_pools(seats, gpus)
    plans = [_instance(choices[seat.index], seat, gpus, pool, sizer) for seat, pool in zip(seats, pools, strict=True)]
    ordered = in_start_order(plans)
    uses = tuple(use_of(index, gpu, held(ordered, index)) for index, gpu in enumerate(gpus))
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
        beside = neighbours(seat, seats)
        left = min(spare_bytes(gpus[c], [seat]) - beside[c] * SLEEP_RESIDUE_BYTES for c in seat.cards)
        if left < 0:
            return None
        pools.append(seat.demand.kv_bytes + left // MIB * MIB)
    plans = [_instance(choices[seat.index], seat, gpus, pool, sizer) for seat, pool in zip(seats, pools, strict=True)]
    ordered = in_start_order(plans)
    ordered = tuple(replace(plan, awake=plan.start_order == 0 or not met(plan, ordered)) for plan in ordered)
    uses = tuple(use_of(index, gpu, held(ordered, index, SLEEP_RESIDUE_BYTES)) for index, gpu in enumerate(gpus))
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
            taken = sum(SLEEP_RESIDUE_BYTES if swap else p.footprint.total_bytes for p in earlier)
            gpu = gpus[card]
            free = gpu.cuda_total_bytes - gpu.reserved_bytes - taken - CUDA_CONTEXT_BYTES
            if not start_check(gpu.cuda_total_bytes, free, share).ok:
                return False
    return True


def _instance(choice: Choice, seat: Seat, gpus: Sequence[Gpu], pool: int, sizer: Sizer) -> InstancePlan:
    gpu = gpus[seat.cards[0]]
    share = min(1.0, utilization_for(gpu.cuda_total_bytes, seat.demand.inside_bytes + pool))
    split = seat.demand.footprint.deployment
    bare = deployment(choice, gpu, split.tp, split.pp, sizer.engine_version)
    settled = replace(bare, kv_cache_memory_bytes=pool, gpu_memory_utilization=share)
    return InstancePlan(
        name=choice.served[0],
        served_names=choice.served,
        deployment=settled,
        footprint=estimate(settled, gpu),
        gpu_indices=seat.cards,
    )
