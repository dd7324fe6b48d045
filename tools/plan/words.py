"""The words of ``rigfit plan``: models with their precisions and copies, cards with their counts, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tools.domain import Gpu, Rig, note
from tools.errors import BadValue
from tools.plan import limits
from tools.specs.gpus import GpuCatalogue, split_count
from tools.specs.models import ModelCatalogue

if TYPE_CHECKING:
    from tools.plan.resolve import Gathered, Load


def models_from_words(
    made: Gathered,
    words: Sequence[str],
    config: str | None,
    load: Load,
    models: ModelCatalogue | None,
    engine: str = "vllm",
) -> None:
    """Add every model named, and the one of a folder.

    Raises:
        RequestError: no model, an unknown one, or an unknown precision.
    """
    from tools.specs.checkpoints import parse_model_ref

    if not words and config is None:
        raise BadValue("errors_plan.no_model")
    if len(words) > limits.MAX_INSTANCES:
        raise BadValue("errors_plan.bad_instances", value=len(words), least=1, most=limits.MAX_INSTANCES)
    if config is not None:
        from tools.vram.request import spec_from_folder

        made.add_model(spec_from_folder(config), config, precision=None, copies=1, load=load, engine=engine)
    catalogue = models or ModelCatalogue.load()
    for word in words:
        reference = parse_model_ref(word)
        match = catalogue.find(reference.name)
        made.notes += match.notes
        if match.near_misses:
            made.near[reference.name] = match.near_misses
        precision = None if reference.precision == "any" else reference.precision
        made.add_model(match.spec, word, precision=precision, copies=reference.copies, load=load, engine=engine)


def rig_from_words(
    made: Gathered,
    gpu: Sequence[str],
    vram: str | None,
    *,
    nodes: int | None,
    ram: str | None,
    reserved: str | None,
    gpus: GpuCatalogue | None,
    known: Rig | None = None,
) -> Rig:
    """Build the rig that is named, or the one that is known where no card is.

    Raises:
        RequestError: no card, an unknown one, or a number out of bounds.
    """
    catalogue = gpus or GpuCatalogue.load()
    cards: list[Gpu] = []
    for word in gpu:
        said, name = split_count(word)
        count = limits.within("gpus", 1 if said is None else said, 1, limits.MAX_GPUS)
        match = catalogue.find(name)
        made.notes += match.notes
        cards += [match.gpu] * (count * match.devices)
    if vram is not None:
        cards.append(_unnamed(made, vram, catalogue))
    memory = None if ram is None else limits.memory_of(ram)
    if not cards and known is not None:
        made.notes += known.notes
        cards = list(known.gpus)
        memory = known.ram_bytes if memory is None else memory
    if not cards:
        raise BadValue("errors_plan.no_gpu")
    machines = limits.within("nodes", 1 if nodes is None else nodes, 1, limits.MAX_NODES)
    limits.within("gpus", len(cards) * machines, 1, limits.MAX_GPUS)
    if machines > 1:
        made.notes.append(note("plan.assume_nodes", nodes=machines, each=len(cards)))
    if reserved is not None:
        cards = _reserve(cards, reserved)
    spread = tuple(replace(card, node=node) for node in range(machines) for card in cards)
    return Rig(spread, machines, memory)


def _unnamed(made: Gathered, vram: str, catalogue: GpuCatalogue) -> Gpu:
    match = catalogue.by_memory(vram)
    made.notes += match.notes
    return match.gpu


def _reserve(cards: Sequence[Gpu], text: str) -> list[Gpu]:
    size = limits.memory_of(text)
    limits.check_reserved(cards, size)
    return [replace(card, reserved_bytes=size) for card in cards]
