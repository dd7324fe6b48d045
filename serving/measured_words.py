"""A start's figures as a table for people and as plain data."""

from __future__ import annotations

from typing import Any

from prompts import text
from serving.measured import Row, StartUp
from tools.domain import Band
from tools.units import gib


def start_up_table(start: StartUp, language: str) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a table: a head, then a row a figure; five cells each."""
    head = ("figure", "measured", "predicted", "difference", "source")
    shown = (_cells(row, language) for row in start.rows if row.measured is not None or row.predicted is not None)
    return (tuple(text(language, f"measured.{name}") for name in head), *shown)


def start_up_json(start: StartUp) -> dict[str, Any]:
    """Return a start as plain data: ``figures`` by field; bytes and tokens are whole, None is not known."""
    return {
        "name": start.name,
        "version": start.version,
        "on_cpu": start.on_cpu,
        "figures": {row.field: _figures(row) for row in start.rows},
    }


def _figures(row: Row) -> dict[str, Any]:
    band = row.predicted
    ends = ("low", "value", "high")
    return {
        "measured": _plain(row, row.measured),
        "predicted": {end: _plain(row, getattr(band, end)) for end in ends} if band else None,
        "difference": _plain(row, row.difference),
        "within": row.within,
        "source": row.source,
    }


def _plain(row: Row, value: float | None) -> float | None:
    return round(value) if value is not None and row.field.endswith(("_bytes", "_tokens")) else value


def _cells(row: Row, language: str) -> tuple[str, ...]:
    unknown = text(language, "measured.unknown")
    difference = row.difference
    return (
        text(language, f"measured.{row.field}"),
        _value(row.field, row.measured) if row.measured is not None else unknown,
        _band(row.field, row.predicted) if row.predicted else "",
        _value(row.field, difference, sign="+") if difference is not None else "",
        text(language, f"measured.from_{row.source}") if row.source else "",
    )


def _band(field: str, band: Band) -> str:
    value, low, high = (_value(field, end) for end in (band.value, band.low, band.high))
    return value if low == high else f"{value} ({low.removesuffix(' GiB')}–{high.removesuffix(' GiB')})"


def _value(field: str, value: float, sign: str = "") -> str:
    """Write a figure: GiB and requests with two decimals, seconds with one, tokens whole."""
    if field.endswith("_bytes"):
        return ("+" if sign and value >= 0 else "") + gib(value, 2)
    digits = 2 if field == "max_concurrency" else 1 if field.endswith("_s") else 0
    return f"{value:{sign},.{digits}f}"
