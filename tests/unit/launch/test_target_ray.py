"""Ray Serve's configuration and the RayService around it: what each engine gets, and that nothing in a name can act."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, hub_id, make_checkpoint, make_instance, make_plan
from ruamel.yaml import YAML

from tools.domain import Band, Plan, Quantization, Rig
from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_flags
from tools.launch.checks.ray import check_rayservice, check_serve_config
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.files import LaunchFiles
from tools.launch.generate import generate
from tools.launch.job import prepare
from tools.launch.targets import ray
from tools.units import GIB

FAR = replace(CARD, node=1)
TWO_MACHINES = Rig((CARD, CARD, FAR, FAR), nodes=2)


def made(plan: Plan, **options: Any) -> LaunchFiles:
    return generate(plan, target="ray", **options)


def unchecked(plan: Plan) -> LaunchFiles:
    return LaunchFiles("ray", "", ray.files(prepare(plan, None, "en", cluster=True)[0]), ())


def text_of(launch: LaunchFiles, path: str) -> str:
    return next(file.content for file in launch.files if file.path == path)


def documents(text: str) -> list[dict[str, Any]]:
    found = list(YAML(typ="safe", pure=True).load_all(text))
    assert list(pyyaml.safe_load_all(text)) == found  # YAML 1.1 and 1.2 readers agree
    return found


def models(launch: LaunchFiles) -> list[dict[str, Any]]:
    (config,) = documents(text_of(launch, "serve_config.yaml"))
    (application,) = config["applications"]
    assert application["import_path"] == "ray.serve.llm:build_openai_app"
    return application["args"]["llm_configs"]


def service(launch: LaunchFiles) -> dict[str, Any]:
    return next(d for d in documents(text_of(launch, "rayservice.yaml")) if d["kind"] == "RayService")["spec"]


def two(**second: Any) -> Plan:
    first = make_instance("qwen-a", ("qwen",), gpu_memory_utilization=0.6)
    return make_plan(first, make_instance("qwen-b", ("qwen-int4",), order=1, **second), kind="precision")


def test_an_engine_gets_exactly_the_flags_of_the_builder():
    plan = two()
    for model, instance in zip(models(made(plan)), plan.placement().instances, strict=True):
        flags = vllm_flags(instance, gpus=(CARD,))
        name = flags.pop("served-model-name")
        assert model["engine_kwargs"] == {flag.replace("-", "_"): value for flag, value in flags.items()}
        assert model["model_loading_config"] == {"model_id": name, "model_source": "Org/Model-8B"}


def test_engines_on_one_card_are_counted_for_parts_of_it_and_set_their_cache_in_bytes():
    plan = two(kv_cache_memory_bytes=None)
    first, second = models(made(plan))
    parts = [m["placement_group_config"]["bundle_per_worker"]["GPU"] for m in (first, second)]
    assert parts == [0.6, 0.25]
    pool = plan.placement().instances[1].footprint.kv_pool_bytes
    assert pool == Band(4 * GIB, 4 * GIB, 4 * GIB)
    assert second["engine_kwargs"]["kv_cache_memory_bytes"] == 4 * GIB


def test_parts_of_one_card_never_exceed_it():
    plan = make_plan(
        make_instance("a", gpu_memory_utilization=0.7),
        make_instance("b", gpu_memory_utilization=0.5, order=1),
        make_instance("c", gpu_memory_utilization=0.3, order=2),
    )
    parts = [m["placement_group_config"]["bundle_per_worker"]["GPU"] for m in models(made(plan))]
    assert 0.99 < sum(parts) <= 1
    assert parts[0] > parts[1] > parts[2] > 0


def test_an_engine_alone_on_its_cards_gets_whole_ones_on_one_machine():
    (model,) = models(made(make_plan(make_instance("a", gpus=(0, 1), tp=2), rig=Rig((CARD, CARD)))))
    group = model["placement_group_config"]
    assert group == {"bundle_per_worker": {"CPU": 1, "GPU": 1}, "strategy": "STRICT_PACK"}
    assert model["engine_kwargs"]["tensor_parallel_size"] == 2


def test_an_engine_across_machines_is_packed_and_each_machine_is_a_group_with_its_cards():
    plan = make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES)
    launch = made(plan)
    (model,) = models(launch)
    assert model["placement_group_config"]["strategy"] == "PACK"
    assert model["engine_kwargs"]["pipeline_parallel_size"] == 2
    groups = service(launch)["rayClusterConfig"]["workerGroupSpecs"]
    assert [group["groupName"] for group in groups] == ["machine-1", "machine-2"]
    for group in groups:
        (worker,) = group["template"]["spec"]["containers"]
        assert worker["resources"]["limits"] == {"nvidia.com/gpu": "2"}
        assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (1, 1, 1)


def test_engines_that_share_a_card_are_in_one_pod_with_the_whole_card():
    (group,) = service(made(two()))["rayClusterConfig"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    # cores of both engines; a worker and a replica each, one for requests, must fit into what the pod asks for
    assert int(worker["resources"]["requests"]["cpu"]) >= 2 + 2 + 1


def test_the_service_runs_the_same_application():
    launch = made(two())
    inside = pyyaml.safe_load(service(launch)["serveConfigV2"])
    (config,) = documents(text_of(launch, "serve_config.yaml"))
    assert inside["applications"] == config["applications"]
    assert config["http_options"] == {"host": "127.0.0.1", "port": 8000}
    assert "http_options" not in inside  # in a pod Ray listens on the pod's own address


def test_weights_are_fetched_onto_the_machines_disk_first_and_the_token_is_only_named():
    pinned = make_checkpoint("Org/Same", revision="abc", file_bytes=50 * GIB)
    launch = made(make_plan(make_instance("a", checkpoint=pinned), make_instance("b", checkpoint=pinned, order=1)))
    found = {document["kind"]: document for document in documents(text_of(launch, "rayservice.yaml"))}
    assert found["PersistentVolumeClaim"]["spec"]["resources"]["requests"]["storage"] == "65Gi"
    assert found["ConfigMap"]["data"]["download.py"] == DOWNLOAD
    (group,) = service(launch)["rayClusterConfig"]["workerGroupSpecs"]
    (first,) = group["template"]["spec"]["initContainers"]
    assert first["args"] == ["Org/Same", "abc", str(50 * GIB)]
    token = next(e for e in first["env"] if e["name"] == "HF_TOKEN")["valueFrom"]["secretKeyRef"]
    assert token == {"name": "rigfit-hf", "key": "token", "optional": True}


def test_ray_gives_a_model_one_name_and_no_two_the_same():
    plan = make_plan(
        make_instance("both", ("planner", "coder")),
        make_instance("again", ("planner",), gpus=(1,), order=1),
        rig=Rig((CARD, CARD)),
    )
    launch = made(plan)
    assert [m["model_loading_config"]["model_id"] for m in models(launch)] == ["planner", "again"]
    assert "not answered to: `coder`" in text_of(launch, "README.md")


def test_what_is_json_on_the_command_line_is_an_object_here():
    words = ("--compilation-config", '{"mode": 3}')
    (model,) = models(made(make_plan(make_instance("a", extra_flags=words))))
    assert model["engine_kwargs"]["compilation_config"] == {"mode": 3}


def test_what_is_switched_off_is_false():
    (model,) = models(made(make_plan(make_instance("a", prefix_caching=False))))
    assert model["engine_kwargs"]["enable_prefix_caching"] is False


def test_bitsandbytes_comes_with_the_runtime():
    checkpoint = make_checkpoint(in_flight=True, quantization=Quantization("bnb_nf4", 4))
    (model,) = models(made(make_plan(make_instance("a", checkpoint=checkpoint))))
    assert any(p.startswith("vllm-bnb-plugin==") for p in model["runtime_env"]["pip"]["packages"])


def test_models_that_take_turns_and_cards_without_an_image_are_refused():
    with pytest.raises(BadValue, match="no_turns"):
        made(make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap"))
    with pytest.raises(BadValue, match="no_ray_image"):
        made(make_plan(make_instance("a"), rig=Rig((replace(CARD, vendor="amd"),))))


def test_a_field_that_a_rayservice_does_not_have_is_told():
    text = text_of(made(two()), "rayservice.yaml")
    assert check_rayservice(documents(text))[0].ok
    for wrong in (
        text.replace("serveConfigV2", "serveConfig"),
        text.replace("minReplicas: 1", 'minReplicas: "1"'),
        text.replace("groupName", "group"),
    ):
        assert check_rayservice(documents(wrong))[0].ok is False


def test_a_wrong_configuration_is_told_where_ray_is_there():
    pytest.importorskip("ray")
    text = text_of(made(two()), "serve_config.yaml")
    assert check_serve_config(text).ok
    assert check_serve_config(text.replace("import_path: ", "import_paths: ")).ok is False


def test_no_check_fails():
    plans = (two(), make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES))
    for plan in plans:
        checks = {check.name: check for check in made(plan).checks}
        assert {"yaml", "ray-serve-schema", "kuberay-fields", "kubernetes-schema", "vllm-flags"} <= set(checks)
        assert all(check.ok is not False for check in checks.values()), checks


@pytest.mark.parametrize(("language", "word"), [("en", "weights"), ("ru", "веса")])
def test_files_begin_with_what_they_rest_on_and_which_vllm_ray_brings(language: str, word: str):
    launch = made(two(), language=language)
    for path in ("serve_config.yaml", "rayservice.yaml"):
        assert text_of(launch, path).startswith("# ")
        assert "vLLM 0.29.0" in text_of(launch, path)
        assert word in text_of(launch, path)


printable = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
    | st.sampled_from(list("$`'\"\\{}()[]&*!|>%@#:,;<>?~^= \u00a0\ufeff\u200b")),
    min_size=1,
    max_size=40,
).filter(lambda text: not text.startswith("-") and "\x85" not in text)


@settings(max_examples=60, deadline=None)
@given(printable, printable, printable)
@example("{{ 7*7 }}", '{"a": 1}', "0x1F")
@example("a: b # c", "&x *x !!python/object", "2026-01-01")
@example("a\ufeffb", "null", "1e3")
@example("a", "b", '{"a": 1}')
def test_whatever_a_name_holds_it_comes_back_as_it_went_in(name: str, served: str, revision: str):
    repo = hub_id(name)
    instance = make_instance("a", (served,), checkpoint=make_checkpoint(repo, revision=revision))
    launch = unchecked(make_plan(instance))
    (model,) = models(launch)
    assert model["model_loading_config"] == {"model_id": served, "model_source": repo}
    assert model["engine_kwargs"]["revision"] == revision
    inside = pyyaml.safe_load(service(launch)["serveConfigV2"])
    assert inside["applications"][0]["args"]["llm_configs"] == [model]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
@example("x\n---\nkind: Secret", "a\r\nb")
def test_no_text_leaves_a_comment_or_becomes_an_object(name: str, precision: str):
    launch = unchecked(make_plan(make_instance(name, checkpoint=make_checkpoint(precision=precision))))
    kinds = [document["kind"] for document in documents(text_of(launch, "rayservice.yaml"))]
    assert kinds == ["PersistentVolumeClaim", "ConfigMap", "RayService"]
