"""Check one state of the search: seats, pools, starts. Everything that is shown has passed here."""

from __future__ import annotations

from dataclasses import replace

from tools.domain import Placement
from tools.plan.demand import ROOM_STEP, Sizer
from tools.plan.engines import engine
from tools.plan.families.common import family_module
from tools.plan.moves import State
from tools.plan.placement import SEARCH_STEPS, place, place_anyhow, place_in_turns, room_bytes
from tools.plan.sizes import weight_bytes
from tools.plan.waiting import SLEEP_RESIDUE_BYTES

SMALL_RIG = 32
"""Instances x cards up to which every state is searched at full depth."""

LARGE_RIG_STEPS = 40
"""Seats tried for one variant on a larger rig: enough for one descent and some turning back."""


LAYER_STEPS = 40
"""The same for engines that place layers: they fill whatever room there is, so turning back rarely finds more."""


def search_steps(state: State) -> int:
    """Seats that may be tried for one variant of a state, so that the whole search stays short."""
    if len(state.choices) * len(state.gpus) > SMALL_RIG:
        return LARGE_RIG_STEPS
    return LAYER_STEPS if engine(state.engine).uneven else SEARCH_STEPS


def evaluate(state: State, sizer: Sizer, *, steps: int = SEARCH_STEPS) -> Placement | None:
    """Return a placement that fits, or None.

    Args:
        state: what is to run.
        sizer: the calculator.
        steps: seats to try at most.

    Raises:
        NotYetExact: a model or format is not covered exactly.
    """
    rules = engine(state.engine)
    family = family_module(rules.family)
    if state.swap:
        residue = SLEEP_RESIDUE_BYTES if rules.sleeps else 0
        seats = place_in_turns(state.choices, state.gpus, sizer, residue)
        return family.settle_asleep(state.choices, seats, state.gpus, sizer) if seats else None
    seats = place(state.choices, state.gpus, sizer, steps=steps)
    if not seats:
        return None
    placement: Placement = family.settle(state.choices, seats, state.gpus, sizer)
    return placement if placement.verdict == "fits" else None


def best_effort(state: State, sizer: Sizer) -> Placement:
    """Return a placement of a state that does not fit, over-full cards and all, with what is missing."""
    seats = place_anyhow(state.choices, state.gpus, sizer)
    placement: Placement = family_module(engine(state.engine).family).settle(state.choices, seats, state.gpus, sizer)
    return replace(placement, verdict="does_not_fit")


def missing_bytes(state: State, sizer: Sizer) -> int:
    """Return what a state lacks on its cards, reserve included; 0 where only kernels or splits are in the way.

    Of engines that place layers it is what all instances need beyond all room, for layers go wherever there is any.
    """
    if state.gpus and engine(state.engine).uneven:
        alone = (sizer.demand_by_layers(choice, state.gpus[:1], (0,)) for choice in state.choices)
        needed = sum(demand.total_bytes for demand in alone if demand)
        return max(ROOM_STEP, needed - sum(max(0, room_bytes(gpu)) for gpu in state.gpus))
    used = [0] * len(state.gpus)
    for seat in place_anyhow(state.choices, state.gpus, sizer):
        for card, need in seat.takes():
            used[card] += need
    return sum(max(0, taken - room_bytes(gpu)) for taken, gpu in zip(used, state.gpus, strict=True))


def asleep_bytes(state: State) -> int:
    """RAM that sleeping models need: all weights but the smallest model's, since one is always awake.

    Models that are stopped need none.
    """
    if not engine(state.engine).sleeps:
        return 0
    sizes = [weight_bytes(choice) for choice in state.choices]
    return sum(sizes) - min(sizes)
