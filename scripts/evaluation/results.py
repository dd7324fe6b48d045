"""Results in a file, one a line after a first line that says what was run; a run that was cut off goes on from it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rigfit", "langgraph", "langchain-core", "langchain-openai")


class OtherRun(Exception):
    """A file holds the results of another run; the message says what differs."""


def header(model: str, endpoint: str, questions: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    """Return what a run is known by: who answers, which questions, which program.

    Args:
        model: the model's name, or ``embedded`` for the rules.
        endpoint: its address without credentials; empty for the rules.
        questions: file name -> SHA-256.
        limit: how many questions of them; None = all.
    """
    return {
        "model": model,
        "endpoint": endpoint,
        "questions": dict(questions),
        "limit": limit,
        "settings": {"network": False, "this_machine": False, "temperature": 0},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": commit(),
    }


def commit() -> str:
    """Return the commit that is checked out, with a plus where files differ from it; empty where that is not known."""
    try:
        found = [
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True, timeout=30)
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return found[0].stdout.strip() + ("+" if found[1].stdout.strip() else "")


class Results:
    """The results of one run. A line that was cut off is forgotten, its question is asked again.

    Args:
        path: the file; it is made where it is not there.
        about: as of ``header``.
        again: what an existing file holds is thrown away.

    Raises:
        OtherRun: the file is of another run.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, again: bool = False) -> None:
        self._path, self.about = path, dict(about)
        self.rows: dict[str, dict[str, Any]] = {}
        kept = [] if again or not path.exists() else _lines(path)
        if kept:
            _same_run(path, kept[0], self.about)
            self.about = kept[0]
            self.rows = {str(row["id"]): row for row in kept[1:]}
        else:
            self.about["started"] = datetime.now(UTC).isoformat(timespec="seconds")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(_line(row) for row in (self.about, *self.rows.values())), encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep one result; it is on the disk when this returns."""
        self.rows[str(row["id"])] = dict(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what a run was, and its results.

    Raises:
        OtherRun: the file holds no run.
    """
    kept = _lines(path)
    if not kept or "questions" not in kept[0]:
        raise OtherRun(f"{path} holds no results")
    return kept[0], kept[1:]


def _same_run(path: Path, kept: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    unlike = [key for key in about if kept.get(key) != about[key]]
    if unlike:
        raise OtherRun(
            f"{path} holds the results of another run (another {', '.join(unlike)}): name another file with --out, or "
            "say --again to throw them away"
        )


def _lines(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
