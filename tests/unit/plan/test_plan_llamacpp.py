"""Plans for llama.cpp and Ollama: whole layers, plain sums, GGUF files, experts in RAM."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_factory import GIB, card, check_plan, dense

from tools.domain import Gpu, InstanceRequest, ModelSpec, Plan, PlanRequest, Rig
from tools.errors import BadValue
from tools.plan.planner import make_plan
from tools.plan.report import plan_from_json, plan_json
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.vram.engines.by_card import bytes_by_card
from tools.vram.estimate import estimate

MOE = "Qwen/Qwen3-30B-A3B@gguf-Q4_K_M"
PlanFor = Callable[..., Plan]


def option_ids(plan: Plan) -> set[str]:
    return {option.id for option in plan.options}


def test_two_moe_models_on_one_24_gb_card_do_not_fit_together_but_by_turns(plan_for: PlanFor):
    plan = plan_for([MOE, MOE], ["RTX 3090"], engine="llama.cpp")
    asked = plan.as_asked
    assert asked.verdict == "does_not_fit"
    # 17.11 GiB of file less the table, 32,768 cells of 96 KiB = 3 GiB, a context of 0.4 GiB and a small buffer
    for instance in asked.instances:
        footprint = instance.footprint
        assert footprint.weights_bytes / GIB == pytest.approx(17.11, abs=0.05)
        assert footprint.kv_needed_bytes == 3 * GIB
        assert footprint.total_bytes / GIB == pytest.approx(20.58, abs=0.1)
        assert instance.deployment.options.context_total == 4 * 8192
    turns = next(option for option in plan.options if option.kind == "swap")
    assert [instance.awake for instance in turns.placement.instances] == [True, False]
    assert not any(instance.deployment.sleep_mode for instance in turns.placement.instances)
    assert turns.costs.ram_bytes is None
    assert turns.costs.wake_s is not None


def test_experts_go_to_ram_before_whole_layers_and_dense_models_leave_layers(plan_for: PlanFor):
    sparse = plan_for([MOE], ["RTX 3060"], engine="llama.cpp", residency="together")
    apart = next(option for option in sparse.options if option.kind == "offload").placement.instances[0]
    assert apart.deployment.options.experts_in_ram > 0
    assert apart.deployment.options.gpu_layers is None
    solid = plan_for(["Qwen/Qwen3-32B@gguf-Q4_K_M"], ["RTX 3060"], engine="ollama")
    layers = next(option for option in solid.options if option.kind == "offload").placement.instances[0]
    assert layers.deployment.options.experts_in_ram == 0
    assert 0 < (layers.deployment.options.gpu_layers or 0) < 65
    slow = next(option for option in solid.options if option.kind == "offload").costs.decode_tokens_per_s
    fast = next(option for option in sparse.options if option.kind == "offload").costs.decode_tokens_per_s
    assert slow is not None
    assert fast is not None
    assert slow.value < fast.value


def test_unequal_cards_share_the_layers_by_their_room(plan_for: PlanFor):
    plan = plan_for(
        ["Qwen/Qwen3-32B@gguf-Q4_K_M"], ["RTX 3090", "RTX 3060"], engine="llama.cpp", context=32768, users=1
    )
    assert plan.as_asked.verdict == "fits"
    (only,) = plan.as_asked.instances
    split = only.deployment.options.split
    assert only.gpu_indices == (0, 1)
    assert sum(split) == 65  # 64 layers and the output
    assert 1.7 < split[0] / split[1] < 2.4  # 23.6 GiB to 11.6 GiB, less what each card needs anyway
    assert only.card_bytes == bytes_by_card(only.deployment, plan.request.rig.gpus[0])
    assert max(only.card_bytes) == only.footprint.total_bytes
    whole = plan_for(["Qwen/Qwen3-32B@awq"], ["RTX 3090", "RTX 3060"], context=32768, users=1)
    assert whole.as_asked.verdict == "does_not_fit"  # vLLM's cards must be equal


def test_files_are_published_ones_first_then_taken_to_be_there_then_made(plan_for: PlanFor):
    def file_of(name: str) -> tuple[str, bool, set[str]]:
        plan = plan_for([name], ["RTX PRO 6000"], engine="llama.cpp")
        checkpoint = plan.as_asked.instances[0].deployment.checkpoint
        return checkpoint.repo, checkpoint.hypothetical, {note.code for note in plan.assumptions}

    assert file_of("Qwen/Qwen3-14B@gguf-Q4_K_M")[:2] == ("Qwen/Qwen3-14B-GGUF", False)
    repo, made, codes = file_of(MOE)
    assert (repo, made) == ("unsloth/Qwen3-30B-A3B-GGUF", False)
    assert "plan.gguf_assumed" in codes
    repo, made, codes = file_of("Qwen/Qwen3-32B@gguf-Q6_K")
    assert (repo, made) == ("Qwen/Qwen3-32B", True)
    assert "plan.gguf_to_make" in codes


def test_an_architecture_that_llama_cpp_does_not_know_is_refused_with_the_reason(plan_for: PlanFor):
    with pytest.raises(BadValue) as refused:
        plan_for(["facebook/opt-66b"], ["RTX PRO 6000"], engine="llama.cpp")
    assert refused.value.code == "errors_plan.no_gguf"


def test_cards_that_vllm_does_not_know_run_llama_cpp(plan_for: PlanFor):
    for name in ("Tesla P40", "Apple M4 Max 64GB", "Arc B580", "RX 7900 XTX"):
        plan = plan_for(["Qwen/Qwen3-8B@gguf-Q4_K_M"], [name], engine="llama.cpp")
        assert plan.as_asked.verdict == "fits", name
        assert "plan.engine_not_there" not in {note.code for note in plan.assumptions}
    gaudi = plan_for(["Qwen/Qwen3-8B@gguf-Q4_K_M"], ["Gaudi 2"], engine="llama.cpp")
    assert gaudi.as_asked.verdict == "does_not_fit"


def test_a_smaller_cache_is_llama_cpps_own_type(plan_for: PlanFor):
    plan = plan_for([MOE], ["RTX 3090"], engine="llama.cpp", context=32768, users=2, kv_dtype="q8_0")
    instance = plan.as_asked.instances[0]
    assert instance.deployment.kv_dtype == "q8_0"
    # 65,536 cells x 48 layers x 2 x (512 elements in blocks of 32: 16 x 34 B)
    assert instance.footprint.kv_needed_bytes == 65_536 * 48 * 2 * 544


MODELS = [dense("m1", 1), dense("m3", 3), dense("m8", 8), dense("m14", 14), dense("m32", 32), dense("m70", 70)]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
engines = st.sampled_from(["llama.cpp", "ollama", "lm studio"])
models = st.lists(st.sampled_from(MODELS), min_size=1, max_size=3)
cards = st.lists(
    st.builds(card, st.sampled_from([8, 12, 16, 24, 48, 80]), reserved=st.sampled_from([0, 0, 0.8, 3])),
    min_size=1,
    max_size=4,
)


@given(models, cards, st.sampled_from([512, 8192, 30000]), st.integers(1, 16), engines)
@quick
def test_nothing_is_over_full_and_parts_add_up(
    specs: list[ModelSpec], gpus: list[Gpu], context: int, users: int, engine: str
):
    instances = tuple(InstanceRequest(spec, "any", context, users, spec.name) for spec in specs)
    plan = make_plan(PlanRequest(instances, Rig(tuple(gpus)), engine=engine))
    check_plan(plan)
    for placement in (plan.as_asked, *(option.placement for option in plan.options)):
        for instance in placement.instances:
            deployment, footprint = instance.deployment, instance.footprint
            gpu = max(
                (gpus[card] for card in instance.gpu_indices if card < len(gpus)),
                default=gpus[0],
                key=lambda one: one.cuda_total_bytes,
            )
            again = estimate(deployment, gpu)
            assert again.total_bytes == footprint.total_bytes
            parts = footprint.weights_bytes + footprint.kv_needed_bytes
            parts += footprint.activation_bytes.value + footprint.context_bytes.value
            assert abs(parts - footprint.total_bytes) <= 1
            assert deployment.options.context_total == (deployment.max_model_len or 0) * (deployment.max_num_seqs or 0)
            if deployment.options.gpu_layers is None and deployment.pp > 1:
                assert sum(deployment.options.split) == len(deployment.model.layers) + 1


def test_where_no_one_model_can_make_room_alone_every_model_leaves_a_part_in_ram(plan_for: PlanFor):
    plan = plan_for([MOE] * 3, ["RTX 3090"], engine="llama.cpp", residency="together")
    spread = next(option for option in plan.options if option.id == "offload")
    assert len({one.deployment.options.experts_in_ram for one in spread.placement.instances}) == 1
    assert all(one.deployment.options.experts_in_ram for one in spread.placement.instances)
    assert spread.costs.ram_bytes is not None
    assert spread.costs.ram_bytes > 30 * GIB


@pytest.mark.parametrize("engine", ["llama.cpp", "ollama", "sglang", "text-generation-webui", "exllamav3"])
def test_a_plans_file_is_planned_again_for_its_engine(
    plan_for: PlanFor, models: ModelCatalogue, gpus: GpuCatalogue, engine: str
):
    plan = plan_for(["Qwen/Qwen3-14B"], ["RTX 3090", "RTX 3060"], engine=engine, kv_dtype="auto")
    written = json.loads(json.dumps(plan_json(plan)))
    assert written["asked"]["engine"] == engine
    (only,) = written["as_asked"]["footprints"]
    assert only["engine"] == engine
    assert max(only["bytes_by_gpu"]) == only["total_bytes_per_gpu"]
    assert len(only["bytes_by_gpu"]) == len(only["gpu_indices"])
    again = plan_from_json(written, models, gpus)
    assert again.request.engine == engine
    assert plan_json(again)["as_asked"] == written["as_asked"]
    assert plan_json(again)["recommended"] == written["recommended"]
