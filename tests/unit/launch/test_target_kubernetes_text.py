"""The chart's values, checks and words of the files for Kubernetes, and that nothing in a name can act."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kubernetes_objects import (
    START,
    TWO_MACHINES,
    VALUES,
    documents,
    engine,
    expanded,
    made,
    objects,
    pod,
    texts,
    two,
    unchecked,
)
from launch_factory import CARD, hub_id, make_checkpoint, make_instance, make_plan

from tools.domain import Rig
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.words import joined
from tools.launch.checks.kubernetes import check_helm_values, check_kubernetes
from tools.launch.choices import Choices
from tools.launch.container_scripts import DOWNLOAD


def test_the_charts_values_say_the_same_as_the_objects():
    launch = made(two())
    (values,) = documents(texts(launch)[VALUES])
    for model, instance in zip(values["servingEngineSpec"]["modelSpec"], two().placement().instances, strict=True):
        config = model["vllmConfig"]
        deployment = instance.deployment
        assert model["modelURL"] == deployment.checkpoint.repo
        assert (config["maxModelLen"], config["maxNumSeqs"]) == (deployment.max_model_len, deployment.max_num_seqs)
        assert config["gpuMemoryUtilization"] == deployment.gpu_memory_utilization
        assert config["enablePrefixCaching"] is True  # else the chart turns it off
        at = config["extraArgs"].index("--kv-cache-memory-bytes")
        assert config["extraArgs"][at + 1] == str(deployment.kv_cache_memory_bytes)
        assert model["requestGPU"] == 1
    assert values["servingEngineSpec"]["strategy"] == {"type": "Recreate"}
    assert values["routerSpec"]["serviceType"] == "ClusterIP"
    second = values["servingEngineSpec"]["modelSpec"][1]["initContainer"]
    assert second["args"][-1] == "http://rigfit-qwen-a-engine-service:80"
    assert expanded([next(e["value"] for e in second["env"] if e["name"] == "DOWNLOAD")]) == [DOWNLOAD]


def test_an_open_way_in_is_not_the_charts_router_and_its_key_is_at_hand():
    found = texts(made(two(), choices=Choices(open=True)))
    (values,) = documents(found[VALUES])
    assert values["routerSpec"]["serviceType"] == "ClusterIP"
    assert 'export VLLM_API_KEY="$(openssl rand -hex 32)"' in found["README.md"]


def test_the_chart_says_once_whether_prompts_are_cached():
    launch = made(make_plan(make_instance("a", prefix_caching=False)))
    (values,) = documents(texts(launch)[VALUES])
    (model,) = values["servingEngineSpec"]["modelSpec"]
    assert model["vllmConfig"]["enablePrefixCaching"] is False
    assert not [word for word in model["vllmConfig"]["extraArgs"] if "prefix-caching" in word]


def test_cards_are_named_with_their_machine_where_there_are_several():
    plan = make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES)
    assert "on card 0, 1 of machine 1; 0, 1 of machine 2\n" in texts(made(plan))["engine-big.yaml"]


def test_a_field_that_the_chart_does_not_have_is_told():
    text = texts(made(two()))[VALUES]
    assert check_helm_values(text).ok
    for wrong in (text.replace("maxModelLen", "maxModelLength"), text.replace("replicaCount: 1", 'replicaCount: "1"')):
        assert check_helm_values(wrong).ok is False


def test_a_wrong_field_of_an_object_is_told_where_the_validator_is_there():
    pytest.importorskip("kubernetes_validate")
    text = texts(made(make_plan(make_instance("a"))))["engine-a.yaml"]
    assert check_kubernetes({"a": text}).ok
    for wrong in (text.replace("startupProbe", "startProbe"), text.replace("replicas: 1", "replicas: one")):
        assert check_kubernetes({"a": wrong}).ok is False


def test_no_check_fails():
    plans = (
        two(),
        make_plan(make_instance("solo")),
        make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap"),
        make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES),
        make_plan(make_instance("a"), make_instance("b"), rig=Rig((replace(CARD, vendor="amd"),))),
    )
    for plan in plans:
        checks = {check.name: check for check in made(plan).checks}
        assert {"yaml", "kubernetes-schema", "vllm-flags"} <= set(checks)
        assert all(check.ok is not False for check in checks.values()), checks


@pytest.mark.parametrize(("language", "word"), [("en", "weights"), ("ru", "веса")])
def test_files_begin_with_what_they_rest_on_and_the_readme_speaks_the_askers_language(language: str, word: str):
    launch = made(two(), language=language)
    for file in launch.files:
        if file.path.endswith(".yaml"):
            assert file.content.startswith("# ")
            assert "rigfit explain" in file.content
    assert word in texts(launch)["README.md"]
    assert "time-slicing" in texts(launch)["README.md"]


def test_names_are_labels_that_leave_room_for_what_is_put_around_them():
    launch = made(make_plan(make_instance("x" * 300, gpus=(0, 2), pp=2), rig=TWO_MACHINES))
    for _, name in objects(launch):
        assert re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,50}[a-z0-9])?", name)  # a set adds its revision to a label


printable = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
    | st.sampled_from(list("$`'\"\\{}()[]&*!|>%@#:,;<>?~^= \u0085\u00a0\ufeff\u200b")),
    min_size=1,
    max_size=40,
).filter(lambda text: not text.startswith("-") and "\x85" not in text)


@settings(max_examples=60, deadline=None)
@given(printable, st.lists(printable, min_size=1, max_size=3), printable)
@example("$(POD_INDEX)", ["$(HF_HOME)", "a: b # c"], "&x *x !!python/object")
@example("$$(HF_HOME)", ["'; rm -rf ~ #", "{{ .Release.Name }}"], "a --- b")
@example("0x1F", ["1e3", "12:30:45"], "null")
@example("$", ["$$", "\u00a0"], "2026-01-01")
def test_whatever_a_name_holds_it_comes_back_as_it_went_in(name: str, served: list[str], revision: str):
    repo = hub_id(name)
    instance = make_instance("a", tuple(served), checkpoint=make_checkpoint(repo, revision=revision))
    launch = unchecked(make_plan(instance))
    container = engine(launch, "rigfit-a")
    expected = joined(vllm_argv(instance, host="0.0.0.0", port=8000))
    assert expanded(container["command"] + container["args"]) == [*START, *expected]
    first = pod(launch, "rigfit-a")["initContainers"][0]
    assert expanded(first["args"])[:2] == [repo, revision]
    (values,) = documents(texts(launch)[VALUES])
    (model,) = values["servingEngineSpec"]["modelSpec"]
    assert expanded([model["modelURL"], model["modelRevision"]]) == [repo, revision]
    at = model["vllmConfig"]["extraArgs"].index("--served-model-name")
    assert expanded(model["vllmConfig"]["extraArgs"])[at + 1 : at + 1 + len(served)] == served


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
@example("x\n---\nkind: Secret", "a\r\nb")
def test_no_text_leaves_a_comment_or_becomes_an_object(name: str, precision: str):
    instance = make_instance(name, checkpoint=make_checkpoint(precision=precision))
    kinds = sorted(kind for kind, _ in objects(unchecked(make_plan(instance))))
    assert kinds == ["ConfigMap", "Deployment", "NetworkPolicy", "NetworkPolicy", "PersistentVolumeClaim", "Service"]
