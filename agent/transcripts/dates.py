"""Dates of transcripts: written one way, read in the ways that people's programs write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

_NUMBERS = re.compile(
    r"(?P<a>\d{1,4})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<c>\d{1,4})"
    r"(?:(?:\s*,?\s*(?:at|в|à|um)?\s*|T)"
    r"(?P<hour>\d{1,2})[:h](?P<minute>\d{2})(?::(?P<second>\d{2}))?(?:\.\d{1,9})?\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?"
    r"\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?",
)
_LONGEST = 60


def read_date(words: str, *, day_first: bool | None = None) -> str:
    """Return a date as ISO, to the second or minute; the words themselves where they can be read in two ways.

    Args:
        words: "2026-11-23 at 21:13:21", "07/24/2025 at 4:28 PM", "10.05.2025 at 20:33", "2025-06-20T11:15:33.000Z".
        day_first: how dates with slashes are read that fit both ways; None leaves them as they are.
    """
    words = " ".join(words.split())[:_LONGEST]
    found = _NUMBERS.fullmatch(words)
    if not found:
        return words
    date = _date(found, day_first)
    if not date:
        return words
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return words
        hour = hour % 12 + 12 * (found["half"][0] in "Pp")
    try:
        moment = datetime(*date, hour, int(found["minute"] or 0), int(found["second"] or 0))
    except ValueError:
        return words
    if not found["hour"]:
        return moment.date().isoformat()
    return moment.isoformat(timespec="seconds" if found["second"] else "minutes")


def _date(found: re.Match[str], day_first: bool | None) -> tuple[int, int, int] | None:
    """Return year, month and day; None where they can't be told apart."""
    a, b, c = int(found["a"]), int(found["b"]), int(found["c"])
    if len(found["a"]) == 4:
        return a, b, c
    if len(found["c"]) != 4:
        return None
    if found["sep"] == ".":
        return c, b, a
    if a > 12 or b > 12:
        return (c, b, a) if a > 12 else (c, a, b)
    if found["half"]:
        day_first = False  # who writes AM and PM writes the month first
    return None if day_first is None and a != b else (c, b, a) if day_first else (c, a, b)


def days_come_first(dates: Iterable[str]) -> bool | None:
    """Tell from a file's dates with slashes whether days come before months; None where none of them tells."""
    for words in dates:
        found = _NUMBERS.fullmatch(" ".join(words.split())[:_LONGEST])
        if found and found["sep"] != "." and len(found["a"]) < 3 and max(int(found["a"]), int(found["b"])) > 12:
            return int(found["a"]) > 12
    return None


def write_date(at: str) -> str:
    """Return an ISO date as "2026-11-23 at 21:13:21"; other words as they are."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d)?)$", r"\1 at \2", at)
