"""The SQLite policy: a version, a back-up before a migration, a damaged file set aside, a newer one left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tools.storage import prepare_database


def version_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_new_file_gets_the_version(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.sqlite"
    assert prepare_database(path, version=3) == (True, ())
    assert version_of(path) == 3
    assert list(path.parent.iterdir()) == [path]


def test_older_file_is_backed_up_then_migrated_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    prepare_database(path, version=1)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE words (word)")
        connection.execute("INSERT INTO words VALUES ('kept')")
    steps = {
        1: lambda c: c.execute("ALTER TABLE words ADD COLUMN size"),
        2: lambda c: c.execute("UPDATE words SET size = 4"),
    }
    assert prepare_database(path, version=3, migrations=steps) == (True, ())  # pyright: ignore[reportArgumentType]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM words").fetchall() == [("kept", 4)]
    with sqlite3.connect(tmp_path / "a.sqlite.v1.bak") as copy:
        assert copy.execute("SELECT * FROM words").fetchall() == [("kept",)]


def test_damaged_file_is_set_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"no database at all" * 100)
    usable, notes = prepare_database(path, version=1)
    assert usable
    assert [n.code for n in notes] == ["errors_agent.store_damaged"]
    [aside] = tmp_path.glob("a.damaged-*.sqlite")
    assert aside.read_bytes().startswith(b"no database")
    assert version_of(path) == 1


def test_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    prepare_database(path, version=7)
    before = path.read_bytes()
    usable, notes = prepare_database(path, version=1)
    assert not usable
    assert [n.code for n in notes] == ["errors_agent.store_newer"]
    assert path.read_bytes() == before
