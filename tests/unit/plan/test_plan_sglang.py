"""Plans for SGLang: shares of what is free at each start, tokens stated, formats that it loads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_factory import GIB, card, check_plan, dense

from tools.domain import Checkpoint, Gpu, InstanceRequest, ModelSpec, Plan, PlanRequest, Rig
from tools.plan.kernels import runs_on
from tools.plan.other_engine import replan
from tools.plan.planner import make_plan
from tools.specs.formats import by_word
from tools.specs.gpus import GpuCatalogue

PlanFor = Callable[..., Plan]


def test_two_instances_on_one_96_gb_card_start_in_order(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-30B-A3B@fp8"] * 2, ["RTX PRO 6000"], engine="sglang")
    assert plan.as_asked.verdict == "fits"
    first, second = sorted(plan.as_asked.instances, key=lambda one: one.start_order)
    total = plan.as_asked.gpus[0].total_bytes
    for one, before in ((first, 0), (second, first.footprint.total_bytes)):
        footprint, options = one.footprint, one.deployment.options
        free = total - before - 0.45 * GIB
        assert options.static_share is not None
        assert options.total_tokens is not None
        assert footprint.kv_pool_bytes is not None
        wanted = footprint.weights_bytes + footprint.kv_pool_bytes.value + GIB  # 1 GiB of graphs
        assert options.static_share == pytest.approx(wanted / free, abs=0.002)
        assert options.total_tokens >= 4 * 8192
        assert footprint.kv_pool_tokens == options.total_tokens
    shares = [one.deployment.options.static_share or 0 for one in (first, second)]
    assert shares[1] > shares[0]  # of less that is free
    assert first.deployment.options.total_tokens == second.deployment.options.total_tokens


def test_the_same_checkpoints_stay_where_sglang_loads_them(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"])
    for option in ("fp8-fp8", "bf16-gptq-int4", "share"):
        before = plan.placement(option)
        made, chosen, notes = replan(plan, option, "sglang")
        after = made.placement(chosen)
        assert [one.deployment.checkpoint.repo for one in after.instances] == [
            one.deployment.checkpoint.repo for one in before.instances
        ]
        assert "plan.mapped" not in {note.code for note in notes}
    _, chosen, notes = replan(plan, "as_asked", "sglang")
    assert chosen == "fp8-fp8"
    assert "plan.mapped_changed" in {note.code for note in notes}


def test_gguf_becomes_a_format_that_sglang_loads(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-14B@gguf-Q4_K_M"], ["RTX 4090"], engine="llama.cpp")
    made, chosen, notes = replan(plan, None, "sglang")
    assert made.placement(chosen).instances[0].deployment.checkpoint.quantization.method in {"awq", "gptq"}
    assert "plan.mapped" in {note.code for note in notes}


@pytest.mark.parametrize(
    ("precision", "card_name", "runs"),
    [
        ("bf16", "T4", True),
        ("awq", "T4", False),
        ("awq", "RTX 3090", True),
        ("gptq-int4", "MI300X", True),
        ("bf16", "RX 7900 XTX", False),
        ("mxfp8", "RTX 4090", False),
        ("mxfp8", "B200", True),
        ("bf16", "Tesla P40", False),
    ],
)
def test_kernels_are_sglangs_own(precision: str, card_name: str, runs: bool):
    gpu = GpuCatalogue.load().find(card_name).gpu
    assert runs_on(Checkpoint("lab/m", precision, by_word(precision)), gpu, "sglang").runs is runs


def test_one_runs_at_a_time_where_two_do_not_fit(plan_for: PlanFor):
    plan = plan_for(["Qwen/Qwen3-30B-A3B"] * 2, ["RTX PRO 6000"], engine="sglang", residency="swap")
    assert plan.as_asked.verdict == "fits"
    assert [one.awake for one in plan.as_asked.instances] == [True, False]
    assert not any(one.deployment.sleep_mode for one in plan.as_asked.instances)


MODELS = [dense("m1", 1), dense("m8", 8), dense("m14", 14), dense("m32", 32)]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(
    st.lists(st.sampled_from(MODELS), min_size=1, max_size=3),
    st.lists(st.builds(card, st.sampled_from([12, 24, 48, 80]), reserved=st.sampled_from([0, 0.8, 3])), min_size=1,
             max_size=3),
    st.sampled_from([512, 8192, 30000]),
    st.integers(1, 16),
)  # fmt: skip
@quick
def test_every_start_holds(specs: list[ModelSpec], gpus: list[Gpu], context: int, users: int):
    instances = tuple(InstanceRequest(spec, "any", context, users, spec.name) for spec in specs)
    check_plan(make_plan(PlanRequest(instances, Rig(tuple(gpus)), engine="sglang")))
