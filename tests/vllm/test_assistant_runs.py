"""The chat on a real engine, through the gateway: SmolLM2-135M decides, calls tools or not, and writes.

What so small a model says is its own affair. What must hold is that it is asked in a form that vLLM takes, with the
tools, and that whatever it says or does, the asker gets an answer whose figures were computed.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import models, plan_of
from running import KEY, Running, engine_specs, running

from agent.decide import endpoint
from agent.events import Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings

pytestmark = pytest.mark.timeout(600)
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
FLAGS = (
    "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
    "--override-generation-config", '{"max_new_tokens": 48}',
)  # fmt: skip
"""Tools as they are planned for models that know them; and an end to what a model says that knows none itself."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    plan = plan_of(models("small")[0], context=8192, users=1)
    with running(engine_specs(plan, *FLAGS), tmp_path_factory.mktemp("logs")) as served:
        yield served


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGFIT_LLM_API_KEY", KEY)


def ask(folder: Path, served: Running) -> TurnResult:
    async def run() -> TurnResult:
        settings = Settings(data_dir=folder, network=False, llm_url=f"{served.url}/v1")
        async with Assistant.open(settings, rig=None) as assistant:
            async for event in assistant.ask(QUESTION, thread_id="t"):
                if isinstance(event, Finished):
                    return event.result
        raise AssertionError("no result")

    return asyncio.run(run())


def counted(served: Running, metric: str) -> float:
    """Return what the engine has counted."""
    with urlopen(f"{served.fleet.specs[0].url}/metrics", timeout=10) as answer:
        rows = re.findall(rf"^vllm:{metric}\{{[^}}]*\}} ([\d.e+]+)$", answer.read().decode(), re.M)
    assert rows, metric
    return sum(map(float, rows))


def test_the_chat_is_decided_and_written_by_a_served_model(served: Running, tmp_path: Path):
    before = counted(served, "prompt_tokens_total")
    turn = ask(tmp_path, served)
    (name,) = served.fleet.specs[0].served_names
    print(f"\n{turn.llm}: {[call['name'] for call in turn.tool_calls]} {turn.answer_markdown[:200]!r}")
    # the question alone has a dozen tokens; the tools and the rules of the house have many more
    assert counted(served, "prompt_tokens_total") - before > 1000
    # the tools and the result of a plan are within this model's 8192 tokens: nothing is refused
    assert turn.llm == name
    assert "built-in rules" not in turn.answer_markdown
    assert "113.7" in turn.answer_markdown


def test_a_model_that_was_stopped_leaves_the_rules_and_one_line(
    served: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(endpoint, "READY_S", 1.0)
    served.do(served.fleet.stop(served.fleet.specs[0].name))
    turn = ask(tmp_path, served)
    assert turn.llm == "embedded"
    assert turn.answer_markdown.count("built-in rules") == 1
    assert "113.7" in turn.answer_markdown
