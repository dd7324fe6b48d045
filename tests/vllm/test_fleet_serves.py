"""Two real engines, planned, started by the fleet and asked through the gateway: SmolLM2-135M in BF16 and in 4-bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import models, plan_of
from running import Running, engine_specs, running

from serving.engine_state import Stage
from serving.measuring import Measuring

pytestmark = pytest.mark.timeout(600)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CAPITAL: list[Any] = [{"role": "user", "content": "What is the capital of Italy?"}]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    engines = engine_specs(plan_of(*models("small")), "--enable-auto-tool-choice", "--tool-call-parser", "hermes")
    with running(engines, tmp_path_factory.mktemp("logs"), measure=Measuring(None).measure) as pair:
        yield pair


def names(pair: Running) -> list[str]:
    return [name for one in pair.fleet.specs for name in one.served_names]


def test_the_second_starts_when_the_first_answers(pair: Running):
    first, second = (one.name for one in pair.fleet.specs)
    order = [(state.name, state.stage) for state in pair.told]
    assert order.index((first, Stage.READY)) < order.index((second, Stage.CHECKING))
    for name in (first, second):
        assert {Stage.LOADING, Stage.ANSWERING, Stage.READY} < set(pair.stages(name))
        assert any(state.share == 1 for state in pair.told if state.name == name)
        state = pair.state(name)
        print(f"\n{name}: ready in {state.ready_s:.1f} s")


def test_what_was_predicted_is_what_is_measured(pair: Running):
    """The cache's size is set, so that the tokens that fit are to be the very ones; what it holds is its only row."""
    for spec in pair.fleet.specs:
        measured = pair.state(spec.name).measured
        assert measured is not None
        assert measured.on_cpu
        for field in ("kv_pool_bytes", "kv_pool_tokens", "max_concurrency"):
            row = measured.row(field)
            assert row.source == "metrics", row
            assert row.predicted is not None
            assert row.measured == pytest.approx(row.predicted.value, rel=1e-9), row


def test_both_answer_at_once_as_they_should(pair: Running):
    def ask(name: str) -> str:
        answer = pair.client().chat.completions.create(model=name, messages=CAPITAL, max_tokens=24, temperature=0)
        assert answer.usage
        assert answer.usage.completion_tokens >= 2
        return answer.choices[0].message.content or ""

    with ThreadPoolExecutor() as pool:
        said = list(pool.map(ask, names(pair) * 2))
    assert all("Rome" in one for one in said), said
    assert said[:2] == said[2:]


def test_a_stream_comes_in_pieces_and_is_the_whole_answer(pair: Running):
    for name in names(pair):
        asked: dict[str, Any] = {"model": name, "messages": CAPITAL, "max_tokens": 24, "temperature": 0}
        whole = pair.client().chat.completions.create(**asked)
        pieces = list(
            pair.client().chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert said == whole.choices[0].message.content
        assert pieces[-1].usage == whole.usage
        assert len(pieces) >= 6


def test_a_tool_is_called_with_arguments_of_its_schema(pair: Running):
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "How warm is it in Paris? Answer in celsius."}],
        "tools": [TOOL],
        "tool_choice": "required",
        "max_tokens": 200,
        "temperature": 0,
    }
    for name in names(pair):
        answer = pair.client().chat.completions.create(model=name, **asked)
        (call,) = answer.choices[0].message.tool_calls or []
        said = json.loads(call.function.arguments)
        assert call.function.name == "weather"
        assert set(said) == {"city", "unit"}
        assert said["unit"] in {"celsius", "fahrenheit"}
        pieces = [
            piece.choices[0].delta
            for piece in pair.client().chat.completions.create(model=name, **asked, stream=True)
            if piece.choices
        ]
        words = [call.function.arguments or "" for delta in pieces for call in delta.tool_calls or [] if call.function]
        assert json.loads("".join(words)) == said


def test_the_endpoint_lists_them_as_ready(pair: Running):
    rows = {row.id: row.model_dump() for row in pair.client().models.list().data}
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(names(pair), "ready")
