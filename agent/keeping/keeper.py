"""Watches one database: what can't be written is kept in memory, said once, and written as soon as that goes again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from agent.keeping.database import Database
from tools.domain import Note, note


class Keeper:
    """The state of one database, shared by the threads and the memory that live in it.

    Attributes:
        database: what is watched.
        failed: it can't be written now; everything new stays in memory.
        dark: it can't even be read now.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.failed = self.dark = False
        self._notices: list[Note] = []
        self._waiting: list[Callable[[], Awaitable[None]]] = []

    async def open(self) -> None:
        """Open the database; a failure is noted and no error."""
        try:
            self._notices += await self.database.ready()
        except self.database.errors as error:
            self.fail(error)

    def on_return(self, write: Callable[[], Awaitable[None]]) -> None:
        """Remember who has something to write once the database can be written again."""
        self._waiting.append(write)

    def fail(self, error: Exception, *, dark: bool = False) -> None:
        """Note that the database can't be written, or not even read; the first failure is told."""
        self.dark = self.dark or dark
        if not self.failed:
            self.failed = True
            self._notices.append(self.database.reason(error))

    async def retry(self) -> None:
        """Write what waits in memory where the database can be written again, and tell that it was."""
        if not self.failed:
            return
        try:
            self._notices += await self.database.ready(patient=False)
            self.dark = False
            await self._write()
        except self.database.errors:
            return
        self.failed = False
        self._notices.append(note("errors_agent.store_back"))

    def take_notices(self) -> Sequence[Note]:
        """Return what is to be told, once."""
        taken = tuple(self._notices)
        self._notices.clear()
        return taken

    async def _write(self) -> None:
        for write in self._waiting:
            await write()

    async def close(self) -> None:
        """Write what still waits, if that goes now, and close."""
        with suppress(*self.database.errors):
            if self.failed:
                await self.database.ready(patient=False)
            await self._write()
        await self.database.close()
