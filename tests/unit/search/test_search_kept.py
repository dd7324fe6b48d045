"""What was found before: for how long, how much of it, and what happens where the file can't be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tools.search.kept import MAX_ENTRIES, PER_MINUTE, Kept


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_kept_is_there_until_it_is_old(tmp_path: Path) -> None:
    clock = Clock()
    Kept(tmp_path / "s.sqlite", clock).put("a", {"x": "ё"}, 60)
    other = Kept(tmp_path / "s.sqlite", clock)
    assert other.get("a") == {"x": "ё"}
    clock.now += 61
    assert other.get("a") is None


def test_the_oldest_go_where_there_are_many(tmp_path: Path) -> None:
    clock = Clock()
    kept = Kept(tmp_path / "s.sqlite", clock)
    for n in range(MAX_ENTRIES + 5):
        clock.now += 1
        kept.put(str(n), n, 1e6)
    assert kept.get("0") is None
    assert kept.get("5") == 5
    with sqlite3.connect(tmp_path / "s.sqlite") as db:
        assert db.execute("select count(*) from kept").fetchone()[0] == MAX_ENTRIES


def test_what_is_too_long_is_not_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "s.sqlite")
    kept.put("a", "x" * 100_000, 60)
    assert kept.get("a") is None


def test_searches_are_counted_over_all_processes(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(PER_MINUTE):
        assert Kept(tmp_path / "s.sqlite", clock).may_ask() == 0
    assert 0 < Kept(tmp_path / "s.sqlite", clock).may_ask() <= 60
    clock.now += 61
    assert Kept(tmp_path / "s.sqlite", clock).may_ask() == 0


def test_a_clock_that_was_set_back_stops_nobody(tmp_path: Path) -> None:
    clock = Clock()
    kept = Kept(tmp_path / "s.sqlite", clock)
    for _ in range(PER_MINUTE):
        kept.may_ask()
    clock.now -= 86_400
    assert kept.may_ask() == 0


def test_a_file_that_can_not_be_used_stops_nobody(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "file").write_text("no folder")
    kept = Kept(tmp_path / "file" / "s.sqlite", clock)
    kept.put("a", 1, 60)
    assert kept.get("a") is None
    assert [kept.may_ask() > 0 for _ in range(PER_MINUTE + 1)] == [False] * PER_MINUTE + [True]


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(b"this is no database" * 500)
    kept = Kept(tmp_path / "s.sqlite")
    kept.put("a", 1, 60)
    assert kept.get("a") == 1


def test_a_locked_file_is_done_without(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    kept = Kept(path)
    kept.put("a", 1, 60)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    try:
        assert kept.get("a") is None
        assert kept.may_ask() == 0
    finally:
        holder.close()
    assert kept.get("a") == 1
