"""Sums results up by tag: as a table for the terminal, and as a section of ``docs/evaluation.md``."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

JUDGED = ("tools", "arguments", "asks", "grounded", "language")
TITLES = (
    "questions", "right tools", "right arguments", "asks as it should", "grounded", "language", "by the model",
    "median s", "95 % within s",
)  # fmt: skip
LEAST = 5
"""Questions that a tag must have to get a line of its own."""

Row = Mapping[str, Any]


def groups(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield all results, then those of each language, then those of each tag, the most common first."""
    yield "all", list(rows)
    for key in ("lang", "tags"):
        named: dict[str, list[Row]] = {}
        for row in rows:
            for tag in [row[key]] if isinstance(row[key], str) else row[key]:
                named.setdefault(tag, []).append(row)
        for tag, some in sorted(named.items(), key=lambda pair: (-len(pair[1]), pair[0])):
            if tag and len(some) >= LEAST:
                yield tag, some


def cells(rows: Sequence[Row], model: str) -> list[str]:
    """Return a group's figures in the order of ``TITLES``."""
    times = sorted(row["seconds"] for row in rows)
    late = times[min(len(times) - 1, int(0.95 * len(times)))]
    wrote = None if model == "embedded" else [row["llm"] != "embedded" for row in rows]
    shares = [_share([row[key] for row in rows]) for key in JUDGED]
    return [str(len(rows)), *shares, _share(wrote or []), f"{statistics.median(times):.2f}", f"{late:.2f}"]


def _share(judged: Sequence[bool | None]) -> str:
    known = [one for one in judged if one is not None]
    return f"{100 * sum(known) / len(known):.1f} %" if known else "-"


def table(about: Row, rows: Sequence[Row]) -> Table:
    """Return the table for a terminal."""
    from rich.table import Table

    made = Table(title=about["model"])
    for title in ("", *TITLES):
        made.add_column(title, justify="right" if title else "left")
    for tag, some in groups(rows):
        made.add_row(tag, *cells(some, about["model"]), end_section=tag == "all")
    return made


def section(about: Row, rows: Sequence[Row]) -> str:
    """Return the section of a model in Markdown, between two comments by which it is found again."""
    begin, end = marks(about["model"])
    files = ", ".join(f"`{name}`" for name in about["questions"])
    versions = ", ".join(f"{name} {found}" for name, found in about["versions"].items())
    lines = [
        begin,
        f"## {'The rules' if about['model'] == 'embedded' else about['model']}",
        "",
        f"{len(rows)} questions of {files}; {about['started'][:10]}, commit {about['commit'] or 'unknown'}.",
        f"{versions}.",
        "",
        "| | " + " | ".join(TITLES) + " |",
        "|---" * (len(TITLES) + 1) + "|",
        *("| " + " | ".join([tag, *cells(some, about["model"])]) + " |" for tag, some in groups(rows)),
        end,
    ]
    return "\n".join(lines) + "\n"


def marks(model: str) -> tuple[str, str]:
    """Return the comments around a model's section."""
    name = model.replace("--", "- -")
    return f"<!-- results of {name} -->", f"<!-- end of {name} -->"


def put_in(page: str, about: Row, rows: Sequence[Row]) -> str:
    """Return a page with a model's section in the place of its earlier one, or at the end."""
    begin, end = marks(about["model"])
    before, found, rest = page.partition(begin)
    if not found:
        return page.rstrip("\n") + "\n\n" + section(about, rows)
    return before + section(about, rows) + rest.partition(end)[2].lstrip("\n")
