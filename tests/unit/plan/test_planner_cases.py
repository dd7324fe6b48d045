"""Other rigs and models, so that the founding question is one case of a search and not the search."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from plan_factory import GIB, card, check_plan, dense

from tools.domain import InstanceRequest, Plan, PlanRequest, Rig
from tools.errors import BadValue
from tools.plan.planner import make_plan


def plan_of(models, cards, *, context=8192, users=4, **options) -> Plan:
    instances = tuple(InstanceRequest(model, "any", context, users, model.name) for model in models)
    plan = make_plan(PlanRequest(instances, Rig(tuple(cards)), **options))
    check_plan(plan)
    return plan


def test_an_8b_and_a_70b_on_unequal_cards(plan_for):
    plan = plan_for(["Llama-3.1-8B-Instruct", "Llama-3.1-70B-Instruct"], ["RTX 3090", "RTX A6000"])
    assert plan.as_asked.verdict == "does_not_fit"
    assert plan.recommended != "as_asked"
    small, large = plan.placement().instances
    assert small.deployment.checkpoint.precision == "bf16"
    assert small.gpu_indices == (0,)
    assert large.deployment.checkpoint.precision in {"awq", "gptq-int4", "w4a16"}
    assert large.gpu_indices == (1,)


def test_three_copies_of_a_14b_on_two_24_gib_cards(plan_for):
    plan = plan_for(["Qwen/Qwen3-14B"] * 3, ["RTX 3090", "RTX 3090"])
    assert plan.options[0].kind == "share"
    chosen = plan.placement()
    assert len(chosen.instances) == 3
    assert all(instance.awake for instance in chosen.instances)
    assert {card for instance in chosen.instances for card in instance.gpu_indices} == {0, 1}


def test_one_8b_on_a_3090_fits_and_nothing_else_is_offered(plan_for):
    plan = plan_for(["Qwen/Qwen3-8B"], ["RTX 3090"])
    assert plan.verdict == "fits"
    assert plan.options == ()
    assert plan.recommended == "as_asked"
    (only,) = plan.as_asked.instances
    assert only.footprint.kv_pool_tokens is not None
    assert only.footprint.kv_pool_tokens >= 4 * 8192


def test_an_idle_second_card_is_offered_for_one_model(plan_for):
    plan = plan_for(["Qwen/Qwen3-8B"], ["RTX 3090", "RTX 3090"])
    assert plan.verdict == "fits"
    assert [option.kind for option in plan.options] == ["parallel"]
    spread, alone = plan.options[0].placement.instances[0], plan.as_asked.instances[0]
    assert (spread.deployment.tp, alone.deployment.tp) == (2, 1)
    assert (spread.footprint.kv_pool_tokens or 0) > 2 * (alone.footprint.kv_pool_tokens or 0)


def test_a_model_larger_than_a_card_is_split_over_equal_cards_only():
    model = dense("m14", 14)
    plan = plan_of([model], [card(24, "a"), card(32, "b"), card(24, "a")])
    assert plan.as_asked.instances[0].gpu_indices in {(0, 2), (1,)}
    split = plan_of([dense("m20", 20)], [card(24, "a"), card(32, "b"), card(24, "a")])
    assert split.as_asked.instances[0].gpu_indices == (0, 2)


def test_ranks_of_one_model_stay_on_one_machine():
    model = dense("m20", 20)
    apart = plan_of([model], [card(24, "a", node=0), card(24, "a", node=1)])
    assert apart.as_asked.verdict == "does_not_fit"
    near = plan_of([model], [card(24, "a"), card(24, "a")])
    assert near.as_asked.verdict == "fits"


def test_more_ranks_than_kv_heads_replicate_the_cache():
    model = dense("few", 30, kv_heads=2)
    plan = plan_of([model], [card(24, "a")] * 4)
    (only,) = plan.as_asked.instances
    assert plan.verdict == "fits"
    assert only.deployment.tp == 4
    assert only.footprint.kv_bytes_per_token == 32 * 2 * 1 * 128 * 2


def test_heads_that_do_not_divide_become_pipeline_stages():
    model = dense("odd", 12, heads=30, kv_heads=5)
    plan = plan_of([model], [card(16, "a")] * 4)
    (only,) = plan.as_asked.instances
    assert plan.verdict == "fits"
    assert (only.deployment.tp, only.deployment.pp) == (1, 2)


def test_three_cards_hold_a_model_in_three_stages_and_four_cut_every_layer():
    model = dense("m26", 26)
    three = plan_of([model], [card(24, "a")] * 3).as_asked.instances[0]
    four = plan_of([model], [card(24, "a")] * 4).as_asked.instances[0]
    assert (three.deployment.tp, three.deployment.pp, three.gpu_indices) == (1, 3, (0, 1, 2))
    assert (four.deployment.tp, four.deployment.pp) == (4, 1)


def test_memory_in_use_is_left_alone():
    model = dense("m8", 8)
    free = plan_of([model], [card(24)])
    busy = plan_of([model], [card(24, reserved=7.2)])
    assert free.verdict == "fits"
    assert busy.as_asked.verdict == "does_not_fit"
    assert busy.as_asked.gpus[0].reserved_bytes == round(7.2 * GIB)
    beside = plan_of([model], [card(24, reserved=7.2), card(24)])
    assert beside.verdict == "fits"
    assert beside.as_asked.instances[0].gpu_indices == (1,)


def test_a_reserve_is_left_on_every_card_that_is_used():
    plan = plan_of([dense("m8", 8), dense("m3", 3)], [card(48)])
    (gpu,) = plan.as_asked.gpus
    assert gpu.free_bytes >= max(GIB // 2, round(0.02 * gpu.total_bytes))


def test_the_cache_is_shared_out_in_proportion_to_need():
    plan = plan_of([dense("m3", 3), dense("m3b", 3)], [card(48)])
    one, two = (i.deployment.kv_cache_memory_bytes or 0 for i in plan.as_asked.instances)
    assert one == two > 4 * GIB


def test_starts_are_numbered_largest_first():
    plan = plan_of([dense("m1", 1), dense("m8", 8), dense("m3", 3)], [card(80)])
    orders = [instance.start_order for instance in plan.as_asked.instances]
    assert orders == [2, 0, 1]


def test_a_model_too_large_for_everything_is_said_to_be_so():
    plan = plan_of([dense("m900", 900)], [card(12)])
    assert plan.verdict == "does_not_fit"
    assert plan.options == ()
    assert plan.recommended == "as_asked"
    assert plan.reason.code == "plan.reason_nothing"
    assert plan.as_asked.deficit_bytes > 1500 * 10**9


def test_a_card_without_kernels_is_no_fit_although_the_bytes_would_do(plan_for, gpus):
    pascal = replace(gpus.find("RTX 3090").gpu, name="old card", compute_capability="6.1")
    plan = plan_for(["Qwen/Qwen3-4B"], [pascal])
    assert plan.as_asked.verdict == "does_not_fit"
    assert plan.as_asked.deficit_bytes == 0
    assert all(option.kind == "more_hardware" for option in plan.options)


def test_float16_is_set_where_a_card_has_no_bfloat16(plan_for, gpus):
    turing = replace(gpus.find("RTX 3090").gpu, name="turing", compute_capability="7.5")
    plan = plan_for(["Qwen/Qwen3-4B"], [turing])
    assert plan.verdict == "fits"
    deployment = plan.as_asked.instances[0].deployment
    assert deployment.checkpoint.dtype == "float16"
    assert deployment.extra_flags == ("--dtype", "float16")
    assert "plan.needs_half" in {note.code for note in plan.assumptions}


def test_no_card_at_all_is_answered_with_the_hardware_that_would_do():
    plan = plan_of([dense("m8", 8)], [])
    assert plan.verdict == "fits_with_changes"
    assert {option.kind for option in plan.options} == {"more_hardware"}


def test_a_long_context_keeps_the_context_and_lowers_what_was_not_stated():
    plan = plan_of([dense("m8", 8)], [card(24)], context=32768, stated=frozenset({"context"}))
    assert plan.as_asked.verdict == "does_not_fit"
    chosen = plan.placement().instances[0].deployment
    assert chosen.max_model_len == 32768


@pytest.mark.parametrize("size", [0.6, 14, 32])
def test_sixteen_models_on_sixteen_cards_take_bounded_work(size):
    models = [dense(f"m{size}-{n}", size) for n in range(16)]
    cards = [card(24, "a")] * 8 + [card(48, "b")] * 8
    started = time.process_time()
    plan_of(models, cards)
    assert time.process_time() - started < 3


def test_a_checkpoint_nobody_published_is_never_planned(models, gpus):
    base = InstanceRequest(models.find("Qwen/Qwen3-30B-A3B-Base").spec, "mxfp8")
    with pytest.raises(BadValue) as caught:
        make_plan(PlanRequest((base,), Rig((gpus.find("H200").gpu,))))
    assert caught.value.code == "errors_plan.no_checkpoint"


def test_only_sharing_fits_and_the_reason_says_when_it_applies():
    plan = plan_of([dense("m70", 70)] * 2, [card(180)], residency="together")
    assert plan.options[0].kind == "share"
    alone = plan_of([dense("m70", 70)] * 40, [card(180)], residency="together")
    assert alone.recommended == alone.options[0].id
    assert alone.options[0].kind == "share"
    assert alone.reason.code == "plan.reason_share_only"


def test_a_laptop_is_not_told_to_add_a_card(plan_for, gpus):
    laptop = replace(gpus.find("RTX 3090").gpu, name="NVIDIA GeForce RTX 9000 Laptop GPU")
    plan = plan_for(["Qwen/Qwen3-32B@bf16"], [laptop])
    assert all("cards" not in option.id for option in plan.options)


def test_the_same_request_gives_the_same_plan(plan_for):
    first = plan_for(["Qwen/Qwen3-14B"] * 2, ["RTX 3090", "RTX 3090"])
    assert first == plan_for(["Qwen/Qwen3-14B"] * 2, ["RTX 3090", "RTX 3090"])


def test_a_free_card_is_better_than_a_neighbour(plan_for):
    plan = plan_for(["Qwen3-8B", "Llama-3.3-70B-Instruct@awq"], ["RTX 4090", "RTX PRO 6000"])
    assert plan.as_asked.verdict == "fits"
    assert [instance.gpu_indices for instance in plan.as_asked.instances] == [(0,), (1,)]


def test_a_smaller_sibling_that_is_asked_for_too_gets_a_name_of_its_own(plan_for):
    plan = plan_for(["google/gemma-3-27b-it", "google/gemma-3-12b-it"], ["RTX 3090"], engine="llama.cpp")
    smaller = [option for option in plan.options if option.kind == "smaller_model"]
    for option in smaller:
        names = [name for one in option.placement.instances for name in one.served_names]
        assert len(set(names)) == 2
