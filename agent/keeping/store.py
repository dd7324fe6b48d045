"""LangGraph's cross-thread store over a database that may fail: reads go on, writes wait in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, PutOp, Result, SearchItem, SearchOp

from agent.keeping.keeper import Keeper

_Key = tuple[tuple[str, ...], str]


class KeptStore(BaseStore):
    """A store that always answers; what could not be written is seen by reads and written later.

    Args:
        keeper: watches the database that holds the real store.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._unwritten: dict[_Key, PutOp] = {}
        keeper.on_return(self._write)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do the operations; never call it in the event loop, which does the work."""
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do the operations, each against the database or, where that fails, in memory."""
        return [await self._one(op) for op in ops]

    async def _one(self, op: Op) -> Result:
        if isinstance(op, PutOp):
            await self._put(op)
            return None
        found = await self._read(op)
        if isinstance(op, GetOp):
            waiting = self._unwritten.get((op.namespace, op.key))
            return _item(waiting) if waiting else found
        return self._with_waiting(op, found) if isinstance(op, SearchOp) else found

    async def _put(self, op: PutOp) -> None:
        store = self._keeper.database.store
        if store is not None and not self._keeper.failed:
            try:
                await store.abatch([op])
                return
            except self._keeper.database.errors as error:
                self._keeper.fail(error)
        self._unwritten[op.namespace, op.key] = op

    async def _read(self, op: Op) -> Any:
        store = self._keeper.database.store
        if store is not None and not self._keeper.dark:
            try:
                return (await store.abatch([op]))[0]
            except self._keeper.database.errors as error:
                self._keeper.fail(error, dark=True)
        return [] if isinstance(op, (SearchOp, ListNamespacesOp)) else None

    def _with_waiting(self, op: SearchOp, found: list[SearchItem]) -> list[SearchItem]:
        depth = len(op.namespace_prefix)
        new = {k: put for k, put in self._unwritten.items() if k[0][:depth] == op.namespace_prefix}
        kept = [item for item in found if (item.namespace, item.key) not in new]
        return kept + [SearchItem(**_fields(put)) for put in new.values() if put.value is not None]

    async def _write(self) -> None:
        store = self._keeper.database.store
        for key, op in list(self._unwritten.items()):
            if store is not None:
                await store.abatch([op])
                if self._unwritten.get(key) is op:
                    del self._unwritten[key]

    def drop_unwritten(self) -> None:
        """Forget what waits in memory."""
        self._unwritten.clear()


def _fields(put: PutOp) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "value": put.value or {},
        "key": put.key,
        "namespace": put.namespace,
        "created_at": now,
        "updated_at": now,
    }


def _item(put: PutOp) -> Item | None:
    return None if put.value is None else Item(**_fields(put))
