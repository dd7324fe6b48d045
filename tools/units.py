"""Bytes are integers everywhere; GiB and MiB appear only at the edge, through this module."""

from __future__ import annotations

import re

from tools.errors import BadValue

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_UNITS = {
    "b": 1,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": GIB << 10,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b|[kmgt])?\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a byte count such as ``96GiB``, ``97887MiB``, ``64GB`` or ``8g`` (a bare letter means the binary unit).

    Args:
        text: a number with an optional unit; no unit means bytes.

    Returns:
        The size in bytes, rounded to the nearest byte.

    Raises:
        BadValue: ``text`` is not a non-negative size.
    """
    found = _SIZE.fullmatch(text)
    if not found:
        raise BadValue("errors.bad_size", value=text)
    unit = (found.group(2) or "b").lower()
    factor = _UNITS[unit] if unit in _UNITS else _UNITS[unit + "ib"]
    return round(float(found.group(1)) * factor)


def gib(size_bytes: float, digits: int = 1) -> str:
    """Format bytes as GiB for people: ``gib(61_064_245_248) == "56.9 GiB"``."""
    return f"{size_bytes / GIB:.{digits}f} GiB"


def span(low: float, high: float) -> str:
    """Format the ends of an estimate to two significant digits: ``span(101.2, 202.3) == "100–200"``.

    Ends that round to the same figure are given once.
    """
    ends = dict.fromkeys(_two_digits(value) for value in (low, high))
    return "–".join(ends)


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:.0f}" if rounded >= 10 or rounded == int(rounded) else f"{rounded:g}"
