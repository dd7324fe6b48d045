"""From a config to a model's structure, by family.

A family that differs from others only in facts is a row of ``tools.vram.dialects``. One with structure of its own has a
builder ``(config) -> Structure`` in a module here, listed in that module's ``BUILDERS`` by ``model_type``.
"""

from __future__ import annotations

from collections.abc import Callable

from tools.vram.families import (
    deepseek_v4,
    gemma,
    hybrid_bailing,
    hybrid_conv,
    hybrid_gdn,
    hybrid_glm,
    hybrid_kimi,
    hybrid_mamba1,
    hybrid_mamba2,
    hybrid_zamba,
    mla,
    regular,
    uneven,
    windowed,
)
from tools.vram.families.structure import Structure
from tools.vram.fields import Config

__all__ = ["Structure", "structure_of"]

_BUILDERS: dict[str, Callable[[Config], Structure]] = {
    **gemma.BUILDERS,
    **deepseek_v4.BUILDERS,
    **hybrid_bailing.BUILDERS,
    **hybrid_conv.BUILDERS,
    **hybrid_gdn.BUILDERS,
    **hybrid_glm.BUILDERS,
    **hybrid_kimi.BUILDERS,
    **hybrid_mamba1.BUILDERS,
    **hybrid_mamba2.BUILDERS,
    **hybrid_zamba.BUILDERS,
    **mla.BUILDERS,
    **uneven.BUILDERS,
    **windowed.BUILDERS,
}


def structure_of(config: Config) -> Structure:
    """Describe the model that a config (of the text model) declares.

    Raises:
        NotYetExact: the architecture has structure the calculator does not cover yet.
        BadValue: a field is missing or absurd.
    """
    return _BUILDERS.get(str(config.get("model_type")), regular.build)(config)
