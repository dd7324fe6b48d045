"""A model in a file, run in this process by llama.cpp: driven by structured output, and what can go wrong is said."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from langchain_core.messages import HumanMessage
from tiny_gguf import write_tiny_gguf

from agent.decide.local import LocalEndpoint, endpoint_of
from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings
from tools.toolkit import build_tools
from tools.workbench import Workbench

QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny random.gguf"
    write_tiny_gguf(path)
    return path


def settings_for(folder: Path, model: Path) -> Settings:
    return Settings(folder, network=False, llm_url=f"local:{model}", llm_max_tokens=128)


def ask(settings: Settings, question: str = QUESTION) -> TurnResult:
    async def run() -> TurnResult:
        async with Assistant.open(settings, rig=None) as assistant:
            async for event in assistant.ask(question, thread_id="t"):
                if isinstance(event, Finished):
                    return event.result
        raise AssertionError("no result")

    return asyncio.run(run())


def test_a_model_of_random_numbers_is_held_to_the_schema_of_a_tool(tmp_path: Path, model: Path) -> None:
    settings = settings_for(tmp_path, model)
    tools = [tool for tool in build_tools(Workbench.open(settings)) if tool.name == "generate_launch_config"]
    endpoint = endpoint_of(settings, tools)

    async def run() -> None:
        for _ in range(2):
            answer = await endpoint.ask(lambda _: [HumanMessage("run it")], waiting=lambda: None)
            assert answer.text or answer.tool_calls
            assert {call["name"] for call in answer.tool_calls} <= {"generate_launch_config"}

    asyncio.run(run())
    assert endpoint.model == "tiny random"


def test_whatever_it_says_the_asker_gets_a_computed_answer(tmp_path: Path, model: Path) -> None:
    turn = ask(settings_for(tmp_path, model))
    assert "30.9 GiB" in turn.answer_markdown
    assert turn.plan is not None


def test_nobody_else_can_use_its_port(tmp_path: Path, model: Path) -> None:
    async def run() -> None:
        endpoint = LocalEndpoint(settings_for(tmp_path, model), [])
        url, key = await endpoint._reached()
        again = await endpoint._reached()
        assert again == (url, key)
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(HTTPError, match="401"):
            await asyncio.to_thread(urlopen, f"{url}/chat/completions", b"{}", 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "written", "said"), [("none.gguf", None, "can't be opened"), ("x.gguf", b"PK\3\4", "GGUF")]
)
def test_a_file_that_is_no_model_leaves_the_rules_and_one_line(
    tmp_path: Path, name: str, written: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if written:
        path.write_bytes(written)
    turn = ask(settings_for(tmp_path, path))
    assert turn.llm == "embedded"
    assert said in turn.answer_markdown.splitlines()[0]
    assert turn.answer_markdown.count("built-in rules") == 1
    assert "113.7" in turn.answer_markdown


def test_a_file_that_is_cut_off_leaves_the_rules_and_one_line(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "half.gguf"
    path.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    turn = ask(settings_for(tmp_path, path))
    assert "GGUF" in turn.answer_markdown.splitlines()[0]
    assert "113.7" in turn.answer_markdown


def test_without_the_extra_it_is_said_what_to_install(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    turn = ask(settings_for(tmp_path, model))
    assert "pip install xllamacpp" in turn.answer_markdown.splitlines()[0]
    assert turn.answer_markdown.count("built-in rules") == 1
    assert "113.7" in turn.answer_markdown
