"""Plans for text-generation-webui and ExLlamaV3: the loader follows the format."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools.domain import Plan
from tools.plan.other_engine import replan

PlanFor = Callable[..., Plan]


def methods(plan: Plan, option: str) -> list[str]:
    return [one.deployment.checkpoint.quantization.method for one in plan.placement(option).instances]


def test_sixteen_bits_stay_and_four_bits_become_gguf(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"])
    made, chosen, notes = replan(plan, "bf16-gptq-int4", "text-generation-webui")
    assert methods(made, chosen) == ["none", "gguf"]
    assert made.placement(chosen).instances[0].deployment.checkpoint.repo == "Qwen/Qwen3-30B-A3B"
    assert "plan.mapped" in {note.code for note in notes}


def test_published_exl3_files_are_taken_for_four_bits(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3.8-27B@int4"], ["RTX 4090"], engine="text-generation-webui")
    (only,) = plan.as_asked.instances
    assert only.deployment.checkpoint.precision == "exl3-4"
    assert not only.deployment.checkpoint.hypothetical


def test_bitsandbytes_quantises_while_loading_where_no_gguf_can_be_made(plan_for: PlanFor):
    plan = plan_for(["facebook/opt-66b@int4"], ["RTX PRO 6000"], engine="text-generation-webui")
    (only,) = plan.as_asked.instances
    assert only.deployment.checkpoint.in_flight
    assert only.deployment.options.load_bits == 4
    assert only.footprint.weights_bytes < 0.4 * 2 * only.deployment.model.params_total


def test_each_loader_has_its_own_type_of_cache(plan_for: PlanFor):
    gguf = plan_for(["Qwen/Qwen3-14B@gguf-Q4_K_M"], ["RTX 4090"], engine="text-generation-webui", kv_dtype="q8_0")
    exl = plan_for(["google/gemma-3-27b-it@exl3-4"], ["RTX 4090"], engine="text-generation-webui", kv_dtype="q8_0")
    plain = plan_for(["Qwen/Qwen3-8B@bf16"], ["RTX 4090"], engine="text-generation-webui", kv_dtype="q8_0")
    kinds = [plan.as_asked.instances[0].deployment.kv_dtype for plan in (gguf, exl, plain)]
    assert kinds == ["q8_0", "q8", "auto"]


def test_exllama_files_that_nobody_published_are_said_to_be_made(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-14B@exl3-4"], ["RTX 3090"], engine="exllamav3")
    assert plan.as_asked.verdict == "fits"
    assert "plan.exl_to_make" in {note.code for note in plan.assumptions}
    assert plan_for(["Qwen/Qwen3-14B@exl3-4"], ["Tesla P40"], engine="exllamav3").as_asked.verdict == "does_not_fit"


@pytest.mark.parametrize("engine", ["text-generation-webui", "exllamav3"])
def test_options_differ_in_precision(plan_for: PlanFor, engine: str):
    plan = plan_for(["Qwen/Qwen3-32B"], ["RTX 3090"], engine=engine)
    assert any(option.kind == "precision" for option in plan.options)
