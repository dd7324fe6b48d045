"""What a database of conversations does, and how it is chosen."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import BaseStore

from agent.events import ThreadInfo
from tools.domain import Note
from tools.settings import Settings

BUSY_WAIT_S = 20.0
"""Seconds a turn waits for another program's turn of the same conversation before it is refused."""
POLL_S = 0.05


class Database(Protocol):
    """Keeps conversations and the asker's memory. Each method may raise one of ``errors``."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What can go wrong with it."""
        ...

    @property
    def saver(self) -> BaseCheckpointSaver[str] | None:
        """Keeps threads; None until ``ready`` could open it. It may be there for reading only."""
        ...

    @property
    def store(self) -> BaseStore | None:
        """LangGraph's cross-thread store; None until ``ready`` could open it."""
        ...

    async def ready(self, *, patient: bool = True) -> tuple[Note, ...]:
        """Open what is not open and make sure that it can be written; returns what the asker is to be told.

        Args:
            patient: wait some seconds for a lock; else only look.
        """
        ...

    def reason(self, error: Exception) -> Note:
        """Say in one sentence what went wrong, without any secret."""
        ...

    async def close_turn(self, info: ThreadInfo) -> None:
        """List a conversation and drop its intermediate checkpoints."""
        ...

    async def threads(self, limit: int) -> tuple[ThreadInfo, ...]:
        """Return stored conversations, newest first."""
        ...

    async def forget(self, thread_id: str) -> None:
        """Delete a conversation."""
        ...

    async def scrub(self) -> None:
        """Make sure that nothing of what was deleted is left in the files."""
        ...

    async def erase(self) -> None:
        """Delete every conversation and all that is remembered, also from the files."""
        ...

    def turn(self, thread_id: str, wait_s: float = BUSY_WAIT_S) -> AbstractAsyncContextManager[bool]:
        """Hold a conversation's turn against other programs; False where another one did not end in time."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


def serde() -> JsonPlusSerializer:
    """Only LangChain's messages and plain data are ever loaded, so a planted database can't run code.

    Source: the security note of langgraph-checkpoint-sqlite 3.1.
    """
    return JsonPlusSerializer(allowed_msgpack_modules=None)


def database_of(settings: Settings) -> Database:
    """Return the database of the settings, not opened yet: Postgres where its URL is set, else files."""
    if settings.database_url:
        from agent.keeping.postgres import PostgresDatabase

        return PostgresDatabase(settings.database_url)
    from agent.keeping.sqlite import SqliteDatabase

    return SqliteDatabase(settings.data_dir)
