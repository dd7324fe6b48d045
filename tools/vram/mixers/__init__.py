"""One module a kind of mixer: its matrices on a rank, its vectors, its caches. Here one is chosen by type.

Each module has ``matrices(mixer, hidden, tp)``, ``vectors(mixer, hidden, tp)`` and
``kv_specs(mixer, context)``.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.domain import Attention, Mixer, MlaAttention
from tools.errors import NotYetExact
from tools.vram.kv.specs import CacheContext, KvSpec
from tools.vram.mixers import attention, mla
from tools.vram.sharding import Vectors
from tools.vram.storage import Matrix

__all__ = ["kv_specs", "matrices", "vectors"]


def matrices(mixer: Mixer, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield a mixer's matrices on one rank.

    Raises:
        BadValue: the sizes do not divide among ``tp`` ranks.
    """
    if isinstance(mixer, Attention):
        return attention.matrices(mixer, hidden, tp)
    if isinstance(mixer, MlaAttention):
        return mla.matrices(mixer, hidden, tp)
    raise _not_covered(mixer)


def vectors(mixer: Mixer, hidden: int, tp: int) -> Vectors:
    """Count what no format quantises on one rank: norms, sinks, decay rates, convolutions."""
    if isinstance(mixer, Attention):
        return attention.vectors(mixer, hidden, tp)
    if isinstance(mixer, MlaAttention):
        return mla.vectors(mixer, hidden, tp)
    raise _not_covered(mixer)


def kv_specs(mixer: Mixer, context: CacheContext) -> tuple[KvSpec, ...]:
    """Caches a mixer asks for on one rank; none where it reads another layer's."""
    if isinstance(mixer, Attention):
        return attention.kv_specs(mixer, context)
    if isinstance(mixer, MlaAttention):
        return mla.kv_specs(mixer, context)
    raise _not_covered(mixer)


def _not_covered(mixer: Mixer) -> NotYetExact:
    return NotYetExact("errors_vram.not_covered", architecture=type(mixer).__name__, part="mixer")
