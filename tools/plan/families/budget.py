"""vLLM: a share of the whole card is set aside at start, and what weights leave of it becomes the cache.

Engines start strictly one after another, largest first, and each checks what is free when it starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tools.domain import (
    Checkpoint,
    Deployment,
    Footprint,
    Gpu,
    InstancePlan,
    ModelSpec,
    Placement,
    Quantization,
    Verdict,
)
from tools.errors import BadValue
from tools.plan.demand import Choice, Demand, Sizer
from tools.plan.families.common import deficit_bytes, held, in_start_order, met, neighbours, use_of
from tools.plan.kernels import runs_on
from tools.plan.placement import Seat, reserve_bytes
from tools.plan.waiting import SLEEP_RESIDUE_BYTES
from tools.units import MIB
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES, start_check, utilization_for
from tools.vram.estimate import estimate
from tools.vram.loaded import is_by_size
from tools.vram.weights import parameter_bytes

TENSOR_PARALLEL = (8, 4, 2, 1)
"""Ways to cut every layer; of the cards of a model the widest such cut is taken that its layers allow, and what is left
becomes pipeline stages (3 cards: 3 stages; 6 cards: 3 stages of 2)."""


def demand(choice: Choice, gpu: Gpu, ranks: int, version: str | None) -> Demand | None:
    """Return what a choice needs on each of ``ranks`` cards like ``gpu``; None where it can't be split so.

    Args:
        choice: what runs.
        gpu: one of the cards, which are equal.
        ranks: how many.
        version: of the engine; None = the newest supported.

    Raises:
        NotYetExact: the model or its format is not covered exactly.
    """
    for tp in TENSOR_PARALLEL:
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
        kv_dtype=choice.kv_dtype,
        tp=tp,
        pp=pp,
        cpu_offload_bytes=-(-choice.offload_bytes // (tp * pp)),
        sleep_mode=choice.sleeps,
        extra_flags=("--dtype", "float16") if half else (),
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
    pools = _pools(seats, gpus)
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
        left = min(_spare(gpus[c], [seat]) - beside[c] * SLEEP_RESIDUE_BYTES for c in seat.cards)
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
    bare = deployment(choice, gpu, split.tp, split.pp, sizer.engine_version)
    settled = replace(bare, kv_cache_memory_bytes=pool, gpu_memory_utilization=share)
    return InstancePlan(
        name=choice.served[0],
        served_names=choice.served,
        deployment=settled,
        footprint=estimate(settled, gpu),
        gpu_indices=seat.cards,
    )
