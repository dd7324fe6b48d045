"""The checkpointer: conversations in the database, and in memory whole while the database fails."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from weakref import WeakValueDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.memory import InMemorySaver

from agent.events import ThreadInfo
from agent.keeping.database import BUSY_WAIT_S, serde
from agent.keeping.keeper import Keeper

_TITLE_CHARS = 80


_KNOWN_THREADS = 64
_GROWING = ("messages", "records")
"""Channels of the state that only grow from turn to turn."""


@dataclass(frozen=True, slots=True)
class _Base:
    """How much of a thread the database had when it failed: entries of each growing channel."""

    entries: tuple[int, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint | None) -> _Base:
        values = checkpoint["channel_values"] if checkpoint else {}
        return cls(tuple(len(values.get(channel, ())) for channel in _GROWING))

    def joined(self, there: Checkpoint | None, here: Checkpoint) -> Checkpoint:
        """Return the state in memory with what the database holds in front of what was said since."""
        before, after = there["channel_values"] if there else {}, here["channel_values"]
        values = {**before, **{k: v for k, v in after.items() if v is not None}}
        for channel, known in zip(_GROWING, self.entries, strict=True):
            values[channel] = [*before.get(channel, ()), *after.get(channel, ())[known:]]
        known_values = {k: v for k, v in values.items() if k in here["channel_versions"]}
        return cast(Checkpoint, {**here, "channel_values": known_values})


class ThreadStore(BaseCheckpointSaver[str]):
    """A checkpointer that goes on in memory when the database fails, and writes it down when it is back.

    Args:
        keeper: watches the database.
    """

    def __init__(self, keeper: Keeper) -> None:
        super().__init__(serde=serde())
        self._keeper = keeper
        self._memory = InMemorySaver(serde=serde())
        self._titles: dict[str, ThreadInfo] = {}
        self._last: OrderedDict[str, tuple[Checkpoint, CheckpointMetadata]] = OrderedDict()
        self._adrift: dict[str, _Base] = {}
        """Threads that go on in memory, and how far the database has them."""
        self._under_way: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        keeper.on_return(self._write_adrift)

    # --- a turn ---

    @asynccontextmanager
    async def turn(self, thread_id: str, wait_s: float = BUSY_WAIT_S) -> AsyncIterator[bool]:
        """Hold a thread's turn: here one after the other, against other programs too.

        Yields:
            Whether it is held; not where another program's turn did not end within ``wait_s`` seconds.
        """
        lock = self._locks.setdefault(thread_id, asyncio.Lock())
        async with lock, self._keeper.database.turn(thread_id, wait_s) as held:
            await self._keeper.retry()
            await self._return(thread_id)
            self._under_way.add(thread_id)
            try:
                yield held
            finally:
                self._under_way.discard(thread_id)

    def is_under_way(self, thread_id: str) -> bool:
        """Whether a turn of the thread is being answered here."""
        return thread_id in self._under_way

    async def close_turn(self, thread_id: str, title: str) -> None:
        """List the thread under its first words and drop the turn's intermediate checkpoints."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        kept = self._titles.get(thread_id)
        info = ThreadInfo(thread_id, kept.title if kept else " ".join(title.split())[:_TITLE_CHARS], now)
        if thread_id not in self._adrift:
            try:
                return await self._keeper.database.close_turn(info)
            except self._keeper.database.errors as error:
                self._keeper.fail(error)
        self._titles[thread_id] = info

    # --- LangGraph's checkpointer ---

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Number channel versions the way every saver understands."""
        return self._memory.get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a thread's checkpoint, from memory where the database failed for it."""
        thread, disk = _thread(config), self._keeper.database.saver
        if thread not in self._adrift and disk is not None and not self._keeper.dark:
            try:
                found = await disk.aget_tuple(config)
            except self._keeper.database.errors as error:
                self._keeper.fail(error, dark=True)
            else:
                if found:
                    self._note(thread, found.checkpoint, found.metadata)
                return found
        if thread not in self._adrift and self._keeper.dark:
            await self._set_adrift(thread)
        return await self._memory.aget_tuple(config)

    async def _set_adrift(self, thread: str) -> None:
        """Go on in memory, from what is known of the thread."""
        last = self._last.get(thread)
        self._adrift[thread] = _Base.of(last[0] if last else None)
        if last:
            await self._memory.aput(_place(thread), last[0], last[1], last[0]["channel_versions"])

    def _note(self, thread: str, checkpoint: Checkpoint, metadata: CheckpointMetadata) -> None:
        """Keep what the database holds of the threads that were used last."""
        self._last[thread] = (checkpoint, metadata)
        self._last.move_to_end(thread)
        while len(self._last) > _KNOWN_THREADS:
            self._last.popitem(last=False)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints, newest first."""
        disk = self._keeper.database.saver
        here = disk is None or (config is not None and _thread(config) in self._adrift)
        async for item in (self._memory if here or disk is None else disk).alist(
            config, filter=filter, before=before, limit=limit
        ):
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; in memory, whole, where the database refuses it."""
        thread, disk = _thread(config), self._keeper.database.saver
        if thread not in self._adrift:
            try:
                if disk is not None and not self._keeper.failed:
                    stored = await disk.aput(config, checkpoint, metadata, new_versions)
                    self._note(thread, checkpoint, metadata)
                    return stored
            except self._keeper.database.errors as error:
                self._keeper.fail(error)
            last = self._last.get(thread)
            self._adrift[thread] = _Base.of(last[0] if last else None)
            new_versions = checkpoint["channel_versions"]
        return await self._memory.aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a step's writes."""
        disk = self._keeper.database.saver
        if disk is not None and not self._keeper.failed and _thread(config) not in self._adrift:
            try:
                return await disk.aput_writes(config, writes, task_id, task_path)
            except self._keeper.database.errors as error:
                self._keeper.fail(error)
        await self._memory.aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Forget a thread wholly.

        Raises:
            Exception: one of the database's ``errors``: it is not gone.
        """
        for known in (self._titles, self._adrift, self._last):
            known.pop(thread_id, None)
        await self._memory.adelete_thread(thread_id)
        if self._keeper.database.saver is not None:
            await self._keeper.database.forget(thread_id)

    # --- the list of threads ---

    async def threads(self, limit: int = 50) -> tuple[ThreadInfo, ...]:
        """Return stored conversations, newest first."""
        found = dict(self._titles)
        if self._keeper.database.saver is not None:
            try:
                found = {t.thread_id: t for t in await self._keeper.database.threads(limit)} | found
            except self._keeper.database.errors as error:
                self._keeper.fail(error)
        return tuple(sorted(found.values(), key=lambda t: t.updated, reverse=True)[:limit])

    # --- when the database is back ---

    async def _return(self, thread: str) -> None:
        if thread in self._adrift and not self._keeper.failed:
            try:
                await self._write_down(thread)
            except self._keeper.database.errors as error:
                self._keeper.fail(error)

    async def _write_adrift(self) -> None:
        for thread in [t for t in self._adrift if t not in self._under_way]:
            await self._write_down(thread)

    async def _write_down(self, thread: str) -> None:
        """Move a thread from memory to the database, behind what others may have said in it since."""
        disk, place = self._keeper.database.saver, _place(thread)
        kept = await self._memory.aget_tuple(place)
        if kept is not None and disk is not None:
            there = await disk.aget_tuple(place)
            joined = self._adrift[thread].joined(there.checkpoint if there else None, kept.checkpoint)
            await disk.aput(place, joined, kept.metadata, joined["channel_versions"])
            info = self._titles.get(thread)
            if info:
                await self._keeper.database.close_turn(info)
        self._titles.pop(thread, None)
        self._adrift.pop(thread, None)
        await self._memory.adelete_thread(thread)

    async def drop_unwritten(self) -> None:
        """Forget what waits in memory."""
        for thread in list(self._adrift):
            await self._memory.adelete_thread(thread)
        for known in (self._titles, self._adrift, self._last):
            known.clear()


def _place(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def _thread(config: RunnableConfig) -> str:
    return str(config.get("configurable", {}).get("thread_id", ""))
