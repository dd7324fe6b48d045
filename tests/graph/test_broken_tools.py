"""A tool that breaks, whatever it raises, costs its result and one honest line, never the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, StructuredTool

from agent.decide import make_decider
from agent.graph import build_graph
from tools.settings import Settings
from tools.toolkit import build_tools
from tools.workbench import Workbench

QUESTION = "Search the web: will two Qwen3-30B fit on my RTX PRO 6000?"


class Odd(Exception):
    """An error without a message, as no library should raise."""

    def __str__(self) -> str:
        return ""


def broken(tool: BaseTool, error: Exception) -> BaseTool:
    def fail(**_: Any) -> Any:
        raise error

    return StructuredTool.from_function(
        func=fail,
        name=tool.name,
        description=tool.description,
        args_schema=tool.args_schema,
        response_format="content_and_artifact",
    )


def ask(folder: Path, broken_tool: str, error: Exception) -> tuple[str, list[Any]]:
    settings = Settings(data_dir=folder, network=False)
    tools = build_tools(Workbench.open(settings, detect=False))
    assert broken_tool in {tool.name for tool in tools}
    tools = [broken(tool, error) if tool.name == broken_tool else tool for tool in tools]
    graph = build_graph(make_decider(settings, tools), tools)
    state = asyncio.run(graph.ainvoke({"messages": [HumanMessage(QUESTION)]}))
    return state["records"][-1]["answer"], state["result"]["tool_calls"]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), KeyError("gpus"), OSError(28, "No space left"), Odd()]
)
@pytest.mark.parametrize("tool", ["look_up_specs", "calculate_vram", "search_web"])
def test_the_answer_goes_on(tmp_path: Path, tool: str, error: Exception) -> None:
    answer, calls = ask(tmp_path, tool, error)
    assert type(error).__name__ in answer
    assert answer.count(type(error).__name__) == 1
    assert [call["ok"] for call in calls if call["name"] == tool] == [False]
    assert type(error).__name__ in next(call["summary"] for call in calls if call["name"] == tool)
    if tool != "calculate_vram":
        assert "113.7 GiB" in answer
