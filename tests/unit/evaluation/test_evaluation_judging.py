"""Arguments are right where they come to the same plan, however they are worded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from evaluation.asking import Done
from evaluation.judging import judge, language_of, same_plan
from evaluation.questions import Question

from agent.events import TurnResult
from tools.settings import Settings
from tools.workbench import Workbench

CARD = [{"name": "RTX 3090"}]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench.open(Settings(data_dir=tmp_path_factory.mktemp("data"), network=False), detect=False)


def asked(models: list[Any], gpus: list[Any] = CARD, **more: Any) -> dict[str, Any]:
    return {"models": models, "gpus": gpus, **more}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (asked([{"name": "Qwen3", "size_b": 8}]), asked([{"name": "Qwen/Qwen3-8B", "copies": 1}])),
        (asked([{"name": "Qwen3", "size_b": 8, "copies": 2}]), asked([{"name": "Qwen3", "size_b": 8}] * 2)),
        (
            asked([{"name": "Qwen3", "size_b": 8}]),
            asked([{"name": "Qwen3", "size_b": 8}], [{"name": "GeForce RTX 3090", "count": 1}], engine="vllm"),
        ),
        (asked([{"name": "13B model", "size_b": 13}], []), asked([{"name": "LLM", "size_b": 13, "copies": 1}], [])),
        (asked([], context=4096), asked([], [{"name": "3090", "memory_gb": 24}], context=4096)),
    ],
)
def test_other_words_for_the_same_plan(bench: Workbench, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert same_plan(one, other, bench)
    assert same_plan(other, one, bench)


@pytest.mark.parametrize(
    "other",
    [
        asked([{"name": "Qwen3", "size_b": 14}]),
        asked([{"name": "Qwen3", "size_b": 8, "copies": 2}]),
        asked([{"name": "Qwen3", "size_b": 8, "precision": "int4"}]),
        asked([{"name": "Qwen3", "size_b": 8}], [{"name": "RTX 3090", "count": 2}]),
        asked([{"name": "Qwen3", "size_b": 8}], [{"name": "RTX 4090"}]),
        asked([{"name": "Qwen3", "size_b": 8}], context=16384),
        asked([{"name": "Qwen3", "size_b": 8}], users=9),
        asked([{"name": "Qwen3", "size_b": 8}], ram_gb=64),
        asked([{"name": "Qwen3", "size_b": 8}], engine="llama.cpp"),
        asked([{"name": "Qwen3", "size_b": 8}], []),
        asked([{"name": "no such model at all"}]),
        asked([5], 7),  # type: ignore[arg-type]
    ],
)
def test_another_plan(bench: Workbench, other: dict[str, Any]) -> None:
    assert not same_plan(asked([{"name": "Qwen3", "size_b": 8}]), other, bench)


def test_models_on_choice_are_all_compared(bench: Workbench) -> None:
    two = [{"name": "Qwen3", "size_b": 8}, {"name": "Qwen3", "size_b": 14}]
    choice = asked(two, models_relation="alternatives")
    assert same_plan(choice, choice, bench)
    assert not same_plan(choice, asked(two), bench)
    assert not same_plan(choice, asked(two[:1]), bench)
    assert not same_plan(
        choice, asked([*two[:1], {"name": "Qwen3", "size_b": 32}], models_relation="alternatives"), bench
    )


def call(name: str, ok: bool = True, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "ok": ok, "seconds": 0.1, "summary": ""}


def judged(bench: Workbench, *calls: dict[str, Any], needed: list[Any] | None = None, **turn: Any) -> dict[str, Any]:
    question = turn.pop("question", Question("q", ("?",), "en"))
    result = TurnResult("t", turn.pop("answer", "It fits."), "en", {}, tool_calls=calls, **turn)
    return judge(question, Done(result, 0.1), needed or [], bench)


def test_a_step_that_is_left_out_or_too_much_is_seen(bench: Workbench) -> None:
    plan = call("calculate_vram", **asked([{"name": "Qwen3", "size_b": 8}]))
    search, facts = call("search_web", query="x"), call("look_up_specs")
    assert judged(bench, facts, plan, needed=[plan])["tools"] is True
    assert judged(bench, plan, search, needed=[plan])["tools"] is False
    assert judged(bench, facts, needed=[plan])["tools"] is False
    assert judged(bench, facts, needed=[plan])["arguments"] is False
    assert judged(bench, search, needed=[search])["arguments"] is None


def test_the_call_that_worked_counts(bench: Workbench) -> None:
    right = call("calculate_vram", **asked([{"name": "Qwen3", "size_b": 8}]))
    failed = call("calculate_vram", ok=False, models=5)
    assert judged(bench, failed, right, needed=[right])["arguments"] is True
    assert judged(bench, right, failed, needed=[right])["arguments"] is True
    assert judged(bench, failed, needed=[right])["arguments"] is False


@pytest.mark.parametrize(
    ("must", "asks", "answer", "llm", "right"),
    [
        (True, ("Which card?",), "Which card?", "embedded", True),
        (True, (), "It fits.", "embedded", False),
        (True, (), "Which card do you have?", "small", True),
        (False, ("Which card?",), "Which card?", "embedded", False),
        (False, ("Which one?",), "About 13.0 GiB. Which one?", "embedded", True),
        (False, (), "It fits.", "embedded", True),
        (None, (), "It fits.", "embedded", None),
    ],
)
def test_asking_back(bench: Workbench, must: bool | None, asks: Any, answer: str, llm: str, right: bool | None) -> None:
    question = Question("q", ("?",), "en", must_ask=must)
    assert judged(bench, question=question, asks=asks, answer=answer, llm=llm)["asks"] is right


def test_what_does_not_exist_may_be_set_right_in_any_way(bench: Workbench) -> None:
    question = Question("q", ("?",), "en", read={"expect": "correct"})
    row = judged(bench, call("search_web"), question=question)
    assert row["tools"] is row["arguments"] is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Да, Qwen3-30B-A3B поместится на RTX PRO 6000.", "ru"),
        ("Yes, it fits. You wrote: «да».", "en"),
        ("Запустите так:\n```\nvllm serve Qwen/Qwen3-30B-A3B --max-model-len 8192 --served-model-name qwen\n```", "ru"),
        ("", "en"),
    ],
)
def test_the_language_of_an_answer(text: str, language: str) -> None:
    assert language_of(text) == language
