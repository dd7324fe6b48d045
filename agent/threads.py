"""Where conversations are kept: one SQLite file, set aside when damaged, replaced by memory when the disk fails."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent.events import ThreadInfo
from tools.domain import Note, note
from tools.storage import prepare_database

SCHEMA_VERSION = 1
_INDEX = "CREATE TABLE IF NOT EXISTS rigfit_threads (thread_id TEXT PRIMARY KEY, title TEXT, updated TEXT)"
_LIST = "INSERT INTO rigfit_threads VALUES (?, ?, ?) ON CONFLICT (thread_id) DO UPDATE SET updated = excluded.updated"
_KEEP_LAST = (
    "DELETE FROM checkpoints WHERE thread_id = ?1 AND checkpoint_id <> "
    "(SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?1)",
    "DELETE FROM writes WHERE thread_id = ?1 AND checkpoint_id NOT IN "
    "(SELECT checkpoint_id FROM checkpoints WHERE thread_id = ?1)",
)
_TITLE_CHARS = 80


def _serde() -> JsonPlusSerializer:
    """Only LangChain's messages and plain data are ever loaded, so a planted database can't run code.

    Source: the security note of langgraph-checkpoint-sqlite 3.1.
    """
    return JsonPlusSerializer(allowed_msgpack_modules=None)


class ThreadStore(BaseCheckpointSaver[str]):
    """A checkpointer on SQLite that goes on in memory when SQLite fails, and says so once.

    Attributes:
        notices: what went wrong with the store so far, for the asker; ``take_notices`` empties it.
    """

    def __init__(self, connection: aiosqlite.Connection | None, notices: Sequence[Note] = ()) -> None:
        super().__init__(serde=_serde())
        self._disk = AsyncSqliteSaver(connection, serde=_serde()) if connection else None
        self._memory = InMemorySaver(serde=_serde())
        self._in_memory: set[str] = set()
        self._titles: dict[str, ThreadInfo] = {}
        self._failed = connection is None
        self._notices = list(notices)

    def take_notices(self) -> tuple[Note, ...]:
        """Return what is to be told about the store, once."""
        taken = tuple(self._notices)
        self._notices.clear()
        return taken

    def _fail(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            self._notices.append(note("errors_agent.store_failed", reason=str(error)))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Number channel versions the way both savers understand."""
        return (self._disk or self._memory).get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a thread's checkpoint, from memory where the disk failed for it."""
        if self._disk is None or _thread(config) in self._in_memory:
            return await self._memory.aget_tuple(config)
        try:
            return await self._disk.aget_tuple(config)
        except sqlite3.Error as error:
            self._fail(error)
            return None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints, newest first."""
        saver = self._memory if self._disk is None or (config and _thread(config) in self._in_memory) else self._disk
        async for item in saver.alist(config, filter=filter, before=before, limit=limit):
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; in memory, whole, where the disk refuses it."""
        if self._disk is not None and _thread(config) not in self._in_memory:
            try:
                return await self._disk.aput(config, checkpoint, metadata, new_versions)
            except sqlite3.Error as error:
                self._fail(error)
                self._in_memory.add(_thread(config))
                new_versions = checkpoint["channel_versions"]
        return await self._memory.aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a step's writes."""
        if self._disk is not None and _thread(config) not in self._in_memory:
            try:
                return await self._disk.aput_writes(config, writes, task_id, task_path)
            except sqlite3.Error as error:
                self._fail(error)
        await self._memory.aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Forget a thread wholly."""
        self._titles.pop(thread_id, None)
        await self._memory.adelete_thread(thread_id)
        await self._write("DELETE FROM rigfit_threads WHERE thread_id = ?", (thread_id,))
        if self._disk is not None:
            try:
                await self._disk.adelete_thread(thread_id)
            except sqlite3.Error as error:
                self._fail(error)

    async def close_turn(self, thread_id: str, title: str) -> None:
        """List the thread under its first words and drop the turn's intermediate checkpoints."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        kept = self._titles.get(thread_id)
        info = ThreadInfo(thread_id, kept.title if kept else " ".join(title.split())[:_TITLE_CHARS], now)
        self._titles[thread_id] = info
        if thread_id in self._in_memory:
            return
        await self._write(
            _LIST,
            (thread_id, info.title, now),
            *((sql, (thread_id,)) for sql in _KEEP_LAST),
        )

    async def _write(self, sql: str, values: tuple[Any, ...], *more: tuple[str, tuple[Any, ...]]) -> None:
        if self._disk is None:
            return
        try:
            async with self._disk.lock:
                for statement, params in ((sql, values), *more):
                    await self._disk.conn.execute(statement, params)
                await self._disk.conn.commit()
        except sqlite3.Error as error:
            self._fail(error)

    async def threads(self, limit: int = 50) -> tuple[ThreadInfo, ...]:
        """Return stored conversations, newest first."""
        found = dict(self._titles)
        if self._disk is not None:
            try:
                async with self._disk.conn.execute(
                    "SELECT thread_id, title, updated FROM rigfit_threads ORDER BY updated DESC LIMIT ?", (limit,)
                ) as rows:
                    found.update({r[0]: ThreadInfo(r[0], r[1], r[2]) async for r in rows})
            except sqlite3.Error as error:
                self._fail(error)
        return tuple(sorted(found.values(), key=lambda t: t.updated, reverse=True)[:limit])


def _thread(config: RunnableConfig) -> str:
    return str(config.get("configurable", {}).get("thread_id", ""))


@asynccontextmanager
async def open_threads(path: Path) -> AsyncIterator[ThreadStore]:
    """Open the conversations at ``path``; never fails: what can't be opened is set aside or replaced by memory."""
    usable, notices = prepare_database(path, version=SCHEMA_VERSION)
    if not usable:
        yield ThreadStore(None, notices)
        return
    try:
        connection = await aiosqlite.connect(path, timeout=5.0)
    except (sqlite3.Error, OSError) as error:
        yield ThreadStore(None, [*notices, note("errors_agent.store_failed", reason=str(error))])
        return
    try:
        try:
            await connection.execute("PRAGMA synchronous=NORMAL")
            await connection.execute(_INDEX)
            await connection.commit()
        except sqlite3.Error as error:
            notices = (*notices, note("errors_agent.store_failed", reason=str(error)))
            yield ThreadStore(None, notices)
            return
        yield ThreadStore(connection, notices)
    finally:
        await connection.close()
