"""A Rig as JSON data and back; what comes back from a file is checked field by field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast

from tools.domain import Gpu, Note, Rig
from tools.errors import BadValue
from tools.units import GIB

MAX_GPUS = 4096
MAX_BYTES = 1 << 60
MAX_GPU_BYTES = 4096 * GIB

_SOURCES = ("asked", "detected", "remembered", "panel")
_PROVENANCES = ("exact", "measured", "published", "computed", "estimated", "assumed")
_CODE = re.compile(r"specs\.[a-z_]{1,40}")


def rig_json(rig: Rig) -> dict[str, Any]:
    """Return the rig as plain data for ``json.dumps``: its fields by name, bytes as integers."""
    notes = [{"code": n.code, "params": dict(n.params)} for n in rig.notes]
    return {
        "source": rig.source,
        "nodes": rig.nodes,
        "ram_bytes": rig.ram_bytes,
        "disk_free_bytes": rig.disk_free_bytes,
        "gpus": [{"index": index, **_facts(gpu)} for index, gpu in enumerate(rig.gpus)],
        "notes": notes,
    }


def _facts(gpu: Gpu) -> dict[str, Any]:
    """The card's own facts; what was measured on it is kept elsewhere."""
    return {name: value for name, value in asdict(gpu).items() if name != "measured"}


def rig_from_json(data: Mapping[str, Any]) -> Rig:
    """Read what ``rig_json`` wrote; unknown fields are left out.

    Raises:
        BadValue: ``errors_specs.bad_rig`` with the field that is missing, of a wrong kind or out of range.
    """
    if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  (it comes from a file)
        raise _bad("it is not an object")
    cards = data.get("gpus")
    if not isinstance(cards, list) or len(cast("list[Any]", cards)) > MAX_GPUS:
        raise _bad(f"gpus must be a list of at most {MAX_GPUS}")
    source = data.get("source", "asked")
    if source not in _SOURCES:
        raise _bad("source")
    nodes = _whole(data, "nodes", 1, MAX_GPUS, default=1)
    gpus = tuple(_gpu(card) for card in cast("list[Any]", cards))
    if any(gpu.node >= nodes for gpu in gpus):
        raise _bad("a GPU's node is not among the nodes")
    ram, disk = _optional_whole(data, "ram_bytes"), _optional_whole(data, "disk_free_bytes")
    return Rig(gpus, nodes, ram, disk, source, _notes(data.get("notes")))


def _bad(reason: str) -> BadValue:
    return BadValue("errors_specs.bad_rig", reason=reason)


def _gpu(card: Any) -> Gpu:
    if not isinstance(card, Mapping):
        raise _bad("a GPU is not an object")
    card = cast("Mapping[str, Any]", card)
    total = _whole(card, "memory_bytes", 1, MAX_GPU_BYTES)
    values: dict[str, Any] = {
        "name": _text(card, "name"),
        "vendor": _text(card, "vendor"),
        "memory_bytes": total,
        "cuda_total_bytes": _whole(card, "cuda_total_bytes", 0, total),
        "reserved_bytes": _whole(card, "reserved_bytes", 0, total, default=0),
        "node": _whole(card, "node", 0, MAX_GPUS, default=0),
        "source": _text(card, "source", default=""),
        "known_as": _text(card, "known_as", default=""),
        "total_provenance": card.get("total_provenance", "estimated"),
        "bandwidth_bytes_per_s": _rate(card, "bandwidth_bytes_per_s"),
        "fp16_flops": _rate(card, "fp16_flops"),
        "compute_capability": _text(card, "compute_capability", default=None),
    }
    if values["total_provenance"] not in _PROVENANCES:
        raise _bad("total_provenance")
    for name in ("fp8", "fp4"):
        values[name] = _flag(card, name, None)
    for name in ("nvlink", "unified", "memory_verified"):
        values[name] = _flag(card, name, False)
    return Gpu(**{field.name: values[field.name] for field in fields(Gpu) if field.name in values})


_MISSING = object()


def _whole(data: Mapping[str, Any], name: str, low: int, high: int, *, default: Any = _MISSING) -> int:
    value = data.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _bad(f"{name} must be a whole number from {low} to {high}")
    return value


def _optional_whole(data: Mapping[str, Any], name: str) -> int | None:
    return None if data.get(name) is None else _whole(data, name, 0, MAX_BYTES)


def _text(data: Mapping[str, Any], name: str, *, default: Any = _MISSING) -> Any:
    value = data.get(name, default)
    if value is default and default is not _MISSING:
        return value
    if not isinstance(value, str) or len(value) > 2000 or any(ord(letter) < 32 for letter in value):
        raise _bad(f"{name} must be a line of text")
    return value


def _rate(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise _bad(f"{name} must be a positive number")
    return float(value)


def _flag(data: Mapping[str, Any], name: str, default: bool | None) -> bool | None:
    value = data.get(name, default)
    if value is not default and not isinstance(value, bool):
        raise _bad(f"{name} must be true or false")
    return value


def _notes(found: Any) -> tuple[Note, ...]:
    """Notes are taken only where they are ours; anything else in their place is left out."""
    notes: list[Note] = []
    for item in cast("list[Any]", found)[:100] if isinstance(found, list) else ():
        if not isinstance(item, Mapping):
            continue
        entry = cast("Mapping[str, Any]", item)
        code, params = entry.get("code"), entry.get("params")
        if isinstance(code, str) and _CODE.fullmatch(code) and isinstance(params, Mapping):
            given = cast("Mapping[Any, Any]", params)
            simple = {str(key): value for key, value in given.items() if isinstance(value, str | int | float)}
            notes.append(Note(code, simple))
    return tuple(notes)
