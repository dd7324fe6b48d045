"""Whether a document has only fields that a recorded table knows, with values of their types.

A table maps paths to JSON types: ``spec.groups[].name`` is the field ``name`` of every item of ``spec.groups``. What an
object holds is looked at only where the table names fields of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, cast

Table = Mapping[str, Sequence[str]]


@cache
def recorded_fields(name: str) -> tuple[Table, Mapping[str, Sequence[str]]]:
    """Return the table in ``tools/launch/data/<name>``, and by path the fields that must be there."""
    file = resources.files("tools.launch") / "data" / name
    record = json.loads(file.read_text(encoding="utf-8"))
    return record["fields"], record.get("required", {})


def field_faults(name: str, document: Any) -> list[str]:
    """Return what is wrong with a document by the table in ``tools/launch/data/<name>``."""
    fields, required = recorded_fields(name)
    return list(_faults(fields, required, "", document))


def _faults(fields: Table, required: Mapping[str, Sequence[str]], path: str, value: Any) -> Iterator[str]:
    types = fields.get(path)
    if types is None:
        yield f"{path} is not a field"
    elif _json_type(value) not in types:
        yield f"{path} is {_json_type(value)}, not {' or '.join(types)}"
    elif isinstance(value, dict) and _has_fields(fields, path):
        entries = cast("dict[str, Any]", value)
        yield from (f"{path}.{key} is missing" for key in required.get(path, ()) if key not in entries)
        for key, item in entries.items():
            yield from _faults(fields, required, f"{path}.{key}".lstrip("."), item)
    elif isinstance(value, list) and f"{path}[]" in fields:
        for item in cast("list[Any]", value):
            yield from _faults(fields, required, f"{path}[]", item)


def _has_fields(fields: Table, path: str) -> bool:
    start = f"{path}." if path else ""
    return any(other.startswith(start) and other != path for other in fields)


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds: tuple[tuple[type, str], ...] = (
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (dict, "object"),
        (list, "array"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")
