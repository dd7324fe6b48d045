"""A chosen option made again for another engine: what stays, what is mapped, what is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools.domain import Plan
from tools.errors import BadValue, NoSuchOption
from tools.plan.other_engine import replan

PlanFor = Callable[..., Plan]
FOUNDING = ["Qwen/Qwen3-30B-A3B"] * 2


def words(plan: Plan, option: str) -> list[str]:
    return [one.deployment.checkpoint.precision for one in plan.placement(option).instances]


@pytest.mark.parametrize("engine", ["llama.cpp", "ollama", "lm studio"])
def test_formats_become_the_nearest_gguf_types_and_it_is_said(plan_for: PlanFor, engine: str):
    plan = plan_for(FOUNDING, ["RTX PRO 6000"])
    expected = {
        "as_asked": ["gguf-Q8_0", "gguf-Q8_0"],
        "fp8-fp8": ["gguf-Q8_0", "gguf-Q8_0"],
        "bf16-gptq-int4": ["gguf-Q8_0", "gguf-Q4_K_M"],
        "gptq-int4-gptq-int4": ["gguf-Q4_K_M", "gguf-Q4_K_M"],
    }
    for option, types in expected.items():
        made, chosen, notes = replan(plan, option, engine)
        assert made.request.engine == engine
        assert words(made, chosen) == types
        assert made.recommended == chosen
        assert made.placement(chosen).verdict == "fits"
        assert "plan.mapped" in {note.code for note in notes}


def test_names_load_and_sharing_stay(plan_for: PlanFor):
    plan = plan_for(FOUNDING, ["RTX PRO 6000"], context=16384, users=2)
    made, chosen, _ = replan(plan, "share", "llama.cpp")
    (only,) = made.placement(chosen).instances
    assert only.served_names == ("qwen3-30b-a3b", "qwen3-30b-a3b-2")
    assert made.request.same_model is True
    assert only.deployment.max_model_len == 16384
    assert only.deployment.max_num_seqs == 4


def test_sleeping_becomes_stopping(plan_for: PlanFor):
    made, chosen, _ = replan(plan_for(FOUNDING, ["RTX PRO 6000"]), "swap", "ollama")
    assert made.request.residency == "swap"
    assert [one.awake for one in made.placement(chosen).instances] == [True, False]


def test_more_hardware_stays_more_hardware(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-235B-A22B"], ["RTX PRO 6000"])
    option = next(one for one in plan.options if one.kind == "more_hardware")
    made, _, _ = replan(plan, option.id, "llama.cpp")
    assert [gpu.name for gpu in made.request.rig.gpus] == [use.name for use in option.placement.gpus]


def test_published_mxfp4_stays(plan_for: PlanFor):
    made, chosen, _ = replan(plan_for(["openai/gpt-oss-20b"], ["RTX 3090"]), None, "llama.cpp")
    assert words(made, chosen) == ["gguf-MXFP4"]


def test_what_can_not_be_mapped_is_refused(plan_for: PlanFor):
    with pytest.raises(BadValue) as refused:
        replan(plan_for(["facebook/opt-66b"], ["H200"]), "as_asked", "llama.cpp")
    assert refused.value.code == "errors_plan.no_gguf"
    with pytest.raises(NoSuchOption):
        replan(plan_for(["Qwen/Qwen3-8B"], ["RTX 3090"]), "nothing", "llama.cpp")


def test_back_to_vllm(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-14B@gguf-Q4_K_M"], ["RTX 3090"], engine="ollama")
    made, chosen, notes = replan(plan, None, "vllm")
    assert made.request.engine == "vllm"
    assert made.placement(chosen).instances[0].deployment.checkpoint.quantization.method in {"awq", "gptq"}
    assert "plan.mapped" in {note.code for note in notes}
