"""One policy for Rigfit's SQLite files: a schema version, a back-up before a migration, a damaged file set aside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tools.domain import Note, note

Migration = Callable[[sqlite3.Connection], None]


def prepare_database(
    path: Path, *, version: int, migrations: Mapping[int, Migration] | None = None
) -> tuple[bool, tuple[Note, ...]]:
    """Make a database ready to be opened at ``version``.

    A damaged file is renamed (with its ``-wal`` and ``-shm``) and a new one begins. An older one is copied to
    ``<name>.v<N>.bak`` and migrated. A newer one is left alone.

    Args:
        path: the file; its folder is made.
        version: the schema version this program writes (``PRAGMA user_version``).
        migrations: by the version they start from; each brings the schema one version further.

    Returns:
        Whether the file can be used, and what the user is to be told.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _version(path)
    except sqlite3.OperationalError as error:
        return False, (note("errors_agent.store_failed", reason=str(error)),)
    except sqlite3.DatabaseError:
        return _set_aside(path, version)
    except OSError as error:
        return False, (note("errors_agent.store_failed", reason=error.strerror or str(error)),)
    if found > version:
        return False, (note("errors_agent.store_newer", file=path.name),)
    try:
        _bring_forward(path, found, version, migrations or {})
    except (sqlite3.Error, OSError) as error:
        return False, (note("errors_agent.store_failed", reason=str(error)),)
    return True, ()


def _version(path: Path) -> int:
    """Return the file's schema version, -1 for a new file. Raises ``sqlite3.DatabaseError`` for a damaged one."""
    if not path.exists() or path.stat().st_size == 0:
        return -1
    connection = sqlite3.connect(path, timeout=5.0)
    try:
        state = connection.execute("PRAGMA quick_check(1)").fetchone()
        if not state or state[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def _set_aside(path: Path, version: int) -> tuple[bool, tuple[Note, ...]]:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    try:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        _bring_forward(path, -1, version, {})
    except (sqlite3.Error, OSError) as error:
        return False, (note("errors_agent.store_failed", reason=str(error)),)
    return True, (note("errors_agent.store_damaged", file=aside.name),)


def _bring_forward(path: Path, found: int, version: int, migrations: Mapping[int, Migration]) -> None:
    if found == version:
        return
    connection = sqlite3.connect(path, timeout=5.0)
    try:
        if found >= 0:
            copy = sqlite3.connect(path.with_name(f"{path.name}.v{found}.bak"))
            with copy:
                connection.backup(copy)
            copy.close()
        with connection:
            for step in range(max(found, 0), version):
                if step in migrations:
                    migrations[step](connection)
            connection.execute(f"PRAGMA user_version = {version:d}")
    finally:
        connection.close()
