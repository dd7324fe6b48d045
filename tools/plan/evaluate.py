"""Check one state of the search: seats, pools, starts. Everything that is shown has passed here."""

from __future__ import annotations

from dataclasses import replace

from tools.domain import Placement
from tools.plan.budgets import settle, settle_asleep
from tools.plan.demand import Sizer
from tools.plan.moves import State, weight_bytes
from tools.plan.placement import Seat, place, place_anyhow, room_bytes
from tools.plan.speed import SLEEP_RESIDUE_BYTES


def evaluate(state: State, sizer: Sizer) -> Placement | None:
    """Return a placement that fits, or None.

    Raises:
        NotYetExact: a model or format is not covered exactly.
    """
    if state.swap:
        seats = _seats_asleep(state, sizer)
        return settle_asleep(state.choices, seats, state.gpus, sizer) if seats else None
    seats = place(state.choices, state.gpus, sizer)
    if not seats:
        return None
    placement = settle(state.choices, seats, state.gpus, sizer)
    return placement if placement.verdict == "fits" else None


def best_effort(state: State, sizer: Sizer) -> Placement:
    """Return a placement of a state that does not fit, over-full cards and all, with what is missing."""
    seats = place_anyhow(state.choices, state.gpus, sizer)
    return replace(settle(state.choices, seats, state.gpus, sizer), verdict="does_not_fit")


def missing_bytes(state: State, sizer: Sizer) -> int:
    """Return what a state lacks on its cards, reserve included; 0 where only kernels or splits are in the way."""
    used = [0] * len(state.gpus)
    for seat in place_anyhow(state.choices, state.gpus, sizer):
        for card in seat.cards:
            used[card] += seat.demand.total_bytes
    return sum(max(0, taken - room_bytes(gpu)) for taken, gpu in zip(used, state.gpus, strict=True))


def asleep_bytes(state: State) -> int:
    """RAM that sleeping models need: all weights but the smallest model's, since one is always awake."""
    sizes = [weight_bytes(choice) for choice in state.choices]
    return sum(sizes) - min(sizes)


def _seats_asleep(state: State, sizer: Sizer) -> tuple[Seat, ...]:
    """Seat each instance as if alone, beside the residues of all the others; none where one has no seat."""
    others = (len(state.choices) - 1) * SLEEP_RESIDUE_BYTES
    gpus = [replace(gpu, reserved_bytes=gpu.reserved_bytes + others) for gpu in state.gpus]
    seats: list[Seat] = []
    for index, choice in enumerate(state.choices):
        alone = place([choice], gpus, sizer)
        if not alone:
            return ()
        seats.append(replace(alone[0], index=index))
    return tuple(seats)
