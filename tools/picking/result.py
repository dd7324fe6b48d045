"""What a question without a model comes to, as plain data: models to take, or cards side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from tools import rough
from tools.domain import Gpu, note
from tools.picking.eligible import DAYS, FOUR_BIT_WORTH, HALVED_DAYS
from tools.picking.picks import FIRST, Pick, Use, engine_for, pace_of, picks
from tools.plan.engines import display_name
from tools.plan.limits import gigabytes
from tools.workbench import Workbench, notes_json

CONTEXT: dict[Use, int] = {
    "chat": 8192, "code": 16_384, "long_context": 32_768, "speed": 8192, "quality": 8192,
}  # fmt: skip
"""Tokens of context that each request must have where nothing was said; programs and long texts take more."""
USERS = 1
RAM_BYTES_PER_S = 3200e6 * 8 * 2
"""Bandwidth that RAM is taken to have: DDR4-3200 in two channels of 8 bytes (JEDEC JESD79-4), 51.2 GB/s."""
SYSTEM_SHARE = 1 / 8
"""Share of RAM that is left to the system where a model runs on the processor: assumed."""
IN_RAM = "llama.cpp"
"""The engine for a machine without a card."""
MOST_CARDS = 6
"""Kinds of cards compared."""


def picked(bench: Workbench, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return models to take on the request's cards, or in its RAM, for what it is wanted for.

    Returns:
        ``{picks, largest}``; where no card is known ``picks`` is None and ``asks`` has the model.

    Raises:
        RequestError: a card that is not known was named, or a number is out of bounds.
    """
    said = request["reading"]
    cards = bench.cards(request)
    largest = rough.largest(cards)
    gpus = cards or _ram(said)
    if not gpus:
        return {"picks": None, "largest": largest, "asks": notes_json([note("agent.ask_model")])}
    use = cast("Use", said.get("use") if said.get("use") in FIRST else "chat")
    context, users = said.get("context") or CONTEXT[use], said.get("users") or USERS
    engine = engine_for(gpus, said.get("engine") or (None if cards else IN_RAM))
    found = picks(gpus, context=context, users=users, use=use, engine=engine)
    return {
        "picks": {
            "use": use,
            "context": context,
            "users": users,
            "stated": {"context": bool(said.get("context")), "users": bool(said.get("users"))},
            "engine": display_name(engine),
            "engine_word": engine,
            "in_ram": not cards,
            "bandwidth_bytes_per_s": None if cards else RAM_BYTES_PER_S,
            "cards": counted(gpus),
            "rows": [asdict(pick) for pick in found],
            "models": [
                {"name": p.model, "params_total": p.params_total, "params_active": p.params_active} for p in found
            ],
            "rule": {"months": round(DAYS / 30.4), "halved_months": round(HALVED_DAYS / 30.4), "four": FOUR_BIT_WORTH},
        },
        "largest": largest,
    }


def cards_compared(bench: Workbench, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each of the cards that are compared without a model: what they have, and what they run.

    The speed of every row is of the first row's model, so that rows can be compared.

    Raises:
        RequestError: a card that is not known was named, or a number is out of bounds.
    """
    said = request["reading"]
    sets = [bench.cards({**request, "reading": {**said, "gpus": [ask]}}) for ask in said["gpus"][:MOST_CARDS]]
    context, users = said.get("context") or CONTEXT["chat"], said.get("users") or USERS
    best = [picks(gpus, engine=said.get("engine"), context=context, users=users) for gpus in sets]
    common = _common(best, sets)
    return [
        _card_row(gpus, own[0] if own else None, common, context, users) for gpus, own in zip(sets, best, strict=True)
    ]


def is_about_cards(request: Mapping[str, Any]) -> bool:
    """Tell whether cards are set against each other and no model is named."""
    said = request["reading"]
    if said.get("models") or len(said.get("gpus") or ()) < 2:
        return False
    return said.get("intent") == "compare" or said.get("gpus_relation") == "alternatives"


def counted(gpus: Sequence[Gpu]) -> list[dict[str, Any]]:
    """Return kinds of cards with how many there are of each."""
    kinds: dict[str, dict[str, Any]] = {}
    for gpu in gpus:
        row = kinds.setdefault(gpu.name, {"name": gpu.name, "total_bytes": gpu.cuda_total_bytes, "count": 0})
        row["count"] += 1
    return list(kinds.values())


def _common(best: Sequence[Sequence[Pick]], sets: Sequence[Sequence[Gpu]]) -> Pick | None:
    """Return the strongest model of the smallest set of cards: the others hold it too."""
    able = [(sum(gpu.cuda_total_bytes for gpu in gpus), own[0]) for own, gpus in zip(best, sets, strict=True) if own]
    return min(able, key=lambda pair: pair[0])[1] if able else None


def _card_row(gpus: Sequence[Gpu], best: Pick | None, common: Pick | None, context: int, users: int) -> dict[str, Any]:
    first = gpus[0]
    pace = pace_of(common, gpus, context=context, users=users) if common else None
    return {
        "card": first.name,
        "count": len(gpus),
        "total_bytes": sum(gpu.cuda_total_bytes for gpu in gpus),
        "bandwidth_bytes_per_s": first.bandwidth_bytes_per_s,
        "fp16_flops": first.fp16_flops,
        "compute_capability": first.compute_capability,
        "fp8": first.fp8,
        "fp4": first.fp4,
        "nvlink": first.nvlink,
        "memory_verified": first.memory_verified,
        "source": first.source,
        "largest": rough.largest(gpus),
        "best": asdict(best) if best else None,
        "same": {"model": common.model, "precision": common.precision, "decode_tokens_per_s": pace and asdict(pace)}
        if common
        else None,
    }


def _ram(said: Mapping[str, Any]) -> tuple[Gpu, ...]:
    """Return the RAM that was named as one "card", the system's share taken off; nothing where none was."""
    total = gigabytes(said.get("ram_gb"), "ram")
    if not total:
        return ()
    taken = round(total * SYSTEM_SHARE)
    return (Gpu("RAM", "", total, total, reserved_bytes=taken, bandwidth_bytes_per_s=RAM_BYTES_PER_S, source="said"),)
