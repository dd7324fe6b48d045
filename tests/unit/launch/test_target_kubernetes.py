"""Objects for Kubernetes: what each engine asks for, in which order they start, and that nothing in a name can act."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, hub_id, make_checkpoint, make_instance, make_plan
from ruamel.yaml import YAML

from tools.domain import Plan, Quantization, Rig
from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.words import joined
from tools.launch.checks.kubernetes import check_helm_values, check_kubernetes
from tools.launch.choices import Choices
from tools.launch.container_scripts import DOWNLOAD, SLEEP, WAIT
from tools.launch.files import LaunchFiles
from tools.launch.generate import generate
from tools.launch.job import prepare
from tools.launch.targets import kubernetes
from tools.units import GIB

VALUES = "values-production-stack.yaml"
START = ["python3", "/rigfit/start.py"]
TWO_MACHINES = Rig((CARD, CARD, replace(CARD, node=1), replace(CARD, node=1)), nodes=2)


def made(plan: Plan, **options: Any) -> LaunchFiles:
    return generate(plan, target="kubernetes", **options)


def unchecked(plan: Plan) -> LaunchFiles:
    job = prepare(plan, None, "en", cluster=True)[0]
    return LaunchFiles("kubernetes", "", kubernetes.files(job), ())


def texts(launch: LaunchFiles) -> dict[str, str]:
    return {file.path: file.content for file in launch.files}


def documents(text: str) -> Iterator[dict[str, Any]]:
    found = list(YAML(typ="safe", pure=True).load_all(text))
    assert list(pyyaml.safe_load_all(text)) == found  # YAML 1.1 and 1.2 readers agree
    yield from found


def objects(launch: LaunchFiles) -> dict[tuple[str, str], dict[str, Any]]:
    """Every object that ``kubectl apply -k .`` would make, by kind and name."""
    files = texts(launch)
    named = next(documents(files["kustomization.yaml"]))["resources"]
    found = [document for path in named for document in documents(files[path])]
    by_name = {(o["kind"], o["metadata"]["name"]): o for o in found}
    assert len(by_name) == len(found)
    return by_name


def pod(launch: LaunchFiles, name: str, kind: str = "Deployment") -> dict[str, Any]:
    return objects(launch)[kind, name]["spec"]["template"]["spec"]


def engine(launch: LaunchFiles, name: str, kind: str = "Deployment") -> dict[str, Any]:
    return next(c for c in pod(launch, name, kind)["containers"] if c["name"] == "vllm")


def expanded(words: list[str]) -> list[str]:
    """Words of a command as Kubernetes runs them; a reference that it would replace is a fault."""

    def one(found: re.Match[str]) -> str:
        assert found[0] == "$$", found.string
        return "$"

    return [re.sub(r"\$\$|\$\([^)]*\)", one, word) for word in words]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def two(**second: Any) -> Plan:
    first = make_instance("qwen-a", ("qwen",), gpu_memory_utilization=0.6)
    return make_plan(first, make_instance("qwen-b", ("qwen-int4",), order=1, **second), kind="precision")


def test_an_engine_gets_exactly_the_flags_of_the_builder():
    plan = two()
    container = engine(made(plan), "rigfit-qwen-a")
    expected = joined(vllm_argv(plan.placement().instances[0], host="0.0.0.0", port=8000))
    assert expanded(container["command"] + container["args"]) == [*START, *expected]
    assert container["image"] == "vllm/vllm-openai:v0.32.0"


def test_an_engine_with_cards_of_its_own_asks_for_whole_ones():
    launch = made(make_plan(make_instance("a", gpus=(0, 1), tp=2), rig=Rig((CARD, CARD))))
    container = engine(launch, "rigfit-a")
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert "CUDA_VISIBLE_DEVICES" not in environment(container)
    assert "gpu-slices.yaml" not in texts(launch)


def test_engines_on_one_card_ask_for_slices_that_the_device_plugin_is_told_to_cut():
    launch = made(two())
    config = next(documents(texts(launch)["gpu-slices.yaml"]))
    sharing = pyyaml.safe_load(config["data"]["rigfit-2-slices"])["sharing"]["timeSlicing"]
    assert sharing["resources"] == [{"name": "nvidia.com/gpu", "replicas": 2}]
    for name in ("rigfit-qwen-a", "rigfit-qwen-b"):
        assert engine(launch, name)["resources"]["limits"] == {"nvidia.com/gpu": "1"}
        assert environment(engine(launch, name))["CUDA_VISIBLE_DEVICES"] == "0"
        node = pod(launch, name)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (term,) = node["nodeSelectorTerms"][0]["matchExpressions"]
        assert (term["key"], term["values"]) == ("nvidia.com/device-plugin.config", ["rigfit-2-slices"])
    assert ("ConfigMap", "rigfit-gpu-slices") not in objects(launch)  # it belongs to the plugin's own namespace


def test_on_a_machine_of_several_cards_every_engine_asks_for_a_slice_of_each_and_sees_its_own():
    plan = make_plan(
        make_instance("a", gpus=(0,)),
        make_instance("b", gpus=(0,), order=1),
        make_instance("c", gpus=(1, 2), tp=2, order=2),
        rig=Rig((CARD,) * 3),
    )
    launch = made(plan)
    seen = {}
    for name in "abc":
        container = engine(launch, f"rigfit-{name}")
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "3"}
        seen[name] = environment(container)["CUDA_VISIBLE_DEVICES"]
    assert seen == {"a": "0", "b": "0", "c": "1,2"}
    assert "rigfit-3-slices" in next(documents(texts(launch)["gpu-slices.yaml"]))["data"]


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_engines_can_share_a_claim_on_their_cards(vendor: str):
    plan = make_plan(
        make_instance("a", gpus=(1,)),
        make_instance("b", gpus=(1,), order=1),
        rig=Rig((replace(CARD, vendor=vendor),) * 2),
    )
    launch = made(plan, choices=Choices(sharing="claims"))
    claim = objects(launch)["ResourceClaim", "rigfit-cards-a"]["spec"]["devices"]["requests"][0]["exactly"]
    assert (claim["deviceClassName"], claim["count"]) == (f"gpu.{vendor}.com", 1)
    for name in ("rigfit-a", "rigfit-b"):
        assert pod(launch, name)["resourceClaims"] == [{"name": "cards", "resourceClaimName": "rigfit-cards-a"}]
        assert engine(launch, name)["resources"]["claims"] == [{"name": "cards"}]
        assert "limits" not in engine(launch, name)["resources"]
        visible = "CUDA_VISIBLE_DEVICES" if vendor == "nvidia" else "HIP_VISIBLE_DEVICES"
        assert environment(engine(launch, name))[visible] == "0"  # counted among the claim's own
    assert "gpu-slices.yaml" not in texts(launch)


def test_amd_cards_are_shared_by_claims_since_their_plugin_cuts_no_slices():
    launch = made(make_plan(make_instance("a"), make_instance("b"), rig=Rig((replace(CARD, vendor="amd"),))))
    assert ("ResourceClaim", "rigfit-cards-a") in objects(launch)
    assert engine(launch, "rigfit-a")["image"] == "vllm/vllm-openai-rocm:v0.32.0"


def test_engines_that_share_a_card_start_one_after_the_other():
    launch = made(two())
    assert [c["name"] for c in pod(launch, "rigfit-qwen-a")["initContainers"]] == ["download"]
    _, wait = pod(launch, "rigfit-qwen-b")["initContainers"]
    assert wait["command"] == ["python3", "/rigfit/wait.py"]
    assert wait["args"] == ["http://rigfit-qwen-a:8000"]
    service = objects(launch)["Service", "rigfit-qwen-a"]["spec"]
    labels = objects(launch)["Deployment", "rigfit-qwen-a"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["port"] == 8000


def test_engines_with_cards_of_their_own_do_not_wait_for_each_other():
    launch = made(make_plan(make_instance("a"), make_instance("b", gpus=(1,), order=1), rig=Rig((CARD, CARD))))
    for name in ("rigfit-a", "rigfit-b"):
        assert [c["name"] for c in pod(launch, name)["initContainers"]] == ["download"]


def test_in_a_swap_the_next_engine_puts_the_one_before_to_sleep():
    plan = make_plan(make_instance("awake", order=0), make_instance("asleep", order=1, awake=False), kind="swap")
    launch = made(plan)
    steps = [(c["command"][1], c["args"][0]) for c in pod(launch, "rigfit-awake")["initContainers"][1:]]
    assert steps == [
        ("/rigfit/wait.py", "http://rigfit-asleep:8000"),
        ("/rigfit/sleep.py", "http://rigfit-asleep:8000"),
    ]
    assert objects(launch)["ConfigMap", "rigfit-programs"]["data"]["sleep.py"] == SLEEP
    for name in ("rigfit-awake", "rigfit-asleep"):
        assert environment(engine(launch, name))["VLLM_SERVER_DEV_MODE"] == "1"
        assert int(engine(launch, name)["resources"]["requests"]["memory"].removesuffix("Gi")) == 4 + 6 + 16
    assert VALUES not in texts(launch)


def test_probes_give_an_engine_the_time_it_needs():
    def seconds(size: int) -> int:
        plan = make_plan(make_instance("a", checkpoint=make_checkpoint(file_bytes=size)))
        probe = engine(made(plan), "rigfit-a")["startupProbe"]
        assert probe["httpGet"] == {"path": "/health", "port": "http"}
        return probe["periodSeconds"] * probe["failureThreshold"]

    assert seconds(200 * GIB) - seconds(GIB) >= 199 * GIB / 1e9
    assert seconds(GIB) >= 300


def test_a_new_pod_never_starts_beside_the_old_one():
    for found in objects(made(two())).values():
        if found["kind"] == "Deployment" and "endpoint" not in found["metadata"]["name"]:
            assert found["spec"]["strategy"] == {"type": "Recreate"}


def test_a_disk_holds_every_checkpoint_of_its_machine_once():
    big, small = make_checkpoint("Org/Big", file_bytes=100 * GIB), make_checkpoint("Org/Small", file_bytes=20 * GIB)
    plan = make_plan(
        make_instance("a", checkpoint=big),
        make_instance("b", checkpoint=big, gpus=(1,), order=1),
        make_instance("c", checkpoint=small, gpus=(2,), order=2),
        rig=TWO_MACHINES,
    )
    found = objects(made(plan))
    sizes = [found["PersistentVolumeClaim", f"rigfit-weights-{n}"]["spec"]["resources"]["requests"] for n in (1, 2)]
    assert [size["storage"] for size in sizes] == ["120Gi", "32Gi"]  # 1.1 x size + 10


def test_engines_of_one_machine_stay_on_one_machine():
    plan = make_plan(make_instance("a"), make_instance("b", gpus=(1,)), make_instance("c", gpus=(2,)), rig=TWO_MACHINES)
    launch = made(plan)
    rule = "requiredDuringSchedulingIgnoredDuringExecution"
    (term,) = pod(launch, "rigfit-a")["affinity"]["podAffinity"][rule]
    for name in ("rigfit-a", "rigfit-b"):
        labels = objects(launch)["Deployment", name]["spec"]["template"]["metadata"]["labels"]
        assert term["labelSelector"]["matchLabels"].items() <= labels.items()
    assert "podAffinity" not in pod(launch, "rigfit-c")["affinity"]


def test_weights_are_fetched_before_the_engine_and_only_there_with_the_token():
    pinned = make_checkpoint("Org/Same", revision="abc123", file_bytes=5 * GIB)
    launch = made(make_plan(make_instance("a", checkpoint=pinned)))
    first = pod(launch, "rigfit-a")["initContainers"][0]
    assert first["args"] == ["Org/Same", "abc123", str(5 * GIB)]
    programs = objects(launch)["ConfigMap", "rigfit-programs"]["data"]
    assert (programs["download.py"], programs["wait.py"]) == (DOWNLOAD, WAIT)
    assert "wanted_share" in programs["start.py"]  # looks at the free memory first
    token = next(entry for entry in first["env"] if entry["name"] == "HF_TOKEN")["valueFrom"]["secretKeyRef"]
    assert token == {"name": "rigfit-hf", "key": "token", "optional": True}
    assert "HF_TOKEN" not in str(engine(launch, "rigfit-a"))
    assert not [o for kind, o in objects(launch).items() if kind[0] == "Secret"]


def test_nothing_is_open_unless_asked_and_then_a_key_is_needed():
    for plan, name in ((two(), "rigfit-qwen-a"), (make_plan(make_instance("solo")), "rigfit-solo")):
        for is_open in (False, True):
            launch = made(plan, choices=Choices(open=is_open))
            types = {n: o["spec"].get("type") for (kind, n), o in objects(launch).items() if kind == "Service"}
            assert types.pop("rigfit-endpoint", "ClusterIP") == ("LoadBalancer" if is_open else "ClusterIP")
            assert set(types.values()) == {"ClusterIP"}
            key = next(e for e in engine(launch, name)["env"] if e["name"] == "VLLM_API_KEY")
            assert key["valueFrom"]["secretKeyRef"]["optional"] is not is_open
            (rule,) = objects(launch)["NetworkPolicy", "rigfit-clients"]["spec"]["ingress"]
            assert ("from" in rule) is not is_open


def test_engines_behind_the_endpoint_are_reached_by_these_pods_only():
    launch = made(two())
    found = objects(launch)
    among = found["NetworkPolicy", "rigfit-among"]["spec"]
    assert among["ingress"] == [{"from": [{"podSelector": among["podSelector"]}]}]
    way_in = found["NetworkPolicy", "rigfit-clients"]["spec"]["podSelector"]["matchLabels"]
    labels = found["Deployment", "rigfit-endpoint"]["spec"]["template"]["metadata"]["labels"]
    assert way_in.items() <= labels.items()
    programs = found["ConfigMap", "rigfit-programs"]["data"]
    assert "upstream qwen-a { server rigfit-qwen-a:8000; }" in programs["nginx.conf"]
    assert "listen 8080;" in programs["nginx.conf"]
    assert '["qwen", "@qwen-a"], ["qwen-int4", "@qwen-b"]' in programs["front.js"]


def test_one_engine_that_stays_inside_needs_no_endpoint():
    launch = made(make_plan(make_instance("solo")))
    assert ("Deployment", "rigfit-endpoint") not in objects(launch)
    way_in = objects(launch)["NetworkPolicy", "rigfit-clients"]["spec"]["podSelector"]["matchLabels"]
    assert way_in["app.kubernetes.io/name"] == "solo"


def test_pods_have_no_more_rights_than_they_need():
    launch = made(two())
    for name in ("rigfit-qwen-a", "rigfit-qwen-b", "rigfit-endpoint"):
        spec = pod(launch, name)
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False  # a Service called vllm would set VLLM_PORT
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_shared_memory_is_in_ram():
    launch = made(make_plan(make_instance("a", gpus=(0, 1), tp=2), rig=Rig((CARD, CARD))))
    volume = next(v for v in pod(launch, "rigfit-a")["volumes"] if v["name"] == "shm")
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in engine(launch, "rigfit-a")["volumeMounts"]


def test_an_engine_across_machines_is_a_set_of_pods_that_know_their_rank():
    plan = make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES)
    launch = made(plan)
    found = objects(launch)
    spec = found["StatefulSet", "rigfit-big"]["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (2, "Parallel")
    assert found["Service", spec["serviceName"]]["spec"]["clusterIP"] == "None"
    assert found["Service", spec["serviceName"]]["spec"]["publishNotReadyAddresses"] is True
    assert found["Service", "rigfit-big"]["spec"]["selector"]["apps.kubernetes.io/pod-index"] == "0"
    container = engine(launch, "rigfit-big", "StatefulSet")
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    command = expanded(container["command"] + container["args"])
    for rank, expected in ((0, ["--host", "0.0.0.0", "--port", "8000"]), (1, ["--headless"])):
        said = run_as_pod(command, POD_INDEX=str(rank))
        base = joined(vllm_argv(plan.placement().instances[0]))
        head = "rigfit-big-0.rigfit-big-machines"
        span = ["--nnodes=2", f"--master-addr={head}", "--master-port=29501"]
        assert said == [*START, *base, *span, *expected, "--node-rank", str(rank)]


def run_as_pod(command: list[str], **env: str) -> list[str]:
    """What a pod's shell would start: ``vllm`` is a program that prints its words."""
    assert command[:2] == ["sh", "-ec"]
    script = command[2].replace('exec "$@"', "exec printf '%s\\n' \"$@\"")
    done = subprocess.run(["sh", "-ec", script, *command[3:]], env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(("gpus", "code"), [((0, 1, 2), "uneven_machines"), ((0, 2), "shared_span")])
def test_unequal_shares_of_machines_and_shared_cards_across_them_are_refused(gpus: tuple[int, ...], code: str):
    other = make_instance("other", gpus=(0,), order=1)
    with pytest.raises(BadValue, match=code):
        made(make_plan(make_instance("a", gpus=gpus, pp=len(gpus)), other, rig=TWO_MACHINES))


def test_bitsandbytes_is_installed_before_the_engine_starts():
    checkpoint = make_checkpoint(precision="bnb-4bit", in_flight=True, quantization=Quantization("bnb_nf4", 4))
    launch = made(make_plan(make_instance("a", checkpoint=checkpoint)))
    container = engine(launch, "rigfit-a")
    script = expanded(container["command"])[2]
    assert script.startswith("uv pip install --system --no-deps vllm-bnb-plugin==")
    assert script.endswith('exec "$@"\n')
    assert VALUES not in texts(launch)


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
