"""The measurements of this user's machine, kept in the data folder.

One SQLite file, made when the first measurement is remembered; where there is none, reading costs one look at the disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from tools.domain import Measured
from tools.errors import StorageError

FILE = "calibrations.sqlite"
_VERSION = 1
_FIELDS = {field.name: field for field in fields(Measured)}
_TABLE = "CREATE TABLE IF NOT EXISTS measured (id INTEGER PRIMARY KEY AUTOINCREMENT, facts TEXT NOT NULL)"
MOST = 500
"""Measurements that are read; older ones stay in the file."""


class Calibrations:
    """Measurements by their numbers.

    Args:
        data_dir: Rigfit's data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE

    def measured(self) -> tuple[Measured, ...]:
        """Return all measurements, newest first.

        Raises:
            StorageError: the file can't be read.
        """
        return tuple(one for _, one in self.numbered())

    def numbered(self) -> tuple[tuple[int, Measured], ...]:
        """Return all measurements with their numbers, newest first.

        Raises:
            StorageError: the file can't be read.
        """
        if not self._path.exists():
            return ()
        rows = self._run("SELECT id, facts FROM measured ORDER BY id DESC LIMIT ?", (MOST,))
        read = ((number, _measured(facts)) for number, facts in rows)
        return tuple((number, one) for number, one in read if one)

    def stamp(self) -> int:
        """Return a number that changes with the file; 0 where there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    def remember(self, one: Measured) -> int:
        """Keep a measurement.

        An earlier one of the same deployment with the same settings gives way to it, unless it tells what the new one
        does not. One that tells nothing new is not kept again.

        Returns:
            Its number, or that of the one that tells the same.

        Raises:
            StorageError: the file can't be written.
        """
        for number, known in self.numbered():
            if replace(known, date=one.date, log=one.log) == one:
                return number
            if _deployment(known) == _deployment(one) and _told(known) <= _told(one):
                self.forget(number)
        facts = json.dumps(asdict(one), ensure_ascii=False)
        self._run("INSERT INTO measured (facts) VALUES (?)", (facts,))
        return self.numbered()[0][0]

    def forget(self, number: int | None = None) -> int:
        """Delete a measurement, or (None) all.

        Returns:
            How many were deleted.

        Raises:
            StorageError: the file can't be written.
        """
        before = len(self.numbered())
        if before:
            where, values = ("", ()) if number is None else (" WHERE id = ?", (number,))
            self._run(f"DELETE FROM measured{where}", values)  # noqa: S608  no foreign text in it
        return before - len(self.numbered())

    def _run(self, statement: str, values: Sequence[Any]) -> list[Any]:
        import sqlite3

        from tools.storage import prepare_database

        ready, notes = prepare_database(self._path, version=_VERSION)
        if not ready:
            raise StorageError(notes[0].code, **notes[0].params)
        try:
            connection = sqlite3.connect(self._path, timeout=5.0)
            try:
                with connection:
                    connection.execute(_TABLE)
                    return connection.execute(statement, values).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StorageError("errors_agent.store_failed", reason=str(error)) from error


def _measured(text: str) -> Measured | None:
    """Read a row; one that another program damaged says nothing."""
    try:
        found: dict[str, Any] = json.loads(text)
        one = Measured(**{name: value for name, value in found.items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
    sizes = (getattr(one, name) for name in _FIELDS if name.endswith("_bytes"))
    sound = all(size is None or (isinstance(size, int) and abs(size) < 1 << 50) for size in sizes)
    return one if sound and isinstance(one.card, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]


def _told(one: Measured) -> set[str]:
    """The sizes that a start told."""
    return {name for name in _FIELDS if name.endswith("_bytes") and getattr(one, name) is not None}


def _deployment(one: Measured) -> tuple[object, ...]:
    settings = (one.sequences, one.step_tokens, one.enforce_eager)
    return (one.card, one.engine, one.version, one.checkpoint, one.precision, one.tp, one.pp, *settings)
