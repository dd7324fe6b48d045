"""What a tool call came to in short, for a language model: no figures it has no use for, foreign text fenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tools.units import GIB, gib


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
