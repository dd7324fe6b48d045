"""What holds for every plan, whatever is asked."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_factory import GIB, card, check_plan, check_sums, dense

from tools.domain import Gpu, InstanceRequest, ModelSpec, PlanRequest, Rig
from tools.plan.planner import make_plan

MODELS = [dense("m1", 1), dense("m3", 3), dense("m8", 8), dense("m14", 14), dense("m32", 32), dense("m70", 70)]

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

models = st.lists(st.sampled_from(MODELS), min_size=1, max_size=3)
cards = st.lists(
    st.builds(card, st.sampled_from([8, 12, 16, 24, 48, 80]), reserved=st.sampled_from([0, 0, 0.8, 3, 7.2])),
    min_size=1,
    max_size=3,
)
contexts = st.sampled_from([512, 4096, 8192, 30000, 131072])
users = st.integers(1, 32)


def request(specs: list[ModelSpec], gpus: list[Gpu], context: int, sequences: int) -> PlanRequest:
    instances = tuple(InstanceRequest(spec, "any", context, sequences, spec.name) for spec in specs)
    return PlanRequest(instances, Rig(tuple(gpus)))


@given(models, cards, contexts, users)
@quick
def test_sums_starts_and_caches_hold_for_as_asked_and_every_option(specs, gpus, context, sequences):
    check_plan(make_plan(request(specs, gpus, context, sequences)))


@given(models, cards, contexts, users, st.integers(0, 2), st.integers(1, 60))
@quick
def test_more_memory_never_turns_fits_into_does_not_fit(specs, gpus, context, sequences, which, more):
    before = make_plan(request(specs, gpus, context, sequences)).as_asked
    which %= len(gpus)
    larger = gpus[which].cuda_total_bytes + more * GIB
    alike = [  # cards of one name stay equal
        replace(gpu, cuda_total_bytes=larger, memory_bytes=larger) if gpu.name == gpus[which].name else gpu
        for gpu in gpus
    ]
    after = make_plan(request(specs, alike, context, sequences)).as_asked
    check_sums(after)
    if before.verdict == "fits":
        assert after.verdict == "fits"
    elif len(specs) == 1:  # several are seated one by one for show, so what they lack together is no minimum
        assert after.deficit_bytes <= before.deficit_bytes


@given(models, st.sampled_from(MODELS), cards, contexts, users)
@quick
def test_an_instance_more_never_makes_what_did_not_fit_fit(specs, extra, gpus, context, sequences):
    before = make_plan(request(specs, gpus, context, sequences)).as_asked
    after = make_plan(request([*specs, extra], gpus, context, sequences)).as_asked
    if before.verdict == "does_not_fit":
        assert after.verdict == "does_not_fit"
    if before.verdict == after.verdict == "does_not_fit":
        assert sum(gpu.free_bytes for gpu in after.gpus) <= sum(gpu.free_bytes for gpu in before.gpus) + GIB


@given(models, cards, contexts, users, st.sampled_from([0.5, 2, 5]))
@quick
def test_memory_taken_by_others_never_helps(specs, gpus, context, sequences, taken):
    before = make_plan(request(specs, gpus, context, sequences)).as_asked
    busy = [replace(gpu, reserved_bytes=gpu.reserved_bytes + round(taken * GIB)) for gpu in gpus]
    after = make_plan(request(specs, busy, context, sequences)).as_asked
    if before.verdict == "does_not_fit":
        assert after.verdict == "does_not_fit"
    if len(specs) == 1:
        assert after.deficit_bytes >= before.deficit_bytes
