"""Which of the ways that work are worth showing, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tools.domain import Option, Placement
from tools.plan.costs import slowest
from tools.plan.moves import State, bits_of

Found = tuple[State, Placement]

MAX_CHAINS = 3
"""Options of several changes that are shown beside the single ones."""

MAX_SHARED = 2
"""Of these, ones that only hold where the models are the same; they leave the others their place."""

MAX_SHOWN = 10

READABLE_SPEED = 3.0
"""Tokens a second below which an answer comes slower than it is read: no such option is recommended over another."""

EASY_SPEED = 30.0
"""Tokens a second at which nobody waits."""

HALVING_LOSS = 1.5
"""What each halving of that pace costs: two of them as much as the step from 16 to 4 bits."""

UNKNOWN_LOSS = 3.0
"""The same where a card's bandwidth is not known."""

LEAST_SPEED = 1.0
"""Tokens a second below which an option is of no use, unless it is the only one on the rig."""


def worth_showing(found: Sequence[Found], loss: Callable[[State], float]) -> list[Found]:
    """Order what fits by what it costs, without what is worse in every way than another.

    Args:
        found: states that fit, with their placements.
        loss: what a person gives up under a state; smaller is better.

    Returns:
        At most ``MAX_SHOWN``; sharing comes first, since it costs nothing where it applies.
    """
    best = [pair for pair in found if not _beaten(pair[0], found)]
    best.sort(key=lambda pair: (pair[0].path != ("share",), loss(pair[0]) + _slowness(pair)))
    fast = [pair for pair in best if _usable(pair)]
    if any("more_hardware" not in state.path for state, _ in fast):
        best = fast
    chained = [state for state, _ in best if len(state.path) > 1]
    shared = [state for state in chained if "share" in state.path][:MAX_SHARED]
    chains = shared + [state for state in chained if "share" not in state.path][:MAX_CHAINS]
    kept = [pair for pair in best if len(pair[0].path) == 1 or any(pair[0] is chain for chain in chains)]
    return kept[:MAX_SHOWN]


def _slowness(pair: Found) -> float:
    """What a person gives up by waiting for weights out of RAM: so much for each halving of an easy pace."""
    state, placement = pair
    if "offload" not in state.path:
        return 0.0
    speed = slowest(placement, state.gpus)
    if speed is None:
        return UNKNOWN_LOSS
    return HALVING_LOSS * max(0.0, math.log2(EASY_SPEED / max(0.1, speed.decode_tokens_per_s.value)))


def crawls(option: Option) -> bool:
    """Tell whether an option answers slower than a person reads."""
    speed = option.costs.decode_tokens_per_s
    return speed is not None and speed.value < READABLE_SPEED


def _usable(pair: Found) -> bool:
    state, placement = pair
    speed = slowest(placement, state.gpus) if "offload" in state.path else None
    return speed is None or speed.decode_tokens_per_s.value >= LEAST_SPEED


def _beaten(state: State, found: Sequence[Found]) -> bool:
    """Whether another state gives every instance at least as much; the smallest mixture stays, for its room."""
    if state.path == ("precision",) and state is _smallest(found):
        return False
    return any(_beats(other, state) for other, _ in found if other is not state)


def _beats(one: State, other: State) -> bool:
    if one.gpus != other.gpus or _subject(one) != _subject(other) or (one.swap and not other.swap):
        return False
    mine, theirs = _given(one), _given(other)
    better = all(a >= b for a, b in zip(mine, theirs, strict=True))
    if mine == theirs and one.swap == other.swap:
        return len(one.path) < len(other.path)
    return better


def _subject(state: State) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Which engines run which models: only states alike in this can be compared."""
    return tuple((choice.served, choice.model.name) for choice in state.choices)


def _given(state: State) -> list[float]:
    """What each instance has: the more, the better."""
    figures: list[float] = []
    for choice in state.choices:
        cache = 16 if choice.kv_dtype == "auto" else 8
        figures += [bits_of(choice.checkpoint), cache, choice.context, choice.users, -choice.offload_bytes]
    return figures


def _smallest(found: Sequence[Found]) -> State | None:
    mixed = [state for state, _ in found if state.path == ("precision",)]
    return min(mixed, key=lambda state: sum(bits_of(c.checkpoint) for c in state.choices), default=None)
