"""What can be said of a model that is not named or not covered exactly: weights from size and bits, never more.

These figures are estimates of the weights alone and are labelled so; cache and the engine's own needs come on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.domain import Gpu, ModelSpec

BITS = {16: 16.0, 8: 8.0, 4: 4.25}
"""Nominal bits to stored bits a weight; four-bit formats keep a 16-bit scale and a zero point for each 128 weights,
and some layers in 16 bits, so 4.25 is the least they take (15.7 GiB for 30.5 billion weights is 4.4)."""

CACHE_SHARE = 0.2
"""Share of a card's memory left for cache and the engine when saying how large a model may be."""

_GENERIC = ("model", "llm", "reranker", "embedder")


def is_unnamed(name: str | None) -> bool:
    """Tell whether a reading's name only says that there is a model: "7B model", "model (38 GB)", "LLM"."""
    word = (name or "").strip().lower()
    return not word or word.startswith("model (") or word.split()[-1] in _GENERIC


def by_size(
    asks: Sequence[Mapping[str, Any]], gpus: Sequence[Gpu], kinds: Sequence[Gpu] = (), *, apart: bool = False
) -> dict[str, Any]:
    """Return the weights of models known by their size alone, copies together, and whether the cards hold them.

    Args:
        asks: models as they were named, with ``size_b`` and ``copies``.
        gpus: the cards, or none.
        kinds: cards to compare where none is known: with the most bits in which one of each holds the weights and
            ``CACHE_SHARE`` of its memory stays free.
        apart: the models are named on choice: ``each`` has a result for each, instead of all together.
    """
    if apart:
        each = [by_size([ask], gpus) for ask in asks if ask.get("size_b")]
        return {**by_size(asks[:1], gpus), "each": each}
    room = _room(gpus)
    sized = [(float(ask["size_b"]), max(1, ask.get("copies") or 1)) for ask in asks if ask.get("size_b")]
    total = sum(size * copies for size, copies in sized)
    weights = {bits: round(total * 1e9 * stored / 8) for bits, stored in BITS.items()} if sized else {}
    return {
        "models": [{"size_b": size, "copies": copies} for size, copies in sized],
        "params_total": round(total * 1e9),
        "rows": [
            {"bits": bits, "weights_bytes": size, "fits": None if room is None else size < room}
            for bits, size in weights.items()
        ],
        "files": [],
        "room_bytes": room,
        "kinds": [_holds(kind, weights) for kind in kinds] if weights and not gpus else [],
        "each": [],
    }


def _holds(card: Gpu, weights: Mapping[int, int]) -> dict[str, Any]:
    free = card.cuda_total_bytes * (1 - CACHE_SHARE)
    bits = next((bits for bits, size in weights.items() if size <= free), None)
    return {"card": card.name, "total_bytes": card.cuda_total_bytes, "bits": bits}


def by_files(wanted: Sequence[tuple[ModelSpec, str]], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Return the published size of the weight files of models that are not covered exactly, and the cards' room.

    Args:
        wanted: models with their precision words; whether the files fit is said only where none was stated, as they are
            those of the native format.
        gpus: the cards, or none.
    """
    room = _room(gpus)
    known = {model.name: model.published_bytes for model, _ in wanted}
    native = bool(known) and all(known.values()) and all(word == "any" for _, word in wanted)
    total = sum(known[model.name] or 0 for model, _ in wanted) if native else None
    return {
        "models": [],
        "rows": [],
        "files": [{"model": name, "published_bytes": size} for name, size in known.items()],
        "total_bytes": total,
        "kinds": [],
        "each": [],
        "fits": None if room is None or total is None else total < room,
        "room_bytes": room,
    }


def largest(gpus: Sequence[Gpu]) -> list[dict[str, Any]]:
    """Return how many parameters the cards hold by bits, with ``CACHE_SHARE`` left for the rest."""
    room = _room(gpus)
    if room is None:
        return []
    return [{"bits": bits, "params": room * (1 - CACHE_SHARE) * 8 / stored} for bits, stored in BITS.items()]


def _room(gpus: Sequence[Gpu]) -> int | None:
    return sum(gpu.cuda_total_bytes - gpu.reserved_bytes for gpu in gpus) if gpus else None
