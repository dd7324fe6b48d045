"""One module a kind of mixer: its matrices on a rank, its vectors, its caches. Here one is chosen by type.

Each module has ``matrices(mixer, hidden, tp)``, ``vectors(mixer, hidden, tp)`` and
``kv_specs(mixer, context)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.domain import Attention, CompressedAttention, LinearAttention, Mamba, Mixer, MlaAttention, ShortConv
from tools.errors import NotYetExact
from tools.vram.kv.specs import CacheContext, KvSpec
from tools.vram.mixers import attention, compressed, linear, mamba, mla, short_conv
from tools.vram.sharding import Vectors
from tools.vram.storage import Matrix

__all__ = ["kv_specs", "matrices", "vectors"]

_MODULES: dict[type, Any] = {
    Attention: attention,
    MlaAttention: mla,
    CompressedAttention: compressed,
    LinearAttention: linear,
    Mamba: mamba,
    ShortConv: short_conv,
}


def matrices(mixer: Mixer, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield a mixer's matrices on one rank.

    Raises:
        BadValue: the sizes do not divide among ``tp`` ranks.
    """
    return _module(mixer).matrices(mixer, hidden, tp)


def vectors(mixer: Mixer, hidden: int, tp: int) -> Vectors:
    """Count what no format quantises on one rank: norms, sinks, decay rates, convolutions."""
    return _module(mixer).vectors(mixer, hidden, tp)


def kv_specs(mixer: Mixer, context: CacheContext) -> tuple[KvSpec, ...]:
    """Caches a mixer asks for on one rank; none where it reads another layer's."""
    return _module(mixer).kv_specs(mixer, context)


def _module(mixer: Mixer) -> Any:
    module = _MODULES.get(type(mixer))
    if module is None:
        raise NotYetExact("errors_vram.not_covered", architecture=type(mixer).__name__, part="mixer")
    return module
