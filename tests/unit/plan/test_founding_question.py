"""Two Qwen3-30B on a 98 GB card: the question Rigfit began with."""

from __future__ import annotations

import pytest

from tools.domain import Option, Plan

GIB = 1 << 30
BF16_BYTES = 61_064_245_248


@pytest.fixture
def plan(plan_for) -> Plan:
    return plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"])


def by_id(plan: Plan, wanted: str) -> Option:
    return next(option for option in plan.options if option.id == wanted)


def test_as_asked_does_not_fit_and_the_deficit_is_what_is_missing(plan: Plan):
    asked = plan.as_asked
    assert asked.verdict == "does_not_fit"
    assert plan.verdict == "fits_with_changes"
    assert [i.footprint.parameter_bytes for i in asked.instances] == [BF16_BYTES, BF16_BYTES]
    gpu = asked.gpus[0]
    taken = sum(i.footprint.total_bytes for i in asked.instances)
    assert gpu.used_bytes == taken
    assert gpu.free_bytes == gpu.total_bytes - taken < 0
    assert asked.deficit_bytes == round(0.02 * gpu.total_bytes) - gpu.free_bytes
    assert 24 * GIB < asked.deficit_bytes < 34 * GIB
    weights = sum(i.footprint.parameter_bytes for i in asked.instances)
    assert weights / GIB == pytest.approx(113.74, abs=0.01)


def test_every_way_of_the_search_is_there(plan: Plan):
    kinds = {option.kind for option in plan.options}
    assert {"share", "precision", "swap", "more_hardware", "offload"} <= kinds
    mixtures = {
        tuple(sorted(i.deployment.checkpoint.precision for i in option.placement.instances))
        for option in plan.options
        if option.kind == "precision"
    }
    assert mixtures == {("fp8", "fp8"), ("bf16", "gptq-int4"), ("gptq-int4", "gptq-int4")}


def test_sharing_holds_the_weights_once_under_both_names(plan: Plan):
    shared = plan.options[0]
    assert shared.kind == "share"
    (only,) = shared.placement.instances
    assert len(only.served_names) == 2
    assert only.deployment.max_num_seqs == 8
    assert only.footprint.parameter_bytes == BF16_BYTES
    assert only.footprint.kv_pool_bytes is not None
    assert only.footprint.kv_pool_bytes.value > 30 * GIB
    assert "plan.ask_same_model" in {note.code for note in plan.assumptions}


def test_two_different_models_keep_both_awake_and_sharing_is_not_recommended(plan: Plan):
    chosen = by_id(plan, plan.recommended)
    assert chosen.kind == "precision"
    assert len(chosen.placement.instances) == 2
    assert plan.reason.code == "plan.reason_precision"


def test_the_same_model_twice_recommends_sharing(plan_for):
    plan = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"], same_model=True)
    assert plan.recommended == plan.options[0].id
    assert plan.options[0].kind == "share"
    assert plan.reason.code == "plan.reason_share"
    assert "plan.ask_same_model" not in {note.code for note in plan.assumptions}


def test_different_models_are_never_offered_sharing(plan_for):
    plan = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"], same_model=False)
    assert all(option.kind != "share" for option in plan.options)


def test_one_in_bf16_and_one_in_four_bits_leaves_the_expected_cache(plan: Plan):
    mixed = next(
        o for o in plan.options if {"bf16"} < {i.deployment.checkpoint.precision for i in o.placement.instances}
    )
    pools = sum(i.deployment.kv_cache_memory_bytes or 0 for i in mixed.placement.instances)
    assert 13 * GIB < pools < 18 * GIB
    assert mixed.costs.quality is not None


def test_swap_says_its_ram_and_its_wait(plan: Plan):
    swap = next(option for option in plan.options if option.kind == "swap")
    assert swap.costs.ram_bytes == BF16_BYTES
    assert swap.costs.wake_s is not None
    assert 2 < swap.costs.wake_s.low < swap.costs.wake_s.value < swap.costs.wake_s.high < 90
    assert [i.awake for i in swap.placement.instances] == [True, False]
    assert all(i.deployment.sleep_mode for i in swap.placement.instances)
    assert "plan.needs_ram" in {note.code for note in swap.needs}


def test_offload_slows_by_what_is_read_over_pcie(plan: Plan):
    offload = next(option for option in plan.options if option.kind == "offload")
    shared = plan.options[0]
    assert offload.costs.ram_bytes == sum(i.deployment.cpu_offload_bytes for i in offload.placement.instances)
    assert offload.costs.ram_bytes is not None
    assert plan.as_asked.deficit_bytes <= offload.costs.ram_bytes <= plan.as_asked.deficit_bytes * 1.3 + GIB
    assert offload.costs.decode_tokens_per_s is not None
    assert shared.costs.decode_tokens_per_s is not None
    assert offload.costs.decode_tokens_per_s.value < shared.costs.decode_tokens_per_s.value / 10
    assert "plan.offload_speed" in {note.code for note in offload.needs}


def test_a_second_card_runs_it_as_asked(plan: Plan):
    more = by_id(plan, "2-cards")
    assert {i.deployment.checkpoint.precision for i in more.placement.instances} == {"bf16"}
    assert sorted(i.gpu_indices for i in more.placement.instances) == [(0,), (1,)]


def test_a_base_model_without_published_4bit_is_quantised_in_flight_and_says_so(plan_for):
    plan = plan_for(["Qwen/Qwen3-30B-A3B-Base"] * 2, ["RTX PRO 6000"])
    four_bit = [
        option
        for option in plan.options
        if any(i.deployment.checkpoint.precision == "bnb-4bit" for i in option.placement.instances)
    ]
    assert four_bit
    for option in four_bit:
        codes = {note.code for note in option.needs}
        assert {"plan.in_flight", "plan.needs_plugin"} <= codes
        assert not any(i.deployment.checkpoint.hypothetical for i in option.placement.instances)


def test_too_little_ram_rules_out_sleeping_and_offload(plan_for):
    plan = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"], ram_bytes=16 * GIB)
    assert {option.kind for option in plan.options} == {"share", "precision", "more_hardware"}


def test_stated_swap_is_planned_as_asked_and_stated_togetherness_offers_no_swap(plan_for):
    swapped = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"], residency="swap")
    assert swapped.as_asked.verdict == "fits"
    assert swapped.recommended == "as_asked"
    together = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"], residency="together")
    assert all(option.kind != "swap" for option in together.options)
