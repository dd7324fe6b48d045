"""One Postgres for all: several copies of the app share conversations, memory, and whose turn it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from agent.events import ThreadInfo
from agent.keeping.database import BUSY_WAIT_S, POLL_S, serde
from tools.domain import Note, note
from tools.errors import StorageError

CONNECT_S = 5
"""Seconds until a server that says nothing counts as unreachable."""
_LOOK_S = 0.5
MAX_CONNECTIONS = 8
"""Connections one copy of the app holds at most, beside that of the turns."""
_SETTING_UP = "rigfit set-up"
_INDEX = "CREATE TABLE IF NOT EXISTS rigfit_threads (thread_id TEXT PRIMARY KEY, title TEXT, updated TEXT)"
_LIST = (
    "INSERT INTO rigfit_threads VALUES (%s, %s, %s) ON CONFLICT (thread_id) DO UPDATE SET updated = excluded.updated"
)
_LISTED = "SELECT thread_id, title, updated FROM rigfit_threads ORDER BY updated DESC LIMIT %s"
_ERASE = "TRUNCATE checkpoints, checkpoint_blobs, checkpoint_writes, rigfit_threads, store"
"""A truncated table gets a new file, and the old one is deleted: nothing is left of the rows."""
_TAKE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS taken"
_GIVE = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


class PostgresDatabase:
    """Conversations and memory in one Postgres database, each copy of the app with a few connections.

    Args:
        url: as libpq reads it; its password is shown nowhere.

    Attributes:
        errors: what can go wrong with it.
    """

    def __init__(self, url: str) -> None:
        self.errors: tuple[type[Exception], ...] = (*_driver_errors(), OSError, StorageError)
        self._url = url
        self._pool: Any = None
        self._turns: Any = None
        self._turns_lock = asyncio.Lock()
        self.saver: BaseCheckpointSaver[str] | None = None
        self.store: BaseStore | None = None

    def reason(self, error: Exception) -> Note:
        """Say in one sentence what went wrong, without the address and its password."""
        if isinstance(error, StorageError):
            return Note(error.code, error.params)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return note("errors_agent.store_failed", reason=lines[0].replace(self._password(), "***"))

    def _password(self) -> str:
        from psycopg.conninfo import conninfo_to_dict

        return str(conninfo_to_dict(self._url).get("password") or "\0")

    async def ready(self, *, patient: bool = True) -> tuple[Note, ...]:
        """Connect and make the tables where there are none.

        Raises:
            StorageError: the address can't be read.
            psycopg.Error: the server can't be reached or refuses.
        """
        del patient  # a server that refuses does so at once
        if self._pool is not None and not await self._is_alive():
            pool, self._pool = self._pool, None
            await pool.close()  # its own reconnecting waits longer and longer
        if self._pool is None:
            await self._open()
        return ()

    async def _is_alive(self) -> bool:
        try:
            async with self._pool.connection(timeout=_LOOK_S) as connection:
                await connection.execute("SELECT 1")
        except self.errors:
            return False
        return True

    async def _open(self) -> None:
        if not _driver_errors():
            raise StorageError("errors_agent.no_postgres_extra")
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from langgraph.store.postgres.aio import AsyncPostgresStore
        from psycopg_pool import AsyncConnectionPool

        turns = self._turns if self._turns is not None and not self._turns.closed else await self._connect()
        pool: Any = AsyncConnectionPool(
            self._url, open=False, min_size=1, max_size=MAX_CONNECTIONS, timeout=CONNECT_S, kwargs=_options(),
            check=AsyncConnectionPool.check_connection, name="rigfit",
        )  # fmt: skip
        try:
            await pool.open(wait=True, timeout=CONNECT_S)
            saver, store = AsyncPostgresSaver(pool, serde=serde()), AsyncPostgresStore(pool)
            async with _advisory(turns, _SETTING_UP, BUSY_WAIT_S):
                await saver.setup()
                await store.setup()
                await turns.execute(_INDEX)
        except self.errors:
            await pool.close()
            await turns.close()
            raise
        self._pool, self._turns, self.saver, self.store = pool, turns, saver, store

    async def _connect(self) -> Any:
        """Connect once.

        Raises:
            StorageError: the address can't be read; it is not repeated, for it may hold a password.
        """
        from psycopg import AsyncConnection, ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(self._url)
        except ProgrammingError:
            raise StorageError("errors_agent.bad_database_url") from None
        return await AsyncConnection.connect(self._url, **_options())

    async def close_turn(self, info: ThreadInfo) -> None:
        """List a conversation and drop its intermediate checkpoints."""
        await self._run(_LIST, (info.thread_id, info.title, info.updated))
        if self.saver is not None:
            await self.saver.aprune([info.thread_id])

    async def _run(self, sql: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        if self._pool is None:
            raise StorageError("errors_agent.store_failed", reason="not connected")
        async with self._pool.connection() as connection:
            done = await connection.execute(sql, values)
            return await done.fetchall() if done.description else []

    async def threads(self, limit: int) -> tuple[ThreadInfo, ...]:
        """Return stored conversations, newest first."""
        return tuple(
            ThreadInfo(row["thread_id"], row["title"], row["updated"]) for row in await self._run(_LISTED, (limit,))
        )

    async def forget(self, thread_id: str) -> None:
        """Delete a conversation."""
        if self.saver is not None:
            await self.saver.adelete_thread(thread_id)
        await self._run("DELETE FROM rigfit_threads WHERE thread_id = %s", (thread_id,))

    async def scrub(self) -> None:
        """Let the server reuse the room of deleted rows."""
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "rigfit_threads", "store"):
            await self._run(f"VACUUM {table}")

    async def erase(self) -> None:
        """Delete all, with the tables' files."""
        await self._run(_ERASE)

    @asynccontextmanager
    async def turn(self, thread_id: str, wait_s: float = BUSY_WAIT_S) -> AsyncIterator[bool]:
        """Hold a conversation's turn against other copies of the app; the server gives it back when one dies."""
        try:
            async with self._turns_lock:
                if not _driver_errors():
                    raise StorageError("errors_agent.no_postgres_extra")
                if self._turns is None or self._turns.closed:
                    self._turns = await self._connect()
            connection = self._turns
        except self.errors:
            yield True  # without a server nothing is shared
            return
        async with _advisory(connection, f"rigfit thread {thread_id}", wait_s) as held:
            yield held

    async def close(self) -> None:
        """Give the connections back."""
        pool, turns = self._pool, self._turns
        self._pool = self._turns = self.saver = self.store = None
        with suppress(*self.errors):
            if turns is not None:
                await turns.close()
            if pool is not None:
                await pool.close()


def _driver_errors() -> tuple[type[Exception], ...]:
    """Return the driver's errors; none where the extra ``postgres`` is not installed."""
    if not find_spec("psycopg") or not find_spec("langgraph.checkpoint.postgres"):
        return ()
    import psycopg

    return (psycopg.Error,)


def _options() -> dict[str, Any]:
    """Return what LangGraph's saver and store need of a connection (langgraph-checkpoint-postgres 3.2)."""
    from psycopg.rows import dict_row

    return {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row, "connect_timeout": CONNECT_S}


@asynccontextmanager
async def _advisory(connection: Any, key: str, wait_s: float) -> AsyncIterator[bool]:
    """Hold a lock of the server's by asking for it again and again.

    Waiting inside the server would hold a snapshot, and the other's ``CREATE INDEX CONCURRENTLY`` waits for those.
    """
    import psycopg

    held = await _taken(connection, key, wait_s)
    try:
        yield held
    finally:
        if held:
            with suppress(psycopg.Error):
                await connection.execute(_GIVE, (key,))


async def _taken(connection: Any, key: str, wait_s: float) -> bool:
    import psycopg

    until = time.monotonic() + wait_s
    while True:
        try:
            found = await (await connection.execute(_TAKE, (key,))).fetchone()
        except psycopg.Error:
            return True  # a lost connection lost its locks too; what is stored then fails by itself
        if found["taken"]:
            return True
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(POLL_S)
