"""One start at a time on a card: who came first goes first, and an engine takes all its cards at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager


class CardQueue:
    """Cards by name, and who waits for them.

    Who waits is let in once all its cards are free and nobody who came earlier wants any of them: nobody is overtaken
    on a card, so nobody starves, and nobody holds one card while it waits for another, so nobody waits in a ring.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._waiting: list[tuple[frozenset[str], asyncio.Future[None]]] = []

    @asynccontextmanager
    async def held(self, cards: Collection[str]) -> AsyncIterator[None]:
        """Hold cards inside the block."""
        wanted = frozenset(cards)
        await self._take(wanted)
        try:
            yield
        finally:
            self._taken -= wanted
            self._let_in()

    async def _take(self, wanted: frozenset[str]) -> None:
        turn = asyncio.get_running_loop().create_future()
        entry = (wanted, turn)
        self._waiting.append(entry)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:  # it was let in and cancelled at once
                self._taken -= wanted
            self._let_in()
            raise

    def _let_in(self) -> None:
        before: set[str] = set()
        for entry in tuple(self._waiting):
            wanted, turn = entry
            if not wanted & (self._taken | before):
                self._waiting.remove(entry)
                self._taken |= wanted
                if not turn.done():
                    turn.set_result(None)
            before |= wanted
