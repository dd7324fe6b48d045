"""llama.cpp and its kin: a process takes what it needs, and cards hold whole layers, as many as they have room for.

Nothing is set aside: weights, the cache of ``context x users`` tokens, the compute buffer and the process's context
add up, and several processes on a card are simply their sum. Of a model over several cards each holds layers in order
(``-sm layer``), shared out by what is free there (``-ts``), so cards may be unequal. Layers, or only their experts,
that do not fit stay in RAM (``-ngl``, ``--n-cpu-moe``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tools.domain import Deployment, EngineOptions, Footprint, Gpu, InstancePlan, Placement, Verdict
from tools.errors import BadValue
from tools.plan.demand import Choice, Demand, Sizer
from tools.plan.engines import cache_type
from tools.plan.families.common import deficit_bytes, held, in_start_order, met, use_of
from tools.plan.placement import Seat
from tools.units import GIB
from tools.vram.engines.by_card import bytes_by_card, slot_bytes
from tools.vram.engines.llamacpp import CONTEXT_GIB
from tools.vram.estimate import estimate

MOVES = 3
"""Times that layers are moved from a card that is over-full to the one with most room, after the first sharing out."""


KEPT_BYTES = GIB * 3 // 4
"""Of each card's room, for its context and buffers, before layers are shared out; what they take is counted after."""


def demand(
    choice: Choice, cards: Sequence[Gpu], rooms: Sequence[int], version: str | None, *, holding: bool = False
) -> Demand | None:
    """Return what a choice needs of each of its cards; None where it can't lie on them so.

    Args:
        choice: what runs.
        cards: of one machine, perhaps unequal.
        rooms: bytes free on each.
        version: of the engine; None = the newest supported.
        holding: only what may hold is worked out.

    Raises:
        NotYetExact: the model or its format is not covered exactly.
    """
    bare = deployment(choice, len(cards), version)
    largest = max(cards, key=lambda gpu: gpu.cuda_total_bytes)
    if holding and not _may_hold(bare, largest, rooms):
        return None
    try:
        whole = len(cards) == 1 or choice.checkpoint.quantization.method != "gguf"
        settled = bare if whole else shared_out(bare, largest, rooms)
        footprint = estimate(settled, largest)
        on_cards = bytes_by_card(settled, largest) if len(cards) > 1 else ()
    except BadValue:
        return None
    bands = (footprint.activation_bytes, footprint.context_bytes)
    return Demand(
        footprint=replace(footprint, deployment=settled),
        inside_bytes=footprint.total_bytes - footprint.kv_needed_bytes,
        outside_bytes=0,
        kv_bytes=footprint.kv_needed_bytes,
        doubt_bytes=math.ceil(math.sqrt(sum((band.high - band.value) ** 2 for band in bands))),
        by_card=on_cards,
    )


def deployment(choice: Choice, cards: int, version: str | None) -> Deployment:
    """Build the deployment of a choice on so many cards, layers not yet shared out among them."""
    model = choice.model
    return Deployment(
        model=model,
        checkpoint=choice.checkpoint,
        engine=choice.engine,
        engine_version=version,
        max_model_len=choice.context,
        max_num_seqs=choice.users,
        kv_dtype=cache_type(choice.engine, choice.checkpoint.quantization.method, choice.kv_dtype),
        pp=cards,
        options=EngineOptions(
            load_bits=_BITS.get(choice.checkpoint.quantization.method) if choice.checkpoint.in_flight else None,
            context_total=choice.context * choice.users,
            gpu_layers=len(model.layers) + 1 - choice.layers_in_ram if choice.layers_in_ram else None,
            experts_in_ram=choice.experts_in_ram,
        ),
    )


_BITS = {"bnb_nf4": 4, "bnb_int8": 8}
"""Bits by the method that bitsandbytes makes while Transformers loads."""


def shared_out(bare: Deployment, gpu: Gpu, rooms: Sequence[int]) -> Deployment:
    """Share the layers out among cards in proportion to the room on them.

    Worked example: 48 layers and the output on 24 and 12 GB: 33 and 16 slots.

    Args:
        bare: the deployment; its options say which layers stay in RAM.
        gpu: the largest card.
        rooms: bytes free on each card; each keeps some for its context and buffers.

    Returns:
        The deployment with ``options.split``: the number of slots (layers in order, the output last) of each card.
    """
    slots = slot_bytes(bare, gpu)
    counts = _proportional(slots, [room - KEPT_BYTES for room in rooms])
    size = max(1, max(slots))
    settled = _split(bare, counts)
    for _ in range(MOVES):
        over = [need - room for need, room in zip(bytes_by_card(settled, gpu), rooms, strict=True)]
        worst, best = max(range(len(over)), key=over.__getitem__), min(range(len(over)), key=over.__getitem__)
        moved = min(-(-over[worst] // size), -over[best] // size, counts[worst] - 1)
        if over[worst] <= 0 or moved <= 0:
            break
        counts[worst] -= moved
        counts[best] += moved
        settled = _split(bare, counts)
    return settled


def _may_hold(bare: Deployment, gpu: Gpu, rooms: Sequence[int]) -> bool:
    """Tell at once where not even all layers and a context a card find room on the cards together."""
    if len(rooms) == 1 or bare.checkpoint.quantization.method != "gguf":
        return True
    contexts = len(rooms) * round(CONTEXT_GIB[1] * GIB)
    return sum(slot_bytes(bare, gpu)) + contexts <= sum(max(0, room) for room in rooms)


def _split(bare: Deployment, counts: Sequence[int]) -> Deployment:
    return replace(bare, options=replace(bare.options, split=tuple(map(float, counts))))


def _proportional(slots: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """Slots in order, each on the card in whose share of the whole its middle lies; every card gets one at least."""
    usable = [max(0, room) for room in rooms]
    room, whole = sum(usable) or 1, sum(slots) or 1
    counts, done, card, edge = [0] * len(rooms), 0.0, 0, usable[0] / room
    for size in slots:
        while (done + size / 2) / whole > edge and card < len(rooms) - 1:
            card += 1
            edge += usable[card] / room
        counts[card] += 1
        done += size
    for card, count in enumerate(counts):
        if count == 0:
            counts[max(range(len(counts)), key=counts.__getitem__)] -= 1
            counts[card] = 1
    return counts


def settle(choices: Sequence[Choice], seats: Sequence[Seat], gpus: Sequence[Gpu], sizer: Sizer) -> Placement:
    """Put seated instances on their cards, all resident together.

    Args:
        choices: what runs.
        seats: where, one a choice and in the same order.
        gpus: the rig's cards.
        sizer: the calculator.
    """
    del sizer
    ordered = in_start_order([_instance(choices[seat.index], seat) for seat in seats])
    uses = tuple(use_of(index, gpu, held(ordered, index)) for index, gpu in enumerate(gpus))
    missing = deficit_bytes(uses, gpus)
    complete = len(seats) == len(choices) and bool(seats)
    verdict: Verdict = "fits" if complete and not missing else "does_not_fit"
    return Placement(verdict, missing, ordered, uses)


def settle_asleep(
    choices: Sequence[Choice], seats: Sequence[Seat], gpus: Sequence[Gpu], sizer: Sizer
) -> Placement | None:
    """Put instances on their cards of which one runs at a time on each; one that is stopped holds nothing."""
    del sizer
    ordered = in_start_order([_instance(choices[seat.index], seat) for seat in seats])
    ordered = tuple(replace(plan, awake=not met(plan, ordered)) for plan in ordered)
    uses = tuple(use_of(index, gpu, held(ordered, index, 0)) for index, gpu in enumerate(gpus))
    return None if deficit_bytes(uses, gpus) else Placement("fits", 0, ordered, uses)


def _instance(choice: Choice, seat: Seat) -> InstancePlan:
    footprint: Footprint = seat.demand.footprint
    return InstancePlan(
        name=choice.served[0],
        served_names=choice.served,
        deployment=footprint.deployment,
        footprint=footprint,
        gpu_indices=seat.cards,
        card_bytes=seat.demand.by_card,
    )
