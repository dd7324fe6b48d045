"""SGLang: each process sets aside a share of what is free when it starts, for weights and cache.

``pool = free after loading - free before loading x (1 - share)``, never more than ``--max-total-tokens``; graphs and
steps take what the share leaves (``mem_cache/kv_cache_configurator.py:_profile_available_bytes``, 0.5.23). "Free" is
what the driver says, on the fullest of a model's cards, so a second process counts from what the first one left: its
share is of that. Newer versions measure again once graphs are captured (``compute_post_capture_kv_resize``), which
takes the graphs out of the share; the shares here hold the graphs too, and the tokens are stated, so both ways of
counting give the same pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tools.domain import Deployment, EngineOptions, Footprint, Gpu, InstancePlan, Placement, Verdict
from tools.errors import BadValue
from tools.plan.demand import Choice, Demand, Sizer
from tools.plan.families.common import TENSOR_PARALLEL, deficit_bytes, held, met, share_out_pools, splits, use_of
from tools.plan.kernels import runs_on
from tools.plan.placement import Seat
from tools.vram.estimate import estimate

BALANCE = 0.9
"""A model's cards must not differ by more: each has at least this part of what another has free, or it does not start
(``distributed/bootstrap.py:_check_tp_memory_balance``)."""

MOST = 0.98
"""Largest share that is written; the rest is for what starts beside the pool."""


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
            try:
                return _demand(estimate(deployment(choice, gpu, tp, ranks // tp, version), gpu))
            except BadValue:
                continue
    return None


def deployment(choice: Choice, gpu: Gpu, tp: int, pp: int, version: str | None) -> Deployment:
    """Build the deployment of a choice on cards like ``gpu``, its share not yet settled."""
    half = runs_on(choice.checkpoint, gpu, choice.engine).half
    checkpoint = replace(choice.checkpoint, dtype="float16") if half else choice.checkpoint
    return Deployment(
        model=choice.model,
        checkpoint=checkpoint,
        engine=choice.engine,
        engine_version=version,
        max_model_len=choice.context,
        max_num_seqs=choice.users,
        kv_dtype=choice.kv_dtype,
        tp=tp,
        pp=pp,
        extra_flags=("--dtype", "float16") if half else (),
    )


def _demand(footprint: Footprint) -> Demand:
    bands = (footprint.activation_bytes, footprint.cuda_graph_bytes, footprint.context_bytes)
    return Demand(
        footprint=footprint,
        inside_bytes=math.ceil(footprint.weights_bytes + bands[0].value + bands[1].value),
        outside_bytes=math.ceil(bands[2].value),
        kv_bytes=_wanted_bytes(footprint),
        doubt_bytes=math.ceil(math.sqrt(sum((band.high - band.value) ** 2 for band in bands))),
    )


def _wanted_bytes(footprint: Footprint) -> int:
    """Cache that is needed; where its tokens can't be stated, room for graphs too, which may come out of the pool."""
    spare = 0.0 if footprint.kv_bytes_per_token else footprint.cuda_graph_bytes.value
    return math.ceil(footprint.kv_needed_bytes + spare)


def settle(choices: Sequence[Choice], seats: Sequence[Seat], gpus: Sequence[Gpu], sizer: Sizer) -> Placement:
    """Give each seated instance its tokens, its share of what is free at its start and its turn; all are resident.

    Args:
        choices: what runs.
        seats: where, one a choice and in the same order.
        gpus: the rig's cards.
        sizer: the calculator.
    """
    pools = share_out_pools(seats, gpus)
    ordered = _started(choices, seats, gpus, pools, sizer, together=True)
    uses = tuple(use_of(index, gpu, held(ordered, index)) for index, gpu in enumerate(gpus))
    missing = deficit_bytes(uses, gpus)
    complete = len(seats) == len(choices) and bool(seats)
    fits = complete and not missing and all(plan.footprint.verdict == "fits" for plan in ordered)
    verdict: Verdict = "fits" if fits else "does_not_fit"
    return Placement(verdict, missing, ordered, uses)


def settle_asleep(
    choices: Sequence[Choice], seats: Sequence[Seat], gpus: Sequence[Gpu], sizer: Sizer
) -> Placement | None:
    """Settle instances of which one runs at a time on each card; one that is stopped holds nothing."""
    pools = [share_out_pools([seat], gpus)[0] for seat in seats]
    ordered = _started(choices, seats, gpus, pools, sizer, together=False)
    ordered = tuple(replace(plan, awake=not met(plan, ordered)) for plan in ordered)
    uses = tuple(use_of(index, gpu, held(ordered, index, 0)) for index, gpu in enumerate(gpus))
    fits = not deficit_bytes(uses, gpus) and all(plan.footprint.verdict == "fits" for plan in ordered)
    return Placement("fits", 0, ordered, uses) if fits else None


def _started(
    choices: Sequence[Choice],
    seats: Sequence[Seat],
    gpus: Sequence[Gpu],
    pools: Sequence[int],
    sizer: Sizer,
    *,
    together: bool,
) -> tuple[InstancePlan, ...]:
    """Start the instances one after another, largest first, each beside what the earlier ones hold."""
    needs = [seat.demand.total_bytes - seat.demand.kv_bytes + pool for seat, pool in zip(seats, pools, strict=True)]
    taken = [0] * len(gpus)
    plans: dict[int, InstancePlan] = {}
    for turn, index in enumerate(sorted(range(len(seats)), key=lambda i: (-needs[i], i))):
        seat = seats[index]
        used = [gpus[card].reserved_bytes + (taken[card] if together else 0) for card in seat.cards]
        plan = _instance(choices[seat.index], seat, gpus, pools[index], used, sizer)
        plans[index] = replace(plan, start_order=turn)
        for card in seat.cards:
            taken[card] += plan.footprint.total_bytes
    return tuple(plans[index] for index in range(len(seats)))


def _instance(
    choice: Choice, seat: Seat, gpus: Sequence[Gpu], pool: int, used: Sequence[int], sizer: Sizer
) -> InstancePlan:
    """One instance; its share is of what is free once its own context is there and the earlier ones have started.

    ``used`` is what others hold on each of its cards. Worked example: 24 GiB of weights, 10 of cache and 1 of graphs
    beside 40 GiB of another on a card of 95: free are 95 - 40 - 0.45 = 54.55 GiB, so the share is 35 / 54.55 = 0.642.
    """
    gpu = gpus[seat.cards[0]]
    split = seat.demand.footprint.deployment
    bare = deployment(choice, gpu, split.tp, split.pp, sizer.engine_version)
    footprint = seat.demand.footprint
    room, most = gpu.cuda_total_bytes - max(used), gpu.cuda_total_bytes - min(used)
    free = room - footprint.context_bytes.value
    graphs = footprint.cuda_graph_bytes.value if footprint.kv_bytes_per_token else 0.0
    wanted = footprint.weights_bytes + pool + graphs
    share = min(MOST, math.ceil(1000 * wanted / max(1.0, free)) / 1000)
    tokens = pool // footprint.kv_bytes_per_token if footprint.kv_bytes_per_token else None
    settled = replace(bare, options=EngineOptions(static_share=share, total_tokens=tokens))
    found = estimate(settled, replace(gpu, reserved_bytes=max(used)))
    if room < seat.demand.total_bytes or room < BALANCE * most:  # it can't start there; shown with what it would take
        found = replace(found, total_bytes=seat.demand.total_bytes, verdict="does_not_fit")
    return InstancePlan(
        name=choice.served[0],
        served_names=choice.served,
        deployment=settled,
        footprint=found,
        gpu_indices=seat.cards,
    )
