"""One model over several machines, and steps that are smaller for models with sliding windows."""

from __future__ import annotations

from collections.abc import Callable

from plan_factory import GIB, card, dense

from tools.domain import InstanceRequest, Plan, PlanRequest, Rig
from tools.plan.planner import make_plan

PlanFor = Callable[..., Plan]


def plan_over(nodes: int, each: int, *, billions: float = 70, memory: float = 80) -> Plan:
    gpus = tuple(card(memory, node=node) for node in range(nodes) for _ in range(each))
    return make_plan(PlanRequest((InstanceRequest(dense("m", billions), "any", 8192, 4, "m"),), Rig(gpus, nodes)))


def test_a_model_that_no_machine_holds_is_spread_over_equal_ones():
    plan = plan_over(2, 2, billions=130)  # 242 GiB of weights, 160 GiB of cards a machine
    assert plan.as_asked.verdict == "does_not_fit"
    spread = next(option for option in plan.options if option.kind == "parallel")
    (only,) = spread.placement.instances
    assert (only.deployment.tp, only.deployment.pp) == (2, 2)
    assert only.gpu_indices == (0, 1, 2, 3)
    assert only.footprint.weights_bytes < 80 * GIB
    assert {note.code for note in spread.needs} >= {"plan.needs_network"}
    assert plan.recommended == spread.id


def test_it_is_not_offered_where_one_machine_holds_the_model_or_there_is_only_one():
    assert not [option for option in plan_over(2, 2).options if option.kind == "parallel" and "machine" in option.id]
    alone = plan_over(1, 2, billions=130)
    assert not [option for option in alone.options if option.kind == "parallel"]


def test_machines_of_different_cards_are_not_joined():
    gpus = (card(80, node=0), card(80, node=0), card(48, node=1), card(48, node=1))
    asked = (InstanceRequest(dense("m", 100), "any", 8192, 4, "m"),)
    plan = make_plan(PlanRequest(asked, Rig(gpus, 2)))
    assert not [option for option in plan.options if option.kind == "parallel"]


def test_a_smaller_step_lowers_what_windows_need_and_only_where_it_must(plan_for: PlanFor):
    roomy = plan_for(["google/gemma-3-27b-it"], ["RTX PRO 6000"])
    assert roomy.as_asked.instances[0].deployment.max_num_batched_tokens is None
    # 12 sequences: 17.5 GiB x 3 of cache with steps of 8,192, 11.9 x 3 with 2,048, beside 51.2 of weights
    tight = plan_for(["google/gemma-3-27b-it"], ["RTX PRO 6000"], users=12)
    (only,) = tight.as_asked.instances
    assert tight.as_asked.verdict == "fits"
    assert only.deployment.max_num_batched_tokens in {1024, 2048}
    assert "plan.smaller_step" in {note.code for note in tight.assumptions}
    full = plan_for(["Qwen/Qwen3-32B"], ["RTX 4090"])
    assert all(one.deployment.max_num_batched_tokens is None for one in full.as_asked.instances)
