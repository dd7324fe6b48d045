"""Keeps the one assistant of the page open, from the server's start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from tools.settings import Settings

if TYPE_CHECKING:
    from agent.session import Assistant

AssistantFactory = Callable[[], AbstractAsyncContextManager["Assistant"]]


class AssistantKeeper:
    """Opens the assistant in the background, so that the page is there first, and hands it out once it is ready."""

    def __init__(self, factory: AssistantFactory) -> None:
        self._factory = factory
        self._stack = AsyncExitStack()
        self._opening: asyncio.Task[Assistant] | None = None

    @classmethod
    def for_settings(cls, settings: Settings) -> AssistantKeeper:
        """Keep the assistant of these settings, which offers this machine's hardware."""

        def factory() -> AbstractAsyncContextManager[Assistant]:
            from agent.session import Assistant

            return Assistant.open(settings, rig="detect")

        return cls(factory)

    def start(self) -> None:
        """Begin opening; call it in the event loop that will use the assistant."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())

    async def _open(self) -> Assistant:
        context = await asyncio.to_thread(self._factory)
        return await self._stack.enter_async_context(context)

    async def get(self) -> Assistant:
        """Return the assistant; a failure to open is raised to every caller, and the next call tries again."""
        self.start()
        opening = self._opening
        if opening is None:
            raise RuntimeError("the assistant was not started")
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            raise
        except Exception:
            self._opening = None
            raise

    async def close(self) -> None:
        """Close the assistant if it was opened."""
        if self._opening is not None and self._opening.done():
            await self._stack.aclose()
