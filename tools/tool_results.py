"""What each tool call comes to, as plain data: for the page, for the written answer, and in short for a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from tools import rough
from tools.capacity import COMMON_CARDS, cards_needed, ladder
from tools.domain import Gpu, ModelSpec, Plan, Rig, note
from tools.errors import NotYetExact, RequestError
from tools.plan.report import plan_json
from tools.plan.resolve import Resolution
from tools.specs.checkpoints import checkpoints_for
from tools.specs.formats import IN_FLIGHT
from tools.specs.gpus import GpuMatch
from tools.specs.models import ModelMatch
from tools.units import GIB, gib
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
        ``{kind, request, plan, asks, assumptions, sizes, needs, ladder, max_copies, rough, not_exact, largest}``; what
        was not asked for or can't be answered is None or empty.

    Raises:
        RequestError: something unknown or impossible was named.
    """
    asked = request["reading"].get("models", [])
    result = _empty(bench, request)
    if not asked:
        return {**result, "largest": rough.largest(bench.cards(request))}
    if any(rough.is_unnamed(ask.get("name")) for ask in asked):
        result["asks"] = notes_json([note("agent.ask_model")])
        kinds = [bench.gpus.find(name).gpu for name in COMMON_CARDS]
        return {**result, "rough": rough.by_size(asked, bench.cards(request), kinds)}
    resolution = bench.resolution(request)
    result["asks"], result["assumptions"] = notes_json(resolution.asks), notes_json(resolution.assumptions)
    wanted = _wanted(bench, resolution, request)
    try:
        plan = bench.plan(request)
        _fill(bench, result, resolution, plan, wanted)
    except NotYetExact as error:
        result["not_exact"] = notes_json([note(error.code, **error.params)])[0]
        result["rough"] = rough.by_files(wanted, bench.cards(request))
        return result
    if plan:
        result["plan"] = plan_json(plan, language)
        result["assumptions"] = notes_json(plan.assumptions)
        result.update(_sums(result["plan"]))
    return result


def _empty(bench: Workbench, request: dict[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {key: [] for key in ("asks", "assumptions", "sizes", "needs", "ladder", "largest")}
    return {
        "kind": "calculation",
        "question": request["reading"].get("intent", "fit"),
        "request": request,
        "catalogue_date": bench.models.date,
        **nothing,
        **dict.fromkeys(("plan", "max_copies", "rough", "not_exact")),
    }


def _fill(
    bench: Workbench,
    result: dict[str, Any],
    resolution: Resolution,
    plan: Plan | None,
    wanted: Sequence[tuple[ModelSpec, str]],
) -> None:
    """Add the tables that the question asks for."""
    context, users = _load(resolution, result["request"])
    result["context"], result["users"] = context, users
    if not wanted:
        return
    rig = resolution.request.rig if resolution.request else None
    _add_tables(bench, result, result["question"], wanted, rig, context, users)
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
            found += [(bench.model(ask).spec, _word(ask.get("precision")))] * max(1, ask.get("copies") or 1)
    return found


def _word(said: str | None) -> str:
    from tools.specs.formats import precision_word

    try:
        return precision_word(said) if said else "any"
    except RequestError:
        return "any"


def _load(resolution: Resolution, request: Mapping[str, Any]) -> tuple[int, int]:
    if resolution.request:
        first = resolution.request.instances[0]
        return first.context, first.users
    said = request["reading"]
    return said.get("context") or DEFAULT_CONTEXT, said.get("users") or DEFAULT_USERS


def _add_tables(
    bench: Workbench,
    result: dict[str, Any],
    question: str,
    wanted: Sequence[tuple[ModelSpec, str]],
    rig: Rig | None,
    context: int,
    users: int,
) -> None:
    distinct = {model.name: (model, word) for model, word in wanted}
    by_model = question in {"max_context", "max_users", "which_quant", "max_copies"} and rig is not None
    for model, word in distinct.values():
        if by_model and rig:
            rungs = ladder(model, rig.gpus, context=context, users=users, precision=word)
            result["ladder"].append({**_about(model), "rungs": _rows(rungs)})
        rungs = ladder(model, context=context, users=users)
        stated = checkpoints_for(model, word)[:1] if word != "any" else ()
        precision = stated[0].precision if stated else None
        result["sizes"].append({**_about(model), "rungs": _rows(rungs), "stated": precision})
    if rig is None or question in {"hardware_needed", "how_many_gpus"}:
        asked: tuple[Gpu, ...] = rig.gpus[:1] if rig and question == "how_many_gpus" else ()
        result["needs"] = _rows(cards_needed(wanted, bench.gpus, context=context, users=users, cards=asked))


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


# --- in short, for a model ---


def for_a_model(artifact: Mapping[str, Any]) -> Any:
    """Shorten an artifact: sizes as "56.9 GiB", no empty parts, no figures a model has no use for."""
    if artifact.get("kind") == "calculation" and artifact.get("plan"):
        return _short({**artifact, "plan": _brief_plan(artifact["plan"]), "request": None})
    return _short(artifact)


_PLAN_KEYS = ("verdict", "assumptions", "recommended", "reason")


def _brief_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    options = [
        {
            "id": o["id"],
            "title": o["title"],
            "verdict": o["verdict"],
            "costs": o["costs"],
            "parts": _parts(o["footprints"]),
        }
        for o in plan["options"]
    ]
    asked = plan["as_asked"]
    return {
        **{key: plan.get(key) for key in _PLAN_KEYS},
        "as_asked": {
            "verdict": asked["verdict"],
            "deficit_bytes": asked["deficit_bytes"],
            "parts": _parts(asked["footprints"]),
            "gpus": asked["gpus"],
        },
        "options": options,
    }


def _parts(footprints: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    keys = ("instance", "model", "precision", "checkpoint", "gpu_indices", "weights_bytes_per_gpu", "kv_pool_tokens")
    return [{key: f.get(key) for key in keys} for f in footprints]


def _short(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        rows = cast("Mapping[str, Any]", value)
        kept = {key: _short(item, key) for key, item in rows.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {}, "")}
    if isinstance(value, (list, tuple)):
        return [_short(item, name) for item in cast("Sequence[Any]", value)]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and "bytes" in name:
        return gib(value) if value >= GIB / 100 else f"{value:.0f} B"
    return value


def fenced(hits: Sequence[Mapping[str, str]]) -> str:
    """Write search hits for a model: marked as quotations, none of which can close the fence."""
    rows = [f"[{n}] {h['title']} ({h['url']}, seen {h['date']}): {h['snippet']}" for n, h in enumerate(hits, 1)]
    body = "\n".join(row.replace("<", "‹").replace(">", "›") for row in rows) or "(nothing found)"
    return f"<web_quotations>\n{body}\n</web_quotations>"
