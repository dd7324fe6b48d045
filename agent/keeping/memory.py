"""The asker's memory over a watched database: what is forgotten is also gone from the files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agent.keeping.keeper import Keeper
from agent.keeping.store import KeptStore
from agent.memory import Memory
from agent.threads import ThreadStore
from tools.errors import StorageError


class KeptMemory(Memory):
    """Memory and threads of one database.

    Args:
        keeper: watches the database.
        threads: its conversations.

    Attributes:
        store: LangGraph's store, for the graph.
    """

    def __init__(self, keeper: Keeper, threads: ThreadStore) -> None:
        self.store = KeptStore(keeper)
        super().__init__(self.store)
        self._keeper, self._threads = keeper, threads

    async def forget_rig(self, name: str) -> None:
        """Forget hardware.

        Raises:
            BadValue: there is none of that name.
            StorageError: it is not gone from the files.
        """
        await super().forget_rig(name)
        with self._erasing():
            await self._keeper.database.scrub()

    async def forget_thread(self, thread_id: str) -> None:
        """Delete a conversation with what was planned in it.

        Raises:
            StorageError: it is not gone.
        """
        with self._erasing():
            await self.forget_plan(thread_id)
            await self._threads.adelete_thread(thread_id)

    async def erase(self) -> None:
        """Delete all hardware, preferences, plans and conversations.

        Raises:
            StorageError: not everything is gone.
        """
        with self._erasing():
            await self._keeper.database.ready()
            await self._keeper.database.erase()
        self.store.drop_unwritten()
        await self._threads.drop_unwritten()

    @contextmanager
    def _erasing(self) -> Iterator[None]:
        try:
            yield
        except self._keeper.database.errors as error:
            reason = self._keeper.database.reason(error).params.get("reason", str(error))
            raise StorageError("errors_agent.not_erased", reason=reason) from None
