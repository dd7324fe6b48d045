"""``langgraph.json`` names a factory that builds the same graph."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def test_the_named_factory_builds_a_graph_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGFIT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RIGFIT_NETWORK", "off")
    path, _, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["rigfit"].partition(":")
    module = import_module(path.removeprefix("./").removesuffix(".py").replace("/", "."))

    async def run() -> Any:
        graph = await getattr(module, name)({})
        assert {"read", "decide", "tools", "ground", "answer"} <= set(graph.nodes)
        return await graph.ainvoke({"messages": [("user", "Will Qwen3-8B fit on an RTX 3090?")]})

    done = asyncio.run(run())
    assert done["messages"][-1].text.startswith("**Yes, it fits.**")
