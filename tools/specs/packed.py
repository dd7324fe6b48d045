"""Lists of a config as the catalogue stores them: repeated entries and numbered names in short form.

``["a", "a", "b"] * 16`` is stored as ``{"period": ["a", "a", "b"], "times": 16}``, other lists of long runs as
``{"runs": [["a", 40], ["b", 2]]}``, and names that differ in one number as ``"layers.{0-3,7}.gate"`` under
``{"names": [...]}``. ``unpacked`` gives the very list back (names in their written order of templates).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

MAX_LENGTH = 100_000
"""Entries of one list; no config has more."""

_SPANS = re.compile(r"\{([\d,\-]+)\}")


def unpacked(value: Any) -> Any:
    """Return a stored value with every list in it written out.

    Raises:
        ValueError: a list would have more than ``MAX_LENGTH`` entries.
    """
    if isinstance(value, list):
        return [unpacked(item) for item in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    fields = cast("Mapping[str, Any]", value)
    keys = set(fields)
    if keys == {"period", "times"}:
        return _limited(len(fields["period"]) * fields["times"]) and list(fields["period"]) * fields["times"]
    if keys == {"runs"}:
        _limited(sum(times for _, times in fields["runs"]))
        return [item for item, times in fields["runs"] for _ in range(times)]
    if keys == {"names"}:
        return [name for template in fields["names"] for name in expanded(template)]
    return {key: unpacked(item) for key, item in fields.items()}


def expanded(template: str) -> list[str]:
    """Write out a numbered name.

    Example:
        ``expanded("layers.{0-2,5}.gate")`` gives ``layers.0.gate``, ``layers.1.gate``, ``layers.2.gate`` and
        ``layers.5.gate``.
    """
    found = _SPANS.search(template)
    if found is None:
        return [template]
    head, tail = template[: found.start()], template[found.end() :]
    numbers: list[int] = []
    for span in found.group(1).split(","):
        first, _, last = span.partition("-")
        _limited(int(last or first) - int(first) + len(numbers))
        numbers += range(int(first), int(last or first) + 1)
    return [head + str(number) + tail for number in numbers]


def _limited(length: int) -> bool:
    if length > MAX_LENGTH:
        raise ValueError(f"a packed list of {length} entries")
    return True
