"""Things named on choice, or as setups of their own: each is planned, laid side by side, and the better taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tools.domain import Option, Placement, Plan, Rig
from tools.errors import NotYetExact, RigfitError
from tools.picking.eligible import dense_equal
from tools.plan.costs import slowest
from tools.plan.engines import display_name
from tools.plan.moves import mixture_name
from tools.plan.ranking import READABLE_SPEED
from tools.rough import is_unnamed
from tools.specs.names import said_name

MOST = 6
"""Setups that are planned for one question."""

APART = frozenset({"alternatives", "separate"})
Planner = Callable[[Mapping[str, Any]], Plan | None]


def setups(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a request for each setup that was named; one or none where there is nothing to compare.

    Models and cards named on choice are combined; as many separate models as separate cards go in pairs. Who compares
    models, or cards for one model, means them on choice, however they are joined; so with engines for one set-up.
    """
    reading: Mapping[str, Any] = request["reading"]
    models, gpus = _named(reading), list(reading.get("gpus", []))
    if not models or any(is_unnamed(model.get("name")) for model in models):
        return []
    comparing = reading.get("intent") == "compare"
    by_card = len(gpus) > 1 and (reading.get("gpus_relation") in APART or (comparing and len(models) == 1))
    joined = {None} if by_card or reading.get("same_model") else {None, "together"}
    by_model = len(models) > 1 and reading.get("models_relation") in (APART | joined if comparing else APART)
    engines = list(reading.get("engines") or ())
    if comparing and len(engines) > 1 and has_cards(request) and not (by_model or by_card):
        return [{**request, "reading": {**reading, "engine": word, "engines": []}} for word in engines[:MOST]]
    if not (by_model or by_card):
        return []
    model_sets = [[model] for model in models] if by_model else [models]
    card_sets = [[card] for card in gpus] if by_card else [gpus]
    if is_separate(request) and len(model_sets) == len(card_sets):
        pairs = list(zip(model_sets, card_sets, strict=True))
    else:
        pairs = [(some, cards) for some in model_sets for cards in card_sets]
    alone = {**reading, "models_relation": None, "gpus_relation": None}
    return [{**request, "reading": {**alone, "models": some, "gpus": cards}} for some, cards in pairs[:MOST]]


def is_separate(request: Mapping[str, Any]) -> bool:
    """Tell whether the setups are all wanted and none is chosen over another."""
    reading: Mapping[str, Any] = request["reading"]
    return "separate" in (reading.get("models_relation"), reading.get("gpus_relation"))


def has_cards(request: Mapping[str, Any]) -> bool:
    """Tell whether cards are known: named, or of the rig."""
    rig: Mapping[str, Any] = request.get("rig") or {}
    return bool(request["reading"].get("gpus") or rig.get("gpus"))


def on_choice(request: Mapping[str, Any]) -> bool:
    """Tell whether models were named of which only one is to run."""
    return request["reading"].get("models_relation") == "alternatives"


def _named(reading: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give sizes that were said without a name the one name there is: "8B or 14B qwen3"."""
    models = list(reading.get("models", []))
    names = {model["name"] for model in models if not is_unnamed(model.get("name"))}
    if reading.get("models_relation") != "alternatives" or len(names) != 1:
        return models
    [name] = names
    return [{**m, "name": name} if is_unnamed(m.get("name")) and m.get("size_b") else m for m in models]


def compared(requests: Sequence[Mapping[str, Any]], plan: Planner) -> list[dict[str, Any]]:
    """Plan each setup.

    Returns:
        A row a setup: ``{models, cards, state, change, precision, context_tokens, decode_tokens_per_s, problem}``;
        ``state`` is ``fits``, ``changed`` (an option does on the same cards), ``slow`` (weights in RAM), ``no`` or
        ``unknown``.
    """
    return [_row(request, plan) for request in requests]


def _row(request: Mapping[str, Any], plan: Planner) -> dict[str, Any]:
    reading: Mapping[str, Any] = request["reading"]
    row: dict[str, Any] = {
        "models": [said_name(str(m["name"]), m.get("size_b"), m.get("variant")) for m in reading["models"]],
        "cards": [{"name": g.get("name"), "memory_gb": g.get("memory_gb"), "count": g.get("count") or 1}
                  for g in reading.get("gpus", [])],
        "state": "unknown", "change": None, "precision": None, "context_tokens": None, "decode_tokens_per_s": None,
        "deficit_bytes": 0, "params_total": 0, "dense": 0.0, "bits": 0.0, "problem": None,
        "engine": display_name(reading["engine"]) if reading.get("engine") else None,
    }  # fmt: skip
    try:
        made = plan(request)
    except NotYetExact as error:
        return {**row, "problem": {"code": error.code, "params": dict(error.params)}}
    except RigfitError as error:
        return {**row, "problem": {"code": error.code, "params": {k: str(v) for k, v in error.params.items()}}}
    return row if made is None else {**row, **_outcome(made)}


def _outcome(plan: Plan) -> dict[str, Any]:
    here = _recommended_here(plan)
    shown = shown_placement(plan)
    instances = shown.instances
    pace = pace_json(shown, plan.request.rig)
    speed = pace["decode_tokens_per_s"] if pace else None
    works = shown.verdict == "fits"
    return {
        "state": _state(plan, here, speed["value"] if speed else None),
        "change": note_of(here),
        "precision": mixture_name([i.deployment.checkpoint for i in instances]),
        "context_tokens": min((i.deployment.max_model_len or 0 for i in instances), default=0) if works else None,
        "decode_tokens_per_s": speed if works else None,
        "deficit_bytes": plan.as_asked.deficit_bytes,
        "params_total": sum(i.deployment.model.params_total for i in instances),
        "dense": sum(dense_equal(i.deployment.model) for i in instances),
        "bits": min((i.deployment.checkpoint.quantization.bits for i in instances), default=0.0),
    }  # fmt: skip


def _recommended_here(plan: Plan) -> Option | None:
    """Return the recommended option where it needs no other cards."""
    option = next((o for o in plan.options if o.id == plan.recommended), None)
    return option if option and option.kind != "more_hardware" else None


def shown_placement(plan: Plan) -> Placement:
    """Return the placement to answer for: the recommended one on the cards there are, else as asked."""
    option = _recommended_here(plan)
    return option.placement if option else plan.as_asked


def pace_json(placement: Placement, rig: Rig) -> dict[str, Any] | None:
    """Return the speed of the slowest instance as plain data; None where it is not known.

    Returns:
        ``{decode_tokens_per_s, throughput_tokens_per_s, prefill_tokens_per_s, first_token_s}``, each
        ``{low, value, high}`` or None.
    """
    speed = slowest(placement, rig.gpus)
    return None if speed is None else asdict(speed)


def note_of(option: Option | None) -> dict[str, Any] | None:
    """Return an option's title as plain data."""
    return {"code": option.title.code, "params": dict(option.title.params)} if option else None


def _state(plan: Plan, option: Option | None, speed: float | None) -> str:
    if plan.as_asked.verdict == "fits":
        return "fits"
    if option is None or option.kind == "smaller_model":
        return "no"
    in_ram = bool(option.costs.ram_bytes) and option.costs.wake_s is None
    return "slow" if in_ram or (speed is not None and speed < READABLE_SPEED) else "changed"


def choose(rows: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the setup to take and why, as a message's code.

    Whole models on the cards come first, then the larger model (a mixture of experts counts as the dense model that it
    equals by a rule of thumb), then more bits, then speed.
    """
    order = {"fits": 0, "changed": 0, "slow": 1, "no": 2, "unknown": 3}
    best = min(range(len(rows)), key=lambda i: _rank(rows[i], order))
    others = [row for i, row in enumerate(rows) if i != best]
    if order[rows[best]["state"]] > 1:
        return best, "agent.prefer_none"
    if rows[best]["state"] == "slow":
        return best, "agent.prefer_slow"
    works = [row for row in others if order[row["state"]] <= order[rows[best]["state"]]]
    if not works:
        return best, "agent.prefer_only"
    for key, code in (("dense", "larger"), ("bits", "bits")):
        if all(rows[best][key] > row[key] for row in works):
            low = code == "larger" and rows[best]["bits"] < LOW_BITS
            return best, f"agent.prefer_{code}" + ("_low" if low else "")
    return best, "agent.prefer_speed" if rows[best]["decode_tokens_per_s"] else "agent.prefer_first"


LOW_BITS = 6
"""Below this, a larger model is taken in few bits, which is said."""


def _rank(row: Mapping[str, Any], order: Mapping[str, int]) -> tuple[float, ...]:
    speed: Mapping[str, float] | None = row["decode_tokens_per_s"]
    value = speed["value"] if speed else 0.0
    if row["state"] == "slow":
        return order["slow"], -value
    return order[row["state"]], -row["dense"], -row["bits"], row["state"] != "fits", -value
