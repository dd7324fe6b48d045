"""Helpers of the graph tests: open an assistant on a folder, ask in turn, return the finished turns."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agent.events import Event, Finished, Language, TurnResult
from agent.session import Assistant, RigSource
from tools.domain import Rig
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue
from tools.specs.probes import Probes

FOUNDING = "Ты можешь именно поискать, на моём железе пойдёт сразу 2 модели квен 30?"
FOUNDING_CARD = FOUNDING + " Карта RTX PRO 6000 на 98 ГБ"
FOUNDING_EN = "Can you actually search: will two Qwen-30 models run at once on my RTX PRO 6000 with 98 GB?"


def talk(folder: Path, *questions: str, **options: Any) -> list[TurnResult]:
    """Ask the questions one after the other in one thread of a freshly opened assistant; options as ``talk_events``."""
    return [turn for turn, _ in talk_events(folder, *questions, **options)]


def talk_events(
    folder: Path,
    *questions: str,
    thread: str = "t",
    hint: Language = "en",
    rig: RigSource = None,
    panel: Rig | None = None,
    network: bool = False,
    probes: Probes | None = None,
) -> list[tuple[TurnResult, list[Event]]]:
    """Like ``talk``, with each turn's events."""

    async def run() -> list[tuple[TurnResult, list[Event]]]:
        done: list[tuple[TurnResult, list[Event]]] = []
        nowhere: dict[str, Any] = {"hub_endpoint": "http://127.0.0.1:9", "search_url": "http://127.0.0.1:9/"}
        settings = Settings(data_dir=folder, network=network, search_timeout_s=2.0, hub_timeout_s=1.0, **nowhere)
        async with Assistant.open(settings, rig=rig, probes=probes) as assistant:
            for question in questions:
                events = [e async for e in assistant.ask(question, thread_id=thread, language_hint=hint, rig=panel)]
                assert isinstance(events[-1], Finished)
                done.append((events[-1].result, events))
        return done

    return asyncio.run(run())


def one_card(name: str) -> Rig:
    """A rig of one card of the catalogue."""
    return Rig((GpuCatalogue.load().find(name).gpu,), source="panel")


def names(turn: TurnResult) -> list[str]:
    """The turn's tool calls by name."""
    return [call["name"] for call in turn.tool_calls]
