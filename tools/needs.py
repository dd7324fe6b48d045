"""How many cards of a kind models take: the least number on which the planner itself places them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.domain import Checkpoint, Gpu, ModelSpec, Placement
from tools.errors import BadValue, NotYetExact
from tools.plan.demand import Choice, Sizer
from tools.plan.evaluate import evaluate, search_steps
from tools.plan.hardware import MAX_CARDS
from tools.plan.kernels import runs_on
from tools.plan.moves import State, mixture_name
from tools.specs.checkpoints import checkpoints_for
from tools.specs.gpus import GpuCatalogue

COMMON_CARDS = ("RTX 4090", "RTX 5090", "L40S", "A100 80GB", "RTX PRO 6000 Blackwell", "H200")
"""One card of each memory class people buy: 24, 32, 48, 80, 96 and 141 GB."""


@dataclass(frozen=True, slots=True)
class Need:
    """How many of one card a set of models takes in one format.

    Attributes:
        count: cards in one machine; None = more than a machine has, or no kernel runs there.
        tp: cards every layer is cut over, where there is one model.
        pp: stages of a pipeline, where there is one model.
    """

    card: str
    total_bytes: int
    precision: str
    count: int | None
    tp: int = 1
    pp: int = 1


def cards_needed(
    wanted: Sequence[tuple[ModelSpec, str]],
    catalogue: GpuCatalogue,
    *,
    context: int,
    users: int,
    cards: Sequence[Gpu] = (),
) -> tuple[Need, ...]:
    """Return how many cards of each kind hold the models together, by format.

    Args:
        wanted: each model with its precision word; ``any`` is answered natively and in 4 bits.
        catalogue: where the common cards come from.
        context: tokens a sequence.
        users: sequences at once, for each model.
        cards: kinds asked about; default ``COMMON_CARDS``.
    """
    kinds = tuple(cards) or tuple(catalogue.find(name).gpu for name in COMMON_CARDS)
    words = [[word] if word != "any" else ["any", "int4"] for _, word in wanted]
    found: list[Need] = []
    sizer = Sizer()
    for column in range(max((len(w) for w in words), default=0)):
        chosen = [(model, w[min(column, len(w) - 1)]) for (model, _), w in zip(wanted, words, strict=True)]
        column_needs = [need for kind in kinds if (need := _need(chosen, kind, context, users, sizer))]
        if not any(need.precision == column_needs[0].precision for need in found if column_needs):
            found += column_needs
    return tuple(found)


def _need(wanted: Sequence[tuple[ModelSpec, str]], card: Gpu, context: int, users: int, sizer: Sizer) -> Need | None:
    """Return the need of one kind of card; None where a model has no checkpoint in its format."""
    checkpoints = [_checkpoint(model, word, card) for model, word in wanted]
    if not all(checkpoints):
        return None
    choices = tuple(
        Choice((str(index),), model, checkpoint, context=min(context, model.max_context), users=users)
        for index, ((model, _), checkpoint) in enumerate(zip(wanted, checkpoints, strict=True))
        if checkpoint
    )
    label = mixture_name([choice.checkpoint for choice in choices])
    placement = _least(choices, card, sizer)
    if placement is None:
        return Need(card.name, card.cuda_total_bytes, label, None)
    first = placement.instances[0].deployment
    alone = len(placement.instances) == 1
    return Need(
        card.name,
        card.cuda_total_bytes,
        label,
        len(placement.gpus),
        first.tp if alone else 1,
        first.pp if alone else 1,
    )


def _checkpoint(model: ModelSpec, word: str, card: Gpu) -> Checkpoint | None:
    """Return the first checkpoint of a format, one that runs on the card if any does."""
    found = [c for c in checkpoints_for(model, word) if not c.hypothetical]
    return next((c for c in found if runs_on(c, card).runs), found[0] if found else None)


def _least(choices: tuple[Choice, ...], card: Gpu, sizer: Sizer) -> Placement | None:
    """Return the placement on the fewest cards of one machine."""
    for count in range(1, MAX_CARDS + 1):
        state = State(choices=choices, gpus=(card,) * count)
        try:
            placement = evaluate(state, sizer, steps=search_steps(state))
        except (NotYetExact, BadValue):
            return None
        if placement:
            return placement
    return None
