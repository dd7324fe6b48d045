"""Bytes of a choice's weights, unsplit, by its engine's own figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.plan.demand import Choice
from tools.plan.engines import engine
from tools.vram.estimate import estimate
from tools.vram.weights import parameter_bytes

if TYPE_CHECKING:
    from tools.vram import gguf


def weight_bytes(choice: Choice) -> int:
    """Return the bytes of a choice's weights, unsplit, by its engine's own figures.

    Raises:
        NotYetExact: the engine's figures do not cover the format.
    """
    if choice.checkpoint.quantization.method == "gguf":
        return file_parts_of(choice).total
    if engine(choice.engine).family == "layers":
        from tools.plan.families.layers import deployment

        return estimate(deployment(choice, 1, None), None).weights_bytes
    return parameter_bytes(choice.model, choice.checkpoint)


def file_parts_of(choice: Choice) -> gguf.Parts:
    """Bytes of a choice's GGUF file by where they go.

    Raises:
        NotYetExact: neither the type nor the size of the file is known.
    """
    from tools.plan.families.layers import deployment
    from tools.vram.engines.llamacpp import file_parts

    return file_parts(deployment(choice, 1, None))
