"""Asks a question as the page does, and finds out what the rules would do if they read it without a mistake."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from agent.decide.rules import RulesDecider
from agent.events import Finished, TurnResult
from agent.graph import build_graph
from agent.session import Assistant
from agent.state import State
from evaluation.questions import Question
from tools.settings import Settings
from tools.toolkit import build_tools
from tools.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Done:
    """What the last turn of a question came to.

    Attributes:
        turn: its result.
        seconds: how long it took, from the message to the end of the answer.
    """

    turn: TurnResult
    seconds: float


async def ask(question: Question, settings: Settings) -> Done:
    """Ask turn by turn in a conversation of its own, with nothing remembered and this machine unknown."""
    with tempfile.TemporaryDirectory(prefix="rigfit-eval-") as folder:
        async with Assistant.open(replace(settings, data_dir=Path(folder)), rig=None) as assistant:
            done: Done | None = None
            for words in question.turns:
                began = time.perf_counter()
                async for event in assistant.ask(words, thread_id=question.id):
                    if isinstance(event, Finished):
                        done = Done(event.result, time.perf_counter() - began)
    if done is None:
        raise RuntimeError(f"{question.id}: nothing was said")
    return done


class Expected:
    """Says which calls a question needs: those of the rules, given the reading that is right.

    The same graph and the same tools run, only what was read is replaced; so nothing is typed for each question.

    Args:
        folder: where files may be written.
    """

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder, network=False)
        self.bench = Workbench.open(settings, detect=False)
        self._tools = build_tools(self.bench)

    async def calls(self, question: Question, intent: str | None) -> list[dict[str, Any]]:
        """Return the calls as ``{name, args, ok}``, in order.

        Args:
            question: what is asked.
            intent: what the assistant took the question for; it counts where the question allows it.
        """
        read = dict(question.read)
        if intent in question.intents:
            read["intent"] = intent
        rules = _Knowing(frozenset(tool.name for tool in self._tools), read, several=len(question.turns) > 1)
        graph = build_graph(rules, self._tools)
        said = [HumanMessage(words) for words in question.turns]
        values = await graph.ainvoke({"messages": said, "language_hint": "en"}, {"recursion_limit": 40})
        return list(values["result"]["tool_calls"])


class _Knowing(RulesDecider):
    """The rules, with what is right in the place of what was read."""

    def __init__(self, available: frozenset[str], read: Mapping[str, Any], *, several: bool) -> None:
        super().__init__(available)
        self._read, self._several = dict(read), several

    async def __call__(self, state: State) -> AIMessage:
        reading = {**state.get("reading", {}), **self._read}
        if self._read and not self._several:
            reading["names_now"] = bool(reading.get("models") or reading.get("gpus"))
            reading["models_now"] = bool(reading.get("models"))
        return await super().__call__({**state, "reading": reading})
