"""Which layers stay in RAM: engines that place whole layers leave experts there first, else the first layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tools.domain import Note, note
from tools.plan.demand import Choice
from tools.plan.engines import engine
from tools.units import GIB
from tools.vram import gguf
from tools.vram.engines.llamacpp import file_parts

TRIES = 6
"""Further layers tried beyond those whose bytes make up what is missing: their cache and rounding count too."""


def file_parts_of(choice: Choice) -> gguf.Parts:
    """Bytes of a choice's GGUF file by where they go.

    Raises:
        NotYetExact: neither the type nor the size of the file is known.
    """
    from tools.plan.families.layers import deployment

    return file_parts(deployment(choice, 1, None))


def layers_in_ram(choice: Choice, missing_bytes: int) -> Iterator[tuple[Choice, Note, str]]:
    """Yield a choice with ever more of it in RAM, from what is missing on.

    Experts come first where there are any and the engine can leave them apart: a token uses a few of them, while
    attention and the cache stay on the card. Else whole layers stay in RAM, their cache with them.

    Args:
        choice: what runs.
        missing_bytes: that its cards lack.

    Returns:
        The changed choice, its title, and the same in as few signs as do.
    """
    if choice.checkpoint.quantization.method != "gguf":
        return
    parts = file_parts_of(choice)
    by_experts = engine(choice.engine).keeps_experts and any(parts.experts)
    sizes = parts.experts if by_experts else parts.layers
    name = choice.model.name.rsplit("/", 1)[-1]
    start = _count(sizes, missing_bytes)
    for count in range(start, min(start + TRIES, len(sizes)) + 1):
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
