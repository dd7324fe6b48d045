"""Objects for Kubernetes: what each engine asks for, in which order they start, and that nothing in a name can act."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import yaml as pyyaml
from kubernetes_objects import (
    START,
    TWO_MACHINES,
    VALUES,
    documents,
    engine,
    environment,
    expanded,
    made,
    objects,
    pod,
    texts,
    two,
)
from launch_factory import CARD, make_checkpoint, make_instance, make_plan

from tools.domain import Quantization, Rig
from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.words import joined
from tools.launch.choices import Choices
from tools.launch.container_scripts import DOWNLOAD, SLEEP, WAIT
from tools.units import GIB


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
