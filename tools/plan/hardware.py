"""Which hardware would do: more of the same card, or the smallest class of single card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from tools.domain import Gpu, Placement, note
from tools.errors import UnknownGpu
from tools.plan.moves import State

LADDER = (
    "RTX 4060 Ti 16GB",
    "RTX 3090",
    "RTX 5090",
    "RTX A6000",
    "A100 80GB",
    "RTX PRO 6000",
    "H200",
    "B200",
)
"""One well-known card for each class of memory that is sold, smallest first; their facts come from the catalogue."""

MAX_CARDS = 8
"""Cards in one machine."""

Check = Callable[[State], Placement | None]


def larger_rigs(state: State, fits: Check) -> Iterator[tuple[State, Placement]]:
    """Find the least number of equal cards, and the smallest single card, on which a state fits as it is.

    Args:
        state: what is to run, on the cards there are.
        fits: returns a placement where a state fits.
    """
    yield from more_of_the_same(state, fits)
    yield from _first(_one_card(state), fits)
    if not state.gpus:
        yield from _first(_several(state), fits)


def more_of_the_same(state: State, fits: Check) -> Iterator[tuple[State, Placement]]:
    """Find the least number of cards like the largest there is, on which a state fits.

    Args:
        state: what is to run, on the cards there are.
        fits: returns a placement where a state fits.
    """
    if not state.gpus:
        return
    kind = max(state.gpus, key=lambda gpu: gpu.cuda_total_bytes)
    if kind.unified or any(word in kind.name.lower() for word in ("mobile", "laptop")):
        return  # built in; no second one can be added
    added = replace(kind, reserved_bytes=0)
    have = sum(1 for gpu in state.gpus if gpu.node == kind.node)
    wider: list[State] = []
    for extra in range(1, MAX_CARDS - have + 1):
        count = sum(1 for gpu in state.gpus if gpu.name == kind.name) + extra
        moved = state.then(
            "more_hardware",
            5.0 + extra / 2,
            note("plan.title_more_cards", count=count, gpu=kind.name),
            tag=f"{count}-cards",
            brief=f"{count}x {kind.name}",
            needs=(note("plan.needs_cards", extra=extra, gpu=kind.name),),
        )
        wider.append(replace(moved, gpus=state.gpus + (added,) * extra))
    yield from _first(iter(wider), fits)


def _one_card(state: State) -> Iterator[State]:
    largest = max((gpu.cuda_total_bytes for gpu in state.gpus), default=0)
    for gpu in _ladder():
        if gpu.cuda_total_bytes > largest * 1.05:
            yield _on(state, gpu, 1)


def _several(state: State) -> Iterator[State]:
    cards = _ladder()
    for count in (2, 4, 8):
        for gpu in cards[1:] if count < MAX_CARDS else cards[-3:]:
            yield _on(state, gpu, count)


def _on(state: State, gpu: Gpu, count: int) -> State:
    title = note("plan.title_one_card", gpu=gpu.name)
    if count > 1:
        title = note("plan.title_more_cards", count=count, gpu=gpu.name)
    tag = f"{count}x-{_words(gpu.name)}"
    needs = (note("plan.needs_other_cards", count=count, gpu=gpu.name),)
    moved = state.then("more_hardware", 6.0 + count / 2, title, tag=tag, needs=needs)
    return replace(moved, gpus=(gpu,) * count)


def _first(states: Iterator[State], fits: Check) -> Iterator[tuple[State, Placement]]:
    for state in states:
        placement = fits(state)
        if placement:
            yield state, placement
            return


@cache
def _ladder() -> tuple[Gpu, ...]:
    """The cards of ``LADDER`` that the catalogue has; its facts do not change while the program runs."""
    from tools.specs.gpus import GpuCatalogue

    catalogue, found = GpuCatalogue.load(), list[Gpu]()
    for name in LADDER:
        try:
            found.append(catalogue.find(name).gpu)
        except UnknownGpu:
            continue
    return tuple(found)


def _words(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
