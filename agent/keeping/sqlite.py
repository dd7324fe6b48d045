"""Two SQLite files: the conversations and what is remembered of the asker. What is deleted is overwritten."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import aiosqlite
from filelock import FileLock, Timeout
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.sqlite.aio import AsyncSqliteStore

from agent.events import ThreadInfo
from agent.keeping.database import BUSY_WAIT_S, POLL_S, serde
from tools.domain import Note, note
from tools.errors import StorageError
from tools.storage import prepare_database

SCHEMA_VERSION = 1
LOCK_WAIT_S = 2.0
"""Seconds a write waits while another program holds the file's lock."""
_LOOK_MS = 50
_INDEX = "CREATE TABLE IF NOT EXISTS rigfit_threads (thread_id TEXT PRIMARY KEY, title TEXT, updated TEXT)"
_LIST = "INSERT INTO rigfit_threads VALUES (?, ?, ?) ON CONFLICT (thread_id) DO UPDATE SET updated = excluded.updated"
_KEEP_LAST = (
    "DELETE FROM checkpoints WHERE thread_id = ?1 AND checkpoint_id <> "
    "(SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?1)",
    "DELETE FROM writes WHERE thread_id = ?1 AND checkpoint_id NOT IN "
    "(SELECT checkpoint_id FROM checkpoints WHERE thread_id = ?1)",
)
_KNOWN = {
    "is locked": "errors_agent.store_locked",
    "readonly": "errors_agent.store_read_only",
    "disk is full": "errors_agent.store_full",
    "disk I/O error": "errors_agent.store_full",
}
"""What SQLite says (https://www.sqlite.org/rescode.html) and what that is to a person."""
_ASIDE = ("{stem}.damaged-*", "{stem}.sqlite.v*.bak")
"""Names of the copies that ``tools.storage`` makes."""


class SqliteDatabase:
    """Conversations in ``threads.sqlite`` and memory in ``remembered.sqlite`` of one folder.

    Args:
        folder: made where it is missing.
    """

    errors = (sqlite3.Error, OSError, StorageError)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads: aiosqlite.Connection | None = None
        self._memory: aiosqlite.Connection | None = None
        self._read_only = False
        self.saver: AsyncSqliteSaver | None = None
        self.store: AsyncSqliteStore | None = None

    def reason(self, error: Exception) -> Note:
        """Say in one sentence what went wrong."""
        said = note(error.code, **error.params) if isinstance(error, StorageError) else None
        reason = str(said.params.get("reason", "")) if said else str(error)
        known = next((code for words, code in _KNOWN.items() if words in reason), None)
        return Note(known) if known else said or note("errors_agent.store_failed", reason=reason)

    async def ready(self, *, patient: bool = True) -> tuple[Note, ...]:
        """Open what is not open and make sure that both files can be written.

        Raises:
            sqlite3.Error: they can't be.
            StorageError: they can't be, or are of a newer Rigfit.
        """
        if self._read_only:
            await self.close()
        notes: list[Note] = []
        if self._threads is None:
            notes += await self._open_threads()
        if self._memory is None:
            notes += await self._open_memory()
        for connection, lock in ((self._threads, self.saver), (self._memory, self.store)):
            if connection is not None and lock is not None:
                async with lock.lock:
                    await _check_writable(connection, LOCK_WAIT_S if patient else 0.0)
        return tuple(notes)

    async def _open_threads(self) -> tuple[Note, ...]:
        path = self._folder / "threads.sqlite"
        try:
            notes = await _prepared(path)
            connection = await _connect(path)
            try:
                saver = AsyncSqliteSaver(connection, serde=serde())
                await saver.setup()
                await connection.execute(_INDEX)
                await connection.commit()
            except self.errors:
                await connection.close()
                raise
        except self.errors:
            await self._open_for_reading(path)
            raise
        self._threads, self.saver = connection, saver
        return notes

    async def _open_memory(self) -> tuple[Note, ...]:
        path = self._folder / "remembered.sqlite"
        notes = await _prepared(path)
        connection = await _connect(path, own_transactions=True)
        try:
            await connection.execute("PRAGMA journal_mode=WAL")
            store = AsyncSqliteStore(connection)
            await store.setup()
        except self.errors:
            await connection.close()
            raise
        self._memory, self.store = connection, store
        return notes

    async def _open_for_reading(self, path: Path) -> None:
        """Open a file that we may not write, so that what was said before is still known."""
        if not path.is_file() or (_may_write(path) and _may_write(path.parent)):
            return
        connection = await aiosqlite.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)
        try:
            await connection.execute("SELECT 1 FROM rigfit_threads LIMIT 1")
        except sqlite3.Error:
            await connection.close()
            return
        self._read_only, self._threads = True, connection
        self.saver = AsyncSqliteSaver(connection, serde=serde())
        self.saver.is_setup = True

    async def close_turn(self, info: ThreadInfo) -> None:
        """List a conversation and drop its intermediate checkpoints."""
        keep = tuple((sql, (info.thread_id,)) for sql in _KEEP_LAST)
        await self._write((_LIST, (info.thread_id, info.title, info.updated)), *keep)

    async def _write(self, *statements: tuple[str, tuple[str, ...]]) -> None:
        saver = self._open_saver()
        async with saver.lock:
            try:
                for sql, values in statements:
                    await saver.conn.execute(sql, values)
                await saver.conn.commit()
            except sqlite3.Error:
                await saver.conn.rollback()
                raise

    def _open_saver(self) -> AsyncSqliteSaver:
        if self.saver is None:
            raise StorageError("errors_agent.store_failed", reason="not open")
        return self.saver

    async def threads(self, limit: int) -> tuple[ThreadInfo, ...]:
        """Return stored conversations, newest first."""
        sql = "SELECT thread_id, title, updated FROM rigfit_threads ORDER BY updated DESC LIMIT ?"
        async with self._open_saver().conn.execute(sql, (limit,)) as rows:
            return tuple([ThreadInfo(*row) async for row in rows])

    async def forget(self, thread_id: str) -> None:
        """Delete a conversation."""
        await self._open_saver().adelete_thread(thread_id)
        await self._write(("DELETE FROM rigfit_threads WHERE thread_id = ?", (thread_id,)))
        await self.scrub()
        self._lock_file(thread_id).unlink(missing_ok=True)

    async def scrub(self) -> None:
        """Empty the write-ahead logs, in which deleted rows stay until then; in the files they are overwritten."""
        for connection, lock in ((self._threads, self.saver), (self._memory, self.store)):
            if connection is not None and lock is not None:
                async with lock.lock:
                    await _run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")

    async def erase(self) -> None:
        """Delete every row of both files, shrink them, and delete the copies that were set aside."""
        for connection, lock in ((self._threads, self.saver), (self._memory, self.store)):
            if connection is None or lock is None:
                continue
            async with lock.lock:
                for table in await _tables(connection):
                    await connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names from the schema
                await connection.commit()
                await _run(connection, "VACUUM")
                await _run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        for stem in ("threads", "remembered"):
            for pattern in _ASIDE:
                for copy in self._folder.glob(pattern.format(stem=stem)):
                    copy.unlink(missing_ok=True)
        for lock_file in (self._folder / "turns").glob("*.lock"):
            lock_file.unlink(missing_ok=True)

    def _lock_file(self, thread_id: str) -> Path:
        return self._folder / "turns" / (hashlib.sha256(thread_id.encode()).hexdigest()[:32] + ".lock")

    @asynccontextmanager
    async def turn(self, thread_id: str, wait_s: float = BUSY_WAIT_S) -> AsyncIterator[bool]:
        """Hold a conversation's turn against other programs on this machine, until they or this one end."""
        path = self._lock_file(thread_id)
        lock: FileLock | None = None
        with suppress(OSError):  # where no lock can be made nothing can be written either
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False)
        held = await _acquired(lock, wait_s) if lock else True
        try:
            yield held
        finally:
            if lock:
                lock.release()

    async def close(self) -> None:
        """Close both files."""
        open_now = [c for c in (self._threads, self._memory) if c is not None]
        self._threads = self._memory = self.saver = self.store = None
        self._read_only = False
        for connection in open_now:
            with suppress(sqlite3.Error):
                await connection.close()


async def _acquired(lock: FileLock, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while True:
        try:
            lock.acquire(blocking=False)
            return True
        except Timeout:
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(POLL_S)
        except (OSError, NotImplementedError):
            return True


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


async def _prepared(path: Path) -> tuple[Note, ...]:
    usable, notes = await asyncio.to_thread(prepare_database, path, version=SCHEMA_VERSION)
    if not usable:
        raise StorageError(notes[0].code, **notes[0].params)
    return notes


async def _connect(path: Path, *, own_transactions: bool = False) -> aiosqlite.Connection:
    """Open a file; ``own_transactions`` where whoever uses the connection begins and commits by itself."""
    level = None if own_transactions else "DEFERRED"
    connection = await aiosqlite.connect(path, timeout=LOCK_WAIT_S, isolation_level=level)
    await connection.execute("PRAGMA synchronous=NORMAL")
    await connection.execute("PRAGMA secure_delete=ON")
    return connection


async def _check_writable(connection: aiosqlite.Connection, wait_s: float) -> None:
    """End a transaction that failed, then take the write lock once.

    Raises:
        sqlite3.Error: it can't be had.
    """
    await connection.rollback()
    await connection.execute(f"PRAGMA busy_timeout = {max(_LOOK_MS, int(wait_s * 1000)):d}")
    try:
        await connection.execute("BEGIN IMMEDIATE")
        await connection.rollback()
    finally:
        await connection.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT_S * 1000):d}")


async def _tables(connection: aiosqlite.Connection) -> list[str]:
    """Return the tables that hold what people said; how far a schema has come stays."""
    async with connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") as rows:
        return [row[0] async for row in rows if not row[0].startswith("sqlite_") and not row[0].endswith("migrations")]


async def _run(connection: aiosqlite.Connection, sql: str) -> None:
    async with connection.execute(sql) as rows:
        await rows.fetchall()
