"""With the hub in reach its config and revision stand behind the answer; without it the catalogue does, and says so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from test_hub import COMMIT, QWEN, Hub, hub

from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings
from ui.cli import run

__all__ = ["hub"]


def ask(folder: Path, endpoint: str, question: str) -> TurnResult:
    async def run() -> TurnResult:
        settings = Settings(data_dir=folder, hub_endpoint=endpoint, search_url="http://127.0.0.1:9/")
        async with Assistant.open(settings, rig=None) as assistant:
            events = [e async for e in assistant.ask(question, thread_id="t")]
        assert isinstance(events[-1], Finished)
        return events[-1].result

    return asyncio.run(run())


def test_hub_config_goes_before_the_catalogue(tmp_path: Path, hub: tuple[Hub, str]) -> None:
    state, endpoint = hub
    state.add("Qwen/Qwen3-30B-A3B", {"config.json": QWEN}, {"model.safetensors": 60_000_000_000})
    result = ask(tmp_path, endpoint, "Will Qwen3-30B-A3B fit on an RTX PRO 6000?")
    assert result.plan is not None
    assert len(result.plan.request.instances[0].model.layers) == 47
    assert COMMIT[:12] in result.answer_markdown
    assert result.sources[0]["url"].startswith(endpoint)


def test_repository_that_only_the_hub_knows(tmp_path: Path, hub: tuple[Hub, str]) -> None:
    state, endpoint = hub
    config = {**QWEN, "architectures": ["Qwen3MoeForCausalLM"], "num_hidden_layers": 12}
    state.add("someone/Brand-New-MoE", {"config.json": config}, {"model.safetensors": 15_000_000_000})
    result = ask(tmp_path, endpoint, "Will someone/Brand-New-MoE fit on an RTX 3090?")
    assert result.plan is not None
    assert result.plan.request.instances[0].model.name == "someone/Brand-New-MoE"
    assert len(result.plan.request.instances[0].model.layers) == 12
    assert COMMIT[:12] in result.answer_markdown


def test_without_the_hub_the_catalogue_answers_and_says_so(tmp_path: Path) -> None:
    result = ask(tmp_path, "http://127.0.0.1:9", "Will Qwen3-30B-A3B fit on an RTX PRO 6000?")
    assert result.plan is not None
    assert "catalogue of 20" in result.answer_markdown
    assert "hub" in result.answer_markdown


def test_opening_asks_nobody(tmp_path: Path, hub: tuple[Hub, str]) -> None:
    state, endpoint = hub

    async def run() -> None:
        async with Assistant.open(Settings(data_dir=tmp_path, hub_endpoint=endpoint), rig="detect"):
            pass

    asyncio.run(run())
    assert state.requests == []


def test_the_command_line_asks_only_about_what_the_catalogue_does_not_know(
    tmp_path: Path, hub: tuple[Hub, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, endpoint = hub
    state.add(
        "someone/Brand-New-MoE", {"config.json": {**QWEN, "num_hidden_layers": 12}}, {"model.safetensors": 10**10}
    )
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("RIGFIT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("RIGFIT_NETWORK", raising=False)
    for model in ("Qwen/Qwen3-30B-A3B", "someone/Brand-New-MoE"):
        for command in (["estimate", model], ["plan", model, "--gpu", "RTX 3090"], ["specs", "model", model]):
            assert run([*command, "--json"]) == 0, command
            assert json.loads(capsys.readouterr().out)
        if model.startswith("Qwen"):
            assert state.requests == []
