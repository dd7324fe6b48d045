"""Models, or formats of one model, side by side where no card is known: what each takes, and how much a token reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.capacity import Rung, ladder
from tools.domain import ModelSpec
from tools.errors import NotYetExact
from tools.picking.eligible import active_of
from tools.plan.limits import DEFAULT_CONTEXT, DEFAULT_USERS
from tools.plan.precisions import settle_precision
from tools.workbench import Workbench, notes_json


def side_by_side(bench: Workbench, setups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what each setup's model takes, in the format that was said, or natively and in 4 bits.

    Returns:
        ``{side, context, users, lighter, faster, asks, assumptions}``; ``lighter`` and ``faster`` are rows' model and
        precision, None where nothing sets them apart.

    Raises:
        RequestError: a model that is not known was named.
    """
    asked = [setup["reading"]["models"][0] for setup in setups]
    said = setups[0]["reading"]
    context, users = said.get("context") or DEFAULT_CONTEXT, said.get("users") or DEFAULT_USERS
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    notes: list[dict[str, Any]] = []
    for ask in asked:
        match = bench.model(ask)
        word = settle_precision(match.spec, ask.get("precision"))[0]
        notes += [note for note in notes_json(match.notes) if note not in notes]
        for row in _rows(match.spec, word, context, users):
            rows.setdefault((row["model"], row["precision"]), row)
    found = list(rows.values())
    return {
        "side": found,
        "context": context,
        "users": users,
        "lighter": _least(found, "total_bytes"),
        "faster": _least(found, "read_bytes"),
        "asks": [{"code": "agent.ask_gpu", "params": {}}],
        "assumptions": notes,
    }


def _rows(spec: ModelSpec, word: str, context: int, users: int) -> list[dict[str, Any]]:
    try:
        rungs = ladder(spec, context=context, users=users, precision=word)
        active = active_of(spec)
    except NotYetExact:
        rungs, active = (), spec.params_active
    about = {
        "model": spec.name,
        "params_total": spec.params_total,
        "params_active": active,
        "max_context": spec.max_context,
        "release_date": spec.release_date,
    }
    if not rungs:
        empty = dict.fromkeys(("parameter_bytes", "kv_bytes_per_token", "kv_needed_bytes", "total_bytes", "read_bytes"))
        return [{**about, "precision": "", "bits": 0, **empty}]
    chosen = rungs[:1] if word != "any" else _ends(rungs)
    return [
        {
            **about,
            "precision": rung.precision,
            "bits": rung.bits,
            "parameter_bytes": rung.parameter_bytes,
            "kv_bytes_per_token": rung.kv_bytes_per_token,
            "kv_needed_bytes": rung.kv_needed_bytes,
            "total_bytes": rung.total_bytes,
            "read_bytes": round(rung.parameter_bytes * (active or spec.params_total) / spec.params_total),
        }
        for rung in chosen
    ]


def _ends(rungs: Sequence[Rung]) -> list[Rung]:
    """Return the native format and the first one of 4 bits."""
    four = next((rung for rung in rungs if rung.bits <= 4), None)
    return [rungs[0], four] if four and four is not rungs[0] else [rungs[0]]


def _least(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any] | None:
    """Return the row with the least of something among those of the fewest bits of each model, where one has least."""
    fewest: dict[str, Mapping[str, Any]] = {}
    names = {row["model"] for row in rows}
    for row in rows:
        name = row["model"] if len(names) > 1 else row["precision"]
        if row[key] is not None and (name not in fewest or row["bits"] < fewest[name]["bits"]):
            fewest[name] = row
    if len(fewest) < 2:
        return None
    best, second = sorted(fewest.values(), key=lambda row: row[key])[:2]
    return {"model": best["model"], "precision": best["precision"]} if best[key] < second[key] else None
