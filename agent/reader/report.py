"""A Reading as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from tools.domain import GpuAsk, ModelAsk, Reading


def reading_json(reading: Reading) -> dict[str, Any]:
    """Return the object that ``rigfit read --json`` prints."""
    out = asdict(reading)
    out["models"] = [asdict(model) for model in reading.models]
    out["gpus"] = [asdict(gpu) for gpu in reading.gpus]
    out["must_ask"] = list(reading.must_ask)
    return out


def reading_from_json(data: Mapping[str, Any]) -> Reading:
    """Rebuild a Reading; fields that are missing keep their defaults and unknown ones are passed over."""
    known = {field.name for field in fields(Reading)}
    values = {name: value for name, value in data.items() if name in known}
    values["models"] = tuple(_known(ModelAsk, one) for one in data.get("models") or ())
    values["gpus"] = tuple(_known(GpuAsk, one) for one in data.get("gpus") or ())
    values["must_ask"] = tuple(data.get("must_ask") or ())
    return Reading(**values)


def _known(cls: type[Any], data: Mapping[str, Any]) -> Any:
    names = {field.name for field in fields(cls)}
    return cls(**{name: value for name, value in data.items() if name in names})
