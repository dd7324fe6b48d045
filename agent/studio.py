"""The graph as ``langgraph dev`` loads it (``langgraph.json``): the platform keeps the threads itself."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from agent.decide import make_decider
from agent.graph import build_graph
from agent.recall.tool import remember_tool
from tools.settings import Settings
from tools.toolkit import build_tools
from tools.workbench import Workbench


def make_graph(config: RunnableConfig) -> CompiledStateGraph:
    """Build the graph from the environment's settings.

    Args:
        config: what the platform passes; nothing in it is needed.
    """
    del config
    settings = Settings.from_env()
    workbench = Workbench.open(settings)
    tools = build_tools(workbench)
    return build_graph(make_decider(settings, tools), [*tools, remember_tool(workbench)])
