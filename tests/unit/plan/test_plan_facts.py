"""Kernels by card, speeds, waits, titles of several changes, smaller siblings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_factory import GIB, card, dense

from prompts import text
from tools.domain import Checkpoint, Quantization
from tools.plan import kernels
from tools.plan.demand import Choice, Sizer
from tools.plan.families.common import splits
from tools.plan.kernels import runs_on
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from tools.plan.siblings import smaller_siblings


def checkpoint(method: str, precision: str = "x", **fields) -> Checkpoint:
    return Checkpoint("lab/m", precision, Quantization(method, 8 if "8" in method else 4), **fields)


@pytest.mark.parametrize(
    ("capability", "method", "runs", "native"),
    [
        ("6.1", "none", False, False),
        ("7.0", "gptq", False, False),
        ("7.5", "none", True, True),
        ("7.5", "awq", True, True),
        ("7.5", "mxfp4", False, False),
        ("8.0", "fp8_block", True, False),
        ("8.6", "fp8_online", True, False),
        ("8.9", "fp8_block", True, True),
        ("9.0", "nvfp4", True, False),
        ("9.0", "fp8_tensor", True, True),
        ("10.0", "nvfp4", True, True),
        ("12.0", "nvfp4", True, True),
        ("12.0", "exl2", False, False),
        ("12.0", "mlx", False, False),
    ],
)
def test_formats_run_from_a_least_capability_and_natively_from_another(capability, method, runs, native):
    found = kernels.support(card(24, capability=capability), checkpoint(method))
    assert found.runs is runs
    if runs:
        assert found.native is native
        assert ("plan.weight_only" in {n.code for n in found.needs}) is not native
    else:
        assert found.needs


def test_an_unnamed_card_is_taken_to_be_able():
    unnamed = replace(card(24), compute_capability=None)
    assert kernels.support(unnamed, checkpoint("nvfp4")).runs


def test_amd_has_its_own_formats():
    mi300 = replace(card(192), vendor="amd", compute_capability="gfx942", fp8=True)
    assert kernels.support(mi300, checkpoint("fp8_block")).runs
    assert kernels.support(mi300, checkpoint("gptq")).runs
    assert not kernels.support(mi300, checkpoint("nvfp4")).runs
    assert not kernels.support(replace(mi300, fp8=False), checkpoint("fp8_block")).runs


def test_bitsandbytes_names_its_plugin_and_makes_no_eight_bits_in_flight():
    needs = kernels.support(card(24), checkpoint("bnb_nf4")).needs
    assert [n.params["plugin"] for n in needs] == ["vllm-bnb-plugin"]
    assert not runs_on(checkpoint("bnb_int8", in_flight=True), card(24)).runs
    assert runs_on(checkpoint("bnb_int8"), card(24)).runs


def test_every_format_names_its_source():
    assert all(form.source for form in kernels.FORMATS.values())


def test_blocks_and_groups_are_never_torn_apart(models):
    moe = models.find("Qwen/Qwen3-30B-A3B").spec  # experts of 768
    blocks = Quantization("fp8_block", 8, block=(128, 128))
    refined, whole = Checkpoint("r", "fp8", blocks), replace(blocks, extra={"writer": "compressed-tensors"})
    assert all(splits(moe, refined, tp) for tp in (1, 2, 4, 8))  # the engine cuts the blocks of experts finer
    assert [splits(moe, Checkpoint("r", "fp8", whole), tp) for tp in (1, 2, 4, 8)] == [True, True, False, False]
    assert splits(moe, Checkpoint("r", "bf16"), 8)


def test_the_sizer_splits_offloaded_weights_over_the_cards():
    model, gpu = dense("m20", 20), card(24, "a")
    whole = Choice(("m",), model, model.checkpoints[0], offload_bytes=8 * GIB)
    demand = Sizer().demand(whole, gpu, 2)
    assert demand is not None
    assert demand.footprint.deployment.cpu_offload_bytes == 4 * GIB


def test_several_changes_are_all_named_in_one_title(plan_for):
    plan = plan_for(["Qwen/Qwen3-14B"] * 3, ["RTX 3090", "RTX 3090"])
    chain = next(option for option in plan.options if option.title.code == "plan.title_several")
    title = text("en", chain.title.code, **chain.title.params)
    assert "AWQ" in title
    assert "KV FP8" in title or "max-" in title


def test_smaller_siblings_are_of_the_same_family_largest_first(models):
    names = [model.name for model in smaller_siblings(models.find("Qwen/Qwen3-32B").spec)]
    assert names[:2] == ["Qwen/Qwen3-14B", "Qwen/Qwen3-8B"]
    assert list(smaller_siblings(dense("no-size-in-this-name", 8))) == []


def test_a_model_that_can_only_crawl_is_answered_with_a_smaller_one(plan_for):
    plan = plan_for(["meta-llama/Llama-3.1-70B-Instruct"], ["RTX 4060 Ti 16GB"])
    smaller = [option for option in plan.options if option.kind == "smaller_model"]
    assert smaller
    assert smaller[0].placement.instances[0].deployment.model.name == "meta-llama/Llama-3.1-8B-Instruct"
    roomy = plan_for(["meta-llama/Llama-3.1-70B-Instruct"], ["RTX 3090"] * 2)
    assert roomy.recommended != smaller[0].id


def test_a_model_that_float16_breaks_needs_a_card_with_bfloat16() -> None:
    old = make_plan(resolve_arguments(["google/gemma-3-4b-it"], gpu=["RTX 2080 Ti"], users=1))
    assert old.as_asked.verdict == "does_not_fit"
    assert "plan.no_half" in {one.code for one in old.assumptions}
    used = {gpu.name for option in old.options for gpu in option.placement.gpus if gpu.used_bytes}
    assert not any("2080" in name for name in used)
    assert make_plan(resolve_arguments(["google/gemma-3-4b-it"], gpu=["RTX 3060"], users=1)).verdict != "does_not_fit"
