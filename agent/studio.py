"""The graph as ``langgraph dev`` loads it (``langgraph.json``): the platform keeps the threads itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

import prompts
from agent.decide import make_decider
from agent.graph import build_graph
from agent.recall.lexicon import recall_words
from agent.recall.tool import remember_tool
from tools.knowledge import find
from tools.settings import Settings
from tools.toolkit import build_tools
from tools.workbench import Workbench


async def make_graph(config: RunnableConfig) -> CompiledStateGraph:
    """Build the graph from the environment's settings.

    Args:
        config: what the platform passes; nothing in it is needed.
    """
    del config
    return await asyncio.to_thread(_graph)


def _graph() -> CompiledStateGraph:
    settings = Settings.from_env()
    workbench = Workbench.open(settings)
    _read_files()
    tools = build_tools(workbench)
    return build_graph(make_decider(settings, tools), [*tools, remember_tool(workbench)])


def _read_files() -> None:
    """Read the words that are otherwise read when needed: the platform forbids a turn to wait for a disk."""
    recall_words()
    find("?")
    for path in Path(prompts.__file__).parent.glob("messages/*/*.toml"):
        prompts.messages(path.parent.name, path.stem)
