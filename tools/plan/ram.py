"""Moves that use RAM or time: models that take turns, and weights that stay in RAM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tools.domain import ModelSpec, Note, note
from tools.plan.demand import Choice
from tools.plan.engines import engine
from tools.plan.moves import State, short_name
from tools.plan.sizes import file_parts_of, weight_bytes
from tools.units import GIB

OFFLOAD_STEP = GIB // 4
MAX_OFFLOADED = 0.85
"""Share of a model that may be held in RAM; beyond, a card is no help."""

BEYOND = (0, 1, 3)
"""Further layers tried beyond those whose bytes make up what is missing: their cache and rounding count too."""


def swap(state: State) -> Iterator[State]:
    """Keep one awake and let the others sleep in RAM, or stop them where the engine has no sleep."""
    if state.swap or len(state.choices) < 2:
        return
    if not engine(state.engine).sleeps:
        yield replace(state.then("swap", 4.5, note("plan.title_swap_stop"), brief="by turns"), swap=True)
        return
    if any(gpu.vendor == "amd" or gpu.unified for gpu in state.gpus):
        return
    choices = tuple(replace(choice, sleeps=True) for choice in state.choices)
    yield replace(state.then("swap", 4.0, note("plan.title_swap"), brief="sleep mode"), choices=choices, swap=True)


def offload(state: State, missing_bytes: int) -> Iterator[State]:
    """Hold as much of one model's weights in RAM as is missing, of the one that suffers least from it."""
    if "offload" in state.path or state.swap or any(gpu.unified for gpu in state.gpus) or not missing_bytes:
        return
    if not engine(state.engine).offloads:
        return
    for index in sorted(range(len(state.choices)), key=lambda i: _active_share(state.choices[i].model)):
        choice = state.choices[index]
        if engine(choice.engine).family == "layers":
            variants = layers_in_ram(choice, missing_bytes)
        else:
            variants = _bytes_in_ram(choice, missing_bytes)
        for changed, title, brief in variants:
            moved = state.then("offload", 6.0, title, brief=brief)
            yield replace(moved, choices=(*state.choices[:index], changed, *state.choices[index + 1 :]))
    if engine(state.engine).family == "layers" and len(state.choices) > 1:
        yield from _of_all(state, missing_bytes)


def _of_all(state: State, missing_bytes: int) -> Iterator[State]:
    """Hold a part of every model in RAM, where no one of them alone can make up what is missing."""
    weights = [weight_bytes(choice) for choice in state.choices]
    shares = [missing_bytes * weight // max(1, sum(weights)) for weight in weights]
    ladders = [layers_in_ram(choice, share) for choice, share in zip(state.choices, shares, strict=True)]
    for variants in zip(*ladders, strict=False):
        choices = tuple(changed for changed, _, _ in variants)
        size = sum(choice.offload_bytes for choice in choices) / GIB
        title = note("plan.title_offload_all", gib=size)
        yield replace(state.then("offload", 6.5, title, brief=f"RAM {size:.1f} GiB"), choices=choices)


Variant = tuple[Choice, Note, str]


def _bytes_in_ram(choice: Choice, missing_bytes: int) -> Iterator[Variant]:
    for factor in (1.0, 1.1, 1.3):
        size = -(-round(missing_bytes * factor) // OFFLOAD_STEP) * OFFLOAD_STEP
        if size > MAX_OFFLOADED * weight_bytes(choice):
            return
        title = note("plan.title_offload", model=short_name(choice.model), gib=size / GIB)
        yield replace(choice, offload_bytes=size), title, f"cpu-offload {size / GIB:.1f} GiB"


def _active_share(model: ModelSpec) -> float:
    return (model.params_active or model.params_total) / max(1, model.params_total)


def layers_in_ram(choice: Choice, missing_bytes: int) -> Iterator[Variant]:
    """Yield a choice with ever more of it in RAM, from what is missing on.

    Experts come first where there are any and the engine can leave them apart: a token uses a few of them, while
    attention and the cache stay on the card. Else, or where all experts are not enough, whole layers stay in RAM, their
    cache with them.

    Args:
        choice: what runs.
        missing_bytes: that its cards lack.

    Returns:
        The changed choice, its title, and the same in as few signs as do.
    """
    if choice.checkpoint.quantization.method != "gguf":
        return
    parts = file_parts_of(choice)
    if engine(choice.engine).keeps_experts and any(parts.experts):
        yield from _ever_more(choice, parts.experts, missing_bytes, by_experts=True)
    yield from _ever_more(choice, parts.layers, missing_bytes, by_experts=False)


def _ever_more(choice: Choice, sizes: tuple[int, ...], missing_bytes: int, *, by_experts: bool) -> Iterator[Variant]:
    name = short_name(choice.model)
    start = _count(sizes, missing_bytes)
    for count in (start + more for more in BEYOND if start + more <= len(sizes)):
        size = sum(sizes[:count])
        changed = replace(choice, offload_bytes=size, **{"experts_in_ram" if by_experts else "layers_in_ram": count})
        code = "plan.title_experts_in_ram" if by_experts else "plan.title_layers_in_ram"
        title = note(code, model=name, layers=count, all=len(sizes), gib=size / GIB)
        yield changed, title, f"{'n-cpu-moe' if by_experts else 'RAM'} {count}/{len(sizes)}"


def _count(sizes: tuple[int, ...], missing_bytes: int) -> int:
    """Least number of first layers that make up what is missing; one more than all where they do not."""
    done = 0
    for index, size in enumerate(sizes):
        done += size
        if done >= missing_bytes:
            return index + 1
    return len(sizes) + 1
