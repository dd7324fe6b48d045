"""What a tool call came to in short, for a language model: the figures it may write, once each; foreign text fenced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from prompts import text
from tools.units import GIB, gib

RESULT_BYTES = 4096
"""Longest result; with the tools and the rules of the house, a plan and a look-up fit in a context of 8192 tokens."""
_SNIPPET_CHARS = 400
_QUOTES = 4
_SPARE = ("sizes", "options", "needs", "ladder", "pace", "rows", "assumptions")
"""Parts of a result that is too long, in the order in which they are left out or, the options, shortened."""
_MOST_OPTIONS, _FEWEST_OPTIONS = 8, 3

_MODEL_KEYS = (
    "name", "params_total", "params_active", "max_context", "license", "release_date", "near_misses", "notes", "status",
    "checkpoints",
)  # fmt: skip
_CARD_KEYS = ("name", "cuda_total_bytes", "bandwidth_bytes_per_s", "compute_capability", "near_misses", "notes")
_RUNG_KEYS = ("precision", "parameter_bytes", "total_bytes")
_NEED_KEYS = ("card", "precision", "count")
_COST_KEYS = ("quality", "decode_tokens_per_s", "ram_bytes", "wake_s")
_ROW_KEYS = (
    "name", "model", "precision", "weights_bytes", "cache_bytes", "rest_bytes", "total_bytes", "pool_tokens",
    "context_tokens", "at_once",
)  # fmt: skip
_PACE_KEYS = ("decode_tokens_per_s", "throughput_tokens_per_s", "first_token_s")
_NEAR = 3


def for_a_model(artifact: Mapping[str, Any]) -> str:
    """Write a result as compact JSON: sizes as "56.9 GiB", no empty parts, at most ``RESULT_BYTES``."""
    kind = artifact.get("kind")
    if kind == "calculation":
        artifact = _calculation(artifact)
    elif kind == "specs":
        artifact = {
            "models": [_model(row) for row in artifact["models"]],
            "gpus": [_card(row) for row in artifact["gpus"]],
        }
    short = cast("dict[str, Any]", _short(artifact))
    return _within(short, RESULT_BYTES)


def fenced(hits: Sequence[Mapping[str, Any]], pages: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write search hits and what their pages state for a model: marked as quotations that can't close the fence."""
    rows: list[str] = []
    for n, h in enumerate(hits, 1):
        rows.append(
            f"[{n}] {h['title'][:_SNIPPET_CHARS]} ({h['url']}, seen {h['date']}): {h['snippet'][:_SNIPPET_CHARS]}"
        )
        for page in pages:
            if page["url"] == h["url"]:
                rows += [f"[{n}] states: {figure['quote']}" for figure in page["figures"][:_QUOTES]]
    body = "\n".join(" ".join(row.split()).replace("<", "‹").replace(">", "›") for row in rows) or "(nothing found)"
    return f"<web_quotations>\n{body}\n</web_quotations>"


def _calculation(made: Mapping[str, Any]) -> dict[str, Any]:
    """Put the verdict first; what was asked for is in the call already."""
    plan = made.get("plan")
    left = ("kind", "request", "question", "plan", "catalogue_date", "sizes", "needs", "rows", "pace", "assumptions")
    return {
        **(_plan(plan) if plan else {}),
        **{key: value for key, value in made.items() if key not in left},
        "rows": [_only(row, _ROW_KEYS) for row in made.get("rows") or ()],
        "pace": _only(made.get("pace") or {}, _PACE_KEYS),
        "assumptions": plan["assumptions"] if plan else made.get("assumptions"),
        "sizes": [_sizes(row) for row in made.get("sizes") or ()],
        "needs": [_only(row, _NEED_KEYS) for row in made.get("needs") or ()],
    }


def _plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    asked = plan["as_asked"]
    options = plan["options"][:_MOST_OPTIONS]
    return {
        "verdict": plan["verdict"],
        "recommended": plan.get("recommended"),
        "reason": plan.get("reason"),
        "as_asked": {
            "verdict": asked["verdict"],
            "deficit_bytes": asked["deficit_bytes"] or None,
            "parts": _parts(asked["footprints"]),
            "gpus": _cards_of(asked["gpus"]),
        },
        "options": [
            {
                "id": one["id"],
                "title": one["title"],
                "verdict": one["verdict"] if one["verdict"] != "fits" else None,
                **_only(one["costs"], _COST_KEYS),
                "parts": _parts(one["footprints"]),
            }
            for one in options
        ],
    }


def _parts(footprints: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what each model takes; equal instances once, with how many they are."""
    found: dict[str, dict[str, Any]] = {}
    for one in footprints:
        row = _only(one, ("model", "precision", "weights_bytes_per_gpu", "kv_pool_tokens"))
        if len(one.get("gpu_indices") or ()) > 1:
            row["tp"] = len(one["gpu_indices"])
        kept = found.setdefault(json.dumps(row, sort_keys=True), {**row, "copies": 0})
        kept["copies"] += 1
    for row in found.values():
        if row["copies"] == 1:
            del row["copies"]
    return list(found.values())


def _cards_of(gpus: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how full each card is; a card that is overfull has no room free."""
    keys = ("index", "name", "total_bytes", "used_bytes", "free_bytes")
    rows = [_only(gpu, keys) for gpu in gpus]
    return [{k: v for k, v in row.items() if k != "free_bytes" or v >= 0} for row in rows]


def _sizes(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model in each format; its cache once, where the format does not change it."""
    rungs = row.get("rungs") or ()
    caches = {(one.get("kv_bytes_per_token"), one.get("kv_needed_bytes")) for one in rungs}
    keys = _RUNG_KEYS if len(caches) == 1 else (*_RUNG_KEYS, "kv_needed_bytes")
    shared = dict(zip(("kv_bytes_per_token", "kv_needed_bytes"), *caches, strict=True)) if len(caches) == 1 else {}
    return {
        **{key: value for key, value in row.items() if key not in {"rungs", "published_bytes"}},
        **shared,
        "rungs": [_only(one, keys) for one in rungs],
    }


def _model(row: Mapping[str, Any]) -> dict[str, Any]:
    formats: dict[str, str] = {}
    for one in row.get("checkpoints") or ():
        formats.setdefault(one["precision"], one["repo"])
    hub = cast("dict[str, Any]", row.get("hub") or {})
    return {
        **_only(row, _MODEL_KEYS),
        "near_misses": row["near_misses"][:_NEAR],
        "checkpoints": formats,
        "hub": {key: value for key, value in hub.items() if key != "problem"},
    }


def _card(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**_only(row, _CARD_KEYS), "near_misses": row["near_misses"][:_NEAR]}


def _only(row: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: row[key] for key in keys if row.get(key) is not None}


def _short(value: Any, name: str = "") -> Any:
    """Write sizes with their unit, messages as words and ranges as lists; leave empty parts out."""
    if isinstance(value, Mapping):
        rows = cast("Mapping[str, Any]", value)
        if rows.keys() <= {"code", "params"} and "code" in rows:
            return text("en", rows["code"], **rows.get("params", {}))
        if set(rows) == {"low", "value", "high"}:
            return [_short(rows[key], name) for key in ("low", "value", "high")]
        kept = {key: _short(item, key) for key, item in rows.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {}, "")}
    if isinstance(value, (list, tuple)):
        return [_short(item, name) for item in cast("Sequence[Any]", value)]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and "bytes" in name:
        return gib(value) if abs(value) >= GIB / 100 else f"{value:.0f} B"
    return value


def _within(result: dict[str, Any], limit: int) -> str:
    """Write a result, without its spare parts where it is too long."""
    spare = [key for key in _SPARE if key in result]
    while len(_compact(result).encode()) > limit and spare:
        if spare[0] == "options" and len(result["options"]) > _FEWEST_OPTIONS:
            result = {**result, "options": result["options"][:-1]}
            continue
        name = spare.pop(0)
        if name != "options":
            result = {key: value for key, value in result.items() if key != name}
    return _compact(result).encode()[:limit].decode(errors="ignore")


def _compact(result: Any) -> str:
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))
