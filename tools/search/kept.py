"""What was found before and how often was asked, in one SQLite file; one that can't be used costs nothing but speed."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tools.storage import prepare_database

HITS_S, EMPTY_S, PAGE_S = 6 * 3600.0, 600.0, 24 * 3600.0
"""How long hits, an empty answer and a page's text are used again."""
MAX_ENTRIES, MAX_ENTRY_CHARS = 400, 64_000
"""At most 400 entries of at most 64,000 characters: about 25 MB; the oldest go first."""
PER_MINUTE = 20
"""Searches a minute over all processes of a data folder; engines refuse a person who asks much more."""
_MINUTE_S = 60.0
_BUSY_S = 0.5
_VERSION = 1
_TABLES = """
create table if not exists kept(key text primary key, until real not null, at real not null, value text not null);
create table if not exists asked(at real not null);
"""


class Kept:
    """The cache and the rate limit of the web search.

    Args:
        path: the SQLite file.
        clock: seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._usable: bool | None = None
        self._asked: deque[float] = deque(maxlen=PER_MINUTE)

    def get(self, key: str) -> Any:
        """Return what is kept under a key, or None."""
        row = self._do(lambda db: db.execute("select until, value from kept where key = ?", (key,)).fetchone())
        if not row or float(row[0]) <= self._clock():
            return None
        try:
            return json.loads(row[1])
        except ValueError:
            return None

    def put(self, key: str, value: Any, seconds: float) -> None:
        """Keep plain data for so long; what is too long is not kept."""
        written, now = json.dumps(value, ensure_ascii=False), self._clock()
        if len(written) <= MAX_ENTRY_CHARS:
            self._do(lambda db: _store(db, key, written, now, now + seconds))

    def may_ask(self) -> float:
        """Count a search; return 0, or in how many seconds the next one may be made."""
        now = self._clock()
        wait = self._do(lambda db: _counted(db, now))
        return float(wait) if wait is not None else self._counted_here(now)

    def _counted_here(self, now: float) -> float:
        """Count in this process alone, where the file can't be used."""
        if len(self._asked) == PER_MINUTE and now - self._asked[0] < _MINUTE_S:
            return _MINUTE_S - (now - self._asked[0])
        self._asked.append(now)
        return 0.0

    def _do(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do something with the file; None where it is locked, read-only or gone."""
        try:
            if self._usable is None:
                self._usable, _ = prepare_database(self._path, version=_VERSION)
            if not self._usable:
                return None
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as db, db:
                db.executescript(_TABLES)
                return work(db)
        except (sqlite3.Error, OSError):
            return None


def _store(db: sqlite3.Connection, key: str, value: str, now: float, until: float) -> None:
    db.execute("insert or replace into kept values (?, ?, ?, ?)", (key, until, now, value))
    db.execute("delete from kept where until <= ?", (now,))
    oldest = "select key from kept order by at desc, key limit -1 offset ?"
    db.execute(f"delete from kept where key in ({oldest})", (MAX_ENTRIES,))  # noqa: S608  a constant


def _counted(db: sqlite3.Connection, now: float) -> float:
    db.execute("begin immediate")
    db.execute("delete from asked where at <= ? or at > ?", (now - _MINUTE_S, now))
    times = [float(row[0]) for row in db.execute("select at from asked order by at")]
    if len(times) >= PER_MINUTE:
        return max(0.1, times[0] + _MINUTE_S - now)
    db.execute("insert into asked values (?)", (now,))
    return 0.0
