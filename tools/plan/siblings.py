"""The same model in a smaller size, where nothing gentler fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tools.domain import ModelSpec, note
from tools.errors import UnknownModel
from tools.plan.checkpoints import as_asked
from tools.plan.demand import Choice
from tools.plan.moves import State, levels, plain_name, short_name

_SIZE = re.compile(r"[-_]?(?<![a-z0-9.])a?\d+(?:\.\d+)?[bm](?=[-_]|$)", re.IGNORECASE)

SIZES_B = (235, 120, 90, 72, 70, 65, 40, 34, 32, 30, 27, 24, 20, 14, 13, 12, 9, 8, 7, 4, 3, 2, 1.7, 1.5, 1, 0.6, 0.5)
"""Billions of parameters in which families are published."""

CLEARLY_SMALLER = 0.8
TRIED = 4
"""Sizes tried, largest first."""

LEAST_SHARE = 0.1
"""A sibling of less than a tenth is no answer to what was asked."""

TUNED = frozenset({"instruct", "it", "chat"})
"""Words that a smaller sibling may have beside those of the model; "VL" makes it another kind of model."""

LOSS = 10.0
"""More than any mixture of precision, cache and load costs, less than crawling from RAM."""


def smaller_model(state: State) -> Iterator[State]:
    """Replace the largest model by the next sizes of its family, as published or else in fewer bits."""
    if state.path:
        return
    largest = max((choice.model for choice in state.choices), key=lambda model: model.params_total)
    for step, sibling in enumerate(smaller_siblings(largest)):
        native = tuple(
            replace(
                choice,
                served=tuple(name.replace(plain_name(largest), plain_name(sibling), 1) for name in choice.served),
                model=sibling,
                checkpoint=as_asked(sibling, "any", state.gpus, state.engine),
                context=min(choice.context, longest),
            )
            if choice.model.name == largest.name
            else choice
            for choice, longest in ((choice, sibling.max_context) for choice in state.choices)
        )
        native = _told_apart(native)
        name = short_name(sibling)
        title = note("plan.title_smaller_model", model=name, instead=short_name(largest))
        moved = state.then("smaller_model", LOSS + step, title, tag=f"smaller-{_words(name)}", brief=name)
        yield replace(moved, choices=native)
        lowest = tuple(replace(choice, checkpoint=levels(choice, state.gpus)[-1].checkpoint) for choice in native)
        if lowest != native:
            yield replace(moved, choices=lowest, loss=moved.loss + 0.5, tag=f"{moved.tag}-4bit")


def _told_apart(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Number served names that became the same as another model's."""
    taken: set[str] = set()
    found: list[Choice] = []
    for choice in choices:
        names: list[str] = []
        for name in choice.served:
            number, free = 1, name
            while free in taken:
                number += 1
                free = f"{name}-{number}"
            taken.add(free)
            names.append(free)
        found.append(replace(choice, served=tuple(names)))
    return tuple(found)


def smaller_siblings(model: ModelSpec) -> Iterator[ModelSpec]:
    """Yield the same family and version of the same publisher in smaller sizes, largest first."""
    from tools.specs.models import ModelCatalogue

    publisher, _, short = model.name.rpartition("/")
    words = _SIZE.sub("", short)
    if not publisher or words == short:
        return
    catalogue, seen = ModelCatalogue.load(), {model.name}
    for size in SIZES_B:
        share = size * 1e9 / model.params_total
        if not LEAST_SHARE <= share < CLEARLY_SMALLER or len(seen) > TRIED:
            continue
        try:
            found = catalogue.find(words, size_b=size).spec
        except UnknownModel:
            continue
        smaller = found.params_total < model.params_total * CLEARLY_SMALLER
        alike = _kind(found.name) <= _kind(model.name) | TUNED
        if smaller and alike and found.layers and found.name not in seen and found.name.startswith(publisher + "/"):
            seen.add(found.name)
            yield found


def _kind(name: str) -> frozenset[str]:
    """The words of a model's name without its sizes: what it was made for."""
    return frozenset(_SIZE.sub("", name.rsplit("/", 1)[-1]).lower().split("-"))


def _words(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
