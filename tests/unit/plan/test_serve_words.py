"""The command that runs a plan, read back: the same models under the same load, and the option is there."""

from __future__ import annotations

import shlex

import pytest

from tools.domain import Plan
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from tools.plan.serve_words import serve_line
from ui.arguments import PLAN_WORDS, Parser

ASKED = [
    (("2xQwen/Qwen3-30B-A3B",), {"gpu": ["RTX PRO 6000"]}),
    (("2xQwen/Qwen3-30B-A3B@bf16",), {"gpu": ["RTX PRO 6000"], "residency": "swap"}),
    (("Qwen/Qwen3-30B-A3B@bf16", "Qwen/Qwen3-30B-A3B@int4"), {"gpu": ["RTX PRO 6000"]}),
    (("Qwen/Qwen3-14B@fp8", "Qwen/Qwen3-4B"), {"gpu": ["RTX 4090"], "context": 16384, "users": 2}),
    (("meta-llama/Llama-3.1-70B-Instruct@int4",), {"gpu": ["2xRTX 3090"], "ram": "128GB"}),
    (("Qwen/Qwen3-30B-A3B@int4",), {"gpu": ["RTX 4090"], "kv_dtype": "fp8"}),
    (("openai/gpt-oss-120b",), {"gpu": ["H100"], "users": 16, "context": 32768}),
    (("Qwen/Qwen3-30B-A3B@fp8", "Qwen/Qwen3-14B"), {"gpu": ["MI300X"]}),
]


def planned(models: tuple[str, ...], words: dict[str, object]) -> Plan:
    return make_plan(resolve_arguments(list(models), **words))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("models", "words"), ASKED)
def test_the_command_makes_the_same_plan(models: tuple[str, ...], words: dict[str, object]) -> None:
    plan = planned(models, words)
    parser = Parser("rigfit serve", "", "")
    parser.add_plan()
    parser.add("--option", "")
    tried = 0
    for option in ("as_asked", *(one.id for one in plan.options)):
        line = serve_line(plan, option)
        if line is None:
            continue
        tried += 1
        arguments = parser.parse_args(shlex.split(line)[2:])
        again = {name: getattr(arguments, name) for name in PLAN_WORDS if getattr(arguments, name) is not None}
        made = make_plan(resolve_arguments(arguments.models, known=plan.request.rig, **again))
        assert made.placement(arguments.option).instances == plan.placement(option).instances
    assert tried


def test_an_option_that_needs_other_hardware_has_no_command() -> None:
    plan = planned(*ASKED[0])
    assert any(one.kind == "more_hardware" for one in plan.options)
    assert all(serve_line(plan, one.id) is None for one in plan.options if one.kind == "more_hardware")


def test_as_asked_that_does_not_fit_has_no_command() -> None:
    plan = planned(*ASKED[0])
    assert plan.as_asked.verdict == "does_not_fit"
    assert serve_line(plan, "as_asked") is None
    assert serve_line(plan) == serve_line(plan, plan.recommended)


@pytest.mark.parametrize(
    "words",
    [{"gpu": ["RTX 3090"], "nodes": 2}, {"gpu": ["RTX 3090"], "engine": "llama.cpp"}, {"gpu": ["M3 Max 64GB"]}],
)
def test_what_rigfit_does_not_run_has_no_command(words: dict[str, object]) -> None:
    assert serve_line(planned(("Qwen/Qwen3-4B",), words)) is None


def test_what_is_asked_for_and_advised_needs_no_option() -> None:
    plan = planned(("Qwen/Qwen3-4B",), {"gpu": ["RTX 3090"]})
    assert serve_line(plan) == "rigfit serve Qwen/Qwen3-4B"
