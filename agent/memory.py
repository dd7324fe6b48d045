"""What is remembered of the asker across conversations: rigs by name, preferences, and earlier plans.

It lies in LangGraph's store under one owner, for a Rigfit has one: whoever runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import BaseStore

from tools.errors import BadValue

RIGS = ("rigfit", "rigs")
PREFERENCES = ("rigfit", "preferences")
PLANS = ("rigfit", "plans")
MAX_RIGS = 20
MAX_NAME_CHARS = 40
MAX_PLANS = 100
"""Older plans are forgotten when there are more."""
LIKED = ("engine", "context", "precision", "language")
"""What can be preferred."""


@dataclass(frozen=True, slots=True)
class SavedRig:
    """Hardware with a name.

    Attributes:
        rig: as ``rig_json``.
        used: ISO time it was last planned for or saved.
    """

    name: str
    rig: Mapping[str, Any]
    used: str


def stamp() -> str:
    """Return the time, so that of two the later sorts last."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Memory:
    """The asker's memory.

    Args:
        store: LangGraph's store, which answers also where its database fails.
    """

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    async def rigs(self) -> tuple[SavedRig, ...]:
        """Return the rigs, the one used last first."""
        found = await self._store.asearch(RIGS, limit=MAX_RIGS)
        rigs = [SavedRig(i.value["name"], i.value["rig"], i.value["used"]) for i in found]
        return tuple(sorted(rigs, key=lambda one: one.used, reverse=True))

    async def save_rig(self, name: str, rig: Mapping[str, Any]) -> str:
        """Remember hardware under a name; one of that name is replaced.

        Returns:
            The name as it is kept.

        Raises:
            BadValue: the name is empty or too long, or there are too many rigs.
        """
        kept = clean_name(name)
        known = {one.name.casefold() for one in await self.rigs()}
        if kept.casefold() not in known and len(known) >= MAX_RIGS:
            raise BadValue("errors_agent.too_many_rigs", limit=MAX_RIGS)
        value = {"name": kept, "rig": {**rig, "source": "remembered"}, "used": stamp()}
        await self._store.aput(RIGS, kept.casefold(), value)
        return kept

    async def use_rig(self, one: SavedRig) -> None:
        """Note that a rig was planned for now."""
        value = {"name": one.name, "rig": dict(one.rig), "used": stamp()}
        await self._store.aput(RIGS, one.name.casefold(), value)

    async def forget_rig(self, name: str) -> None:
        """Forget hardware.

        Raises:
            BadValue: there is none of that name.
        """
        known = {one.name.casefold(): one.name for one in await self.rigs()}
        key = name.strip().casefold()
        if key not in known:
            if not known:
                raise BadValue("errors_agent.no_rigs")
            raise BadValue("errors_agent.no_such_rig", name=name, names=", ".join(known.values()))
        await self._store.adelete(RIGS, key)

    async def preferences(self) -> dict[str, Any]:
        """Return what is preferred, by the words of ``LIKED``."""
        return {i.key: i.value["value"] for i in await self._store.asearch(PREFERENCES, limit=len(LIKED))}

    async def prefer(self, wishes: Mapping[str, Any]) -> None:
        """Remember preferences; None forgets one."""
        for key in LIKED:
            if key in wishes:
                value = wishes[key]
                await self._store.aput(PREFERENCES, key, {"value": value}) if value is not None else (
                    await self._store.adelete(PREFERENCES, key)
                )

    async def add_plan(self, thread_id: str, plan: Mapping[str, Any]) -> None:
        """Remember a conversation's last plan; of too many the oldest goes."""
        await self._store.aput(PLANS, thread_id, {**plan, "thread": thread_id, "at": stamp()})
        for old in (await self.plans())[MAX_PLANS:]:
            await self._store.adelete(PLANS, old["thread"])

    async def forget_plan(self, thread_id: str) -> None:
        """Forget what was planned in a conversation."""
        await self._store.adelete(PLANS, thread_id)

    async def plans(self) -> list[dict[str, Any]]:
        """Return earlier plans, newest first."""
        found = await self._store.asearch(PLANS, limit=MAX_PLANS + 10)
        return sorted((dict(i.value) for i in found), key=lambda plan: plan["at"], reverse=True)

    async def export(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        rigs = [{"name": one.name, "rig": dict(one.rig), "used": one.used} for one in await self.rigs()]
        return {"rigs": rigs, "preferences": await self.preferences(), "plans": await self.plans()}


def clean_name(name: str) -> str:
    """Return a name on one line without what can't be printed.

    Raises:
        BadValue: nothing is left of it, or too much.
    """
    kept = " ".join("".join(c if c.isprintable() else " " for c in name).split()).strip("«»\"'`“”„ .,:;")
    if not 1 <= len(kept) <= MAX_NAME_CHARS:
        raise BadValue("errors_agent.bad_rig_name", limit=MAX_NAME_CHARS)
    return kept
