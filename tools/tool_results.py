"""What each tool call comes to, as plain data: for the page and the written answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tools import alternatives, rough
from tools.capacity import ladder
from tools.domain import Gpu, ModelSpec, Plan, Rig, note
from tools.errors import NotYetExact
from tools.needs import COMMON_CARDS, cards_needed
from tools.picking.result import cards_compared, is_about_cards, picked
from tools.plan.precisions import settle_precision
from tools.plan.report import plan_json
from tools.plan.resolve import Resolution
from tools.side_by_side import side_by_side
from tools.specs.checkpoints import checkpoints_for
from tools.specs.formats import IN_FLIGHT
from tools.specs.gpus import GpuMatch
from tools.specs.models import ModelMatch
from tools.workbench import Workbench, notes_json

DEFAULT_CONTEXT, DEFAULT_USERS = 8192, 4
"""What the command line documents as its defaults where nothing is said."""
MAX_COPIES_TRIED = 16


def specs(bench: Workbench, models: Sequence[Mapping[str, Any]], gpus: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Look models and cards up.

    Raises:
        UnknownModel: the first model that is not known.
        UnknownGpu: the first card that is not known.
    """
    found = [bench.model(ask) for ask in models if ask.get("name")]
    cards = [bench.gpu(ask) for ask in gpus if ask.get("name") or ask.get("memory_gb")]
    hub = [bench.hub(match.spec) for match in found[:4]]
    return {
        "kind": "specs",
        "catalogue_date": bench.models.date,
        "models": [
            _model(match, answer, bench.settings.hub_endpoint) for match, answer in zip(found, hub, strict=False)
        ],
        "gpus": [_gpu(match) for match in cards],
        "network": bench.settings.network,
    }


def _model(match: ModelMatch, hub: Mapping[str, Any], endpoint: str) -> dict[str, Any]:
    spec = match.spec
    return {
        "query": match.query,
        "name": spec.name,
        "url": f"{endpoint.rstrip('/')}/{spec.name}",
        "how": match.how,
        "near_misses": list(match.near_misses),
        "params_total": spec.params_total,
        "params_active": spec.params_active,
        "max_context": spec.max_context,
        "license": spec.license,
        "release_date": spec.release_date,
        "source": spec.source,
        "notes": notes_json(match.notes),
        "status": notes_json(spec.status),
        "checkpoints": [{"repo": c.repo, "precision": c.precision} for c in spec.checkpoints[:8]],
        "hub": dict(hub),
    }


def _gpu(match: GpuMatch) -> dict[str, Any]:
    card = match.gpu
    return {
        "query": match.query,
        "name": card.name,
        "memory_bytes": card.memory_bytes,
        "cuda_total_bytes": card.cuda_total_bytes,
        "total_provenance": card.total_provenance,
        "compute_capability": card.compute_capability,
        "bandwidth_bytes_per_s": card.bandwidth_bytes_per_s,
        "memory_verified": card.memory_verified,
        "source": card.source,
        "near_misses": list(match.near_misses),
        "notes": notes_json(match.notes),
    }


def calculation(bench: Workbench, request: dict[str, Any], language: str) -> dict[str, Any]:
    """Plan a request where it can be planned, and add the tables its question asks for.

    Returns:
        ``{kind, request, plan, asks, assumptions, sizes, needs, ladder, max_copies, rough, not_exact, largest, picks,
        cards, side}``; what was not asked for or can't be answered is None or empty.

    Raises:
        RequestError: something unknown or impossible was named.
    """
    if is_about_cards(request):
        return {**_empty(bench, request), "cards": cards_compared(bench, request)}
    request = _alone(request)
    apart = alternatives.setups(request)
    if len(apart) > 1 and not alternatives.has_cards(request):
        return {**_empty(bench, request), **side_by_side(bench, apart)}
    if len(apart) > 1:
        return _side_by_side(bench, request, apart, language)
    asked = request["reading"].get("models", [])
    result = _empty(bench, request)
    if not asked:
        return {**result, **picked(bench, request)}
    if any(rough.is_unnamed(ask.get("name")) for ask in asked):
        result["asks"] = notes_json([note("agent.ask_model")])
        kinds = [bench.gpus.find(name).gpu for name in COMMON_CARDS]
        return {
            **result,
            "rough": rough.by_size(asked, bench.cards(request), kinds, apart=alternatives.on_choice(request)),
        }
    resolution = bench.resolution(request)
    result["asks"], result["assumptions"] = notes_json(resolution.asks), notes_json(resolution.assumptions)
    wanted = _wanted(bench, resolution, request)
    try:
        result["context"], result["users"] = _load(resolution, request)
        _fill_needs(bench, result, resolution, wanted)
        if _beyond_a_machine(result):
            result["assumptions"] = [n for n in result["assumptions"] if n["code"] != "plan.assume_one_card"]
        plan = None if _beyond_a_machine(result) else bench.plan(result["request"])
        _fill(bench, result, resolution, plan, wanted)
    except NotYetExact as error:
        result["not_exact"] = notes_json([note(error.code, **error.params)])[0]
        result["rough"] = rough.by_files(wanted, bench.cards(request))
        return result
    if plan:
        result["plan"] = plan_json(plan, language)
        result["assumptions"] = notes_json(plan.assumptions)
        result.update(_sums(result["plan"]))
        result["pace"] = alternatives.pace_json(alternatives.shown_placement(plan), plan.request.rig)
    return result


def _alone(request: dict[str, Any]) -> dict[str, Any]:
    """Ask for one request at a time where the longest context is the question and nothing was said of users."""
    reading = request["reading"]
    if reading.get("intent") != "max_context" or reading.get("users"):
        return request
    return {**request, "reading": {**reading, "users": 1}}


def _side_by_side(
    bench: Workbench, request: dict[str, Any], apart: Sequence[dict[str, Any]], language: str
) -> dict[str, Any]:
    """Plan every setup; the one to take is answered for in full, beside a table of all."""
    rows = alternatives.compared(apart, bench.plan)
    best, why = alternatives.choose(rows)
    made = calculation(bench, apart[best], language)
    return {
        **made,
        "question": "compare",
        "compared": {"rows": rows, "best": best, "why": why, "separate": alternatives.is_separate(request)},
    }


def _empty(bench: Workbench, request: dict[str, Any]) -> dict[str, Any]:
    lists = ("asks", "assumptions", "sizes", "needs", "ladder", "largest", "cards", "side")
    nothing: dict[str, Any] = {key: [] for key in lists}
    return {
        "kind": "calculation",
        "question": request["reading"].get("intent", "fit"),
        "request": request,
        "catalogue_date": bench.models.date,
        **nothing,
        **dict.fromkeys(("plan", "max_copies", "rough", "not_exact", "compared", "pace", "picks")),
    }


def _fill(
    bench: Workbench,
    result: dict[str, Any],
    resolution: Resolution,
    plan: Plan | None,
    wanted: Sequence[tuple[ModelSpec, str]],
) -> None:
    """Add the tables that the question asks for."""
    if not wanted:
        return
    rig = resolution.request.rig if resolution.request else None
    _add_tables(result, result["question"], wanted, rig)
    if result["question"] == "max_copies" and plan:
        result["max_copies"] = _copies_by_format(bench, result["request"], wanted[0])


def _wanted(bench: Workbench, resolution: Resolution, request: Mapping[str, Any]) -> list[tuple[ModelSpec, str]]:
    """Return the models asked about with their precision words, planned or not."""
    if resolution.request:
        return [(i.model, i.precision) for i in resolution.request.instances]
    if any(ask.code.startswith("plan.ask_model") for ask in resolution.asks):
        return []
    found: list[tuple[ModelSpec, str]] = []
    for ask in request["reading"].get("models", []):
        if ask.get("name"):
            model = bench.model(ask).spec
            word = settle_precision(model, ask.get("precision"))[0]
            found += [(model, word)] * max(1, ask.get("copies") or 1)
    return found


def _load(resolution: Resolution, request: Mapping[str, Any]) -> tuple[int, int]:
    if resolution.request:
        first = resolution.request.instances[0]
        return first.context, first.users
    said = request["reading"]
    return said.get("context") or DEFAULT_CONTEXT, said.get("users") or DEFAULT_USERS


COUNTED = frozenset({"hardware_needed", "how_many_gpus"})
"""Questions that are answered with a number of cards."""


def _fill_needs(
    bench: Workbench, result: dict[str, Any], resolution: Resolution, wanted: Sequence[tuple[ModelSpec, str]]
) -> None:
    """Count the cards that are needed; where one kind was named without a number, plan for that many."""
    rig = resolution.request.rig if resolution.request else None
    gpus = result["request"]["reading"].get("gpus", [])
    uncounted = rig is not None and len(gpus) == 1 and gpus[0].get("count") is None
    asked = result["question"] in COUNTED or (uncounted and result["question"] == "config")
    if not wanted or not (asked or rig is None):
        return
    kinds: tuple[Gpu, ...] = rig.gpus[:1] if rig and (uncounted or result["question"] == "how_many_gpus") else ()
    needs = cards_needed(wanted, bench.gpus, context=result["context"], users=result["users"], cards=kinds)
    result["needs"] = _rows(needs)
    found = next((need for need in needs if need.count), None)
    if uncounted and asked and found:
        result["request"] = _with_cards(result["request"], gpus[0], found.count, native=found is needs[0])


def _beyond_a_machine(result: Mapping[str, Any]) -> bool:
    """Tell whether the number of cards was asked for and no machine has as many."""
    gpus = result["request"]["reading"].get("gpus", [])
    needs = result["needs"]
    return result["question"] in COUNTED and bool(needs) and len(gpus) == 1 and gpus[0].get("count") is None


def _with_cards(request: dict[str, Any], card: Mapping[str, Any], count: int | None, *, native: bool) -> dict[str, Any]:
    """Return the request for so many cards, in 4 bits where only that fits."""
    reading = {**request["reading"], "gpus": [{**card, "count": count}]}
    if not native:
        reading["models"] = [{**m, "precision": m.get("precision") or "int4"} for m in reading["models"]]
    return {**request, "reading": reading}


def _add_tables(
    result: dict[str, Any], question: str, wanted: Sequence[tuple[ModelSpec, str]], rig: Rig | None
) -> None:
    context, users = result["context"], result["users"]
    distinct = {model.name: (model, word) for model, word in wanted}
    by_model = question in {"max_context", "max_users", "which_quant", "max_copies"} and rig is not None
    for model, word in distinct.values():
        if by_model and rig:
            rungs = ladder(model, rig.gpus, context=context, users=users, precision=word)
            result["ladder"] += [{**_about(model), "rungs": _rows(rungs)}] if rungs else []
        rungs = ladder(model, context=context, users=users)
        stated = checkpoints_for(model, word)[:1] if word != "any" else ()
        precision = stated[0].precision if stated else None
        result["sizes"].append({**_about(model), "rungs": _rows(rungs), "stated": precision})


def _about(model: ModelSpec) -> dict[str, Any]:
    return {
        "model": model.name,
        "params_total": model.params_total,
        "max_context": model.max_context,
        "published_bytes": model.published_bytes,
        "not_exact": notes_json([model.not_exact])[0] if model.not_exact else None,
    }


def _sums(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Add up what an answer states of a plan: the weights asked for, the cards' room, and a row an instance."""
    asked = plan["as_asked"]
    shown = next((o for o in plan["options"] if o["id"] == plan["recommended"]), asked)
    return {
        "sums": {
            "weights_bytes": sum(_all_weights(f) for f in asked["footprints"]),
            "room_bytes": sum(g["total_bytes"] - g["reserved_bytes"] for g in asked["gpus"]),
            "shown_weights_bytes": sum(_all_weights(f) for f in shown["footprints"]),
            "asked_cache_bytes": sum(_cache(f) * len(f["gpu_indices"]) for f in asked["footprints"]),
            "cache_bytes": sum(_cache(f) for f in shown["footprints"]),
            "pool_tokens": sum(f["kv_pool_tokens"] or 0 for f in shown["footprints"]),
            "used_bytes": sum(g["used_bytes"] for g in shown["gpus"]),
            "free_bytes": sum(g["free_bytes"] for g in shown["gpus"]),
        },
        "rows": [_row(f) for f in shown["footprints"]],
    }


def _cache(footprint: Mapping[str, Any]) -> int:
    band: Mapping[str, Any] | None = footprint["kv_pool_bytes_per_gpu"]
    return round(band["value"]) if band else 0


def _all_weights(footprint: Mapping[str, Any]) -> int:
    """Return an instance's weights over all its cards, after quantisation in flight where there is one."""
    in_flight = footprint["precision"] in IN_FLIGHT
    held = footprint["weights_bytes_per_gpu" if in_flight else "parameter_bytes_per_gpu"]
    return held * max(1, len(footprint["gpu_indices"]))


def _row(footprint: Mapping[str, Any]) -> dict[str, Any]:
    total, weights, cache = footprint["total_bytes_per_gpu"], footprint["weights_bytes_per_gpu"], _cache(footprint)
    return {
        "name": footprint["instance"],
        "model": footprint["model"],
        "precision": footprint["precision"],
        "checkpoint": footprint["checkpoint"],
        "cards": list(footprint["gpu_indices"]),
        "weights_bytes": weights,
        "cache_bytes": cache,
        "rest_bytes": max(0, total - weights - cache),
        "total_bytes": total,
        "pool_tokens": footprint["kv_pool_tokens"],
        "context_tokens": footprint["flags"].get("max-model-len"),
        "at_once": int(footprint["max_concurrency"] or 0),
    }


def _rows(items: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(item) for item in items]


def _copies_by_format(
    bench: Workbench, request: Mapping[str, Any], wanted: tuple[ModelSpec, str]
) -> list[dict[str, Any]]:
    """Count the copies that fit in the format asked for, or natively and in 4 bits where none was."""
    model, word = wanted
    found: dict[str, int] = {}
    for choice in [word] if word != "any" else ["any", "int4"]:
        checkpoints = checkpoints_for(model, choice)
        if checkpoints:
            found.setdefault(checkpoints[0].precision, _most_copies(bench, request, choice))
    return [{"precision": precision, "copies": copies} for precision, copies in found.items()]


def _most_copies(bench: Workbench, request: Mapping[str, Any], word: str) -> int:
    """Return how many copies of the (first) model fit, by halving; at most ``MAX_COPIES_TRIED``."""
    low, high = 0, MAX_COPIES_TRIED + 1
    said = None if word == "any" else word
    while high - low > 1:
        middle = (low + high) // 2
        models = [{**request["reading"]["models"][0], "copies": middle, "precision": said}]
        reading = {**request["reading"], "models": models, "intent": "fit"}
        plan = bench.plan({**request, "reading": reading})
        if plan and plan.as_asked.verdict == "fits":
            low = middle
        else:
            high = middle
    return low
