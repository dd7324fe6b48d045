"""What a pod of one engine holds: fetch the weights, wait for the engine before it, serve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tools.launch import container_scripts, pins
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.argv.words import joined
from tools.launch.cluster import cores, ram_gib, started_before
from tools.launch.job import Job, Unit, checkpoint_words
from tools.launch.targets.kubernetes_cards import (
    CONFIG_LABEL,
    RESOURCES,
    VISIBLE,
    Cards,
    cards_of,
    least_memory_mib,
)
from tools.launch.yaml_text import Flow
from tools.units import GIB

PORT = 8000
"""Where each engine listens in its pod."""

PROBE_S = 10
SHM = "8Gi"
FAMILY = {"app.kubernetes.io/part-of": "rigfit"}
"""Label of everything that is made here."""

_ROOT = "/hf"
_MASTER_PORT = 29501
"""vLLM's own default of ``--master-port`` (``config/parallel.py``, 0.32.0)."""


def name_of(unit: Unit) -> str:
    """Name of an engine's objects."""
    return f"rigfit-{unit.name}"


def url_of(unit: Unit) -> str:
    """Address of an engine inside the cluster."""
    return f"http://{name_of(unit)}:{PORT}"


def labels_of(unit: Unit) -> dict[str, str]:
    """Labels of an engine's objects."""
    return {"app.kubernetes.io/name": unit.name, **FAMILY}


def literal(word: str) -> str:
    """Return a word of a command as Kubernetes wants it, which reads ``$$`` as ``$`` and replaces ``$(NAME)``."""
    return word.replace("$", "$$")


def argv_of(unit: Unit) -> list[str]:
    """Return the words that start an engine in its pod; one that spans machines is told its rank by ``SPAN``."""
    if len(unit.nodes) == 1:
        everywhere = "0.0.0.0"  # noqa: S104 - the pod's own network
        return vllm_argv(unit.instance, host=everywhere, port=PORT, gpus=unit.gpus)
    head = f"{name_of(unit)}-0.{name_of(unit)}-machines"
    words = ["--nnodes", str(len(unit.nodes)), "--master-addr", head, "--master-port", str(_MASTER_PORT)]
    return [*vllm_argv(unit.instance, gpus=unit.gpus), *words]


SPAN = """\
if [ "$POD_INDEX" = 0 ]; then set -- "$@" --host 0.0.0.0 --port 8000; else set -- "$@" --headless; fi
exec "$@" --node-rank "$POD_INDEX"
"""
"""The pod of rank 0 answers; the others only compute (docs.vllm.ai, "Running vLLM with MultiProcessing")."""


def template(job: Job, unit: Unit) -> dict[str, Any]:
    """Return the pod template of an engine."""
    cards = cards_of(job, unit)
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHM}},
        {"name": "programs", "configMap": {"name": "rigfit-programs"}},
    ]
    if len(unit.nodes) == 1:
        volumes.append({"name": "weights", "persistentVolumeClaim": {"claimName": weights_claim(unit)}})
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # else a Service called "vllm" would set VLLM_PORT in every pod (docs.vllm.ai, environment variables)
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": _pod_security(unit),
        "affinity": _affinity(job, unit, cards),
        "tolerations": [{"key": RESOURCES[unit.vendor], "operator": "Exists", "effect": "NoSchedule"}],
        "initContainers": [_download(unit), *_after(started_before(job, unit))],
        "containers": [_engine(job, unit, cards)],
        "volumes": volumes,
    }
    if cards.claim:
        spec["resourceClaims"] = [{"name": "cards", "resourceClaimName": cards.claim}]
    labels = labels_of(unit) | ({"machine": str(unit.node + 1)} if len(unit.nodes) == 1 else {})
    return {"metadata": {"labels": labels}, "spec": spec}


def weights_claim(unit: Unit) -> str:
    """Name of the disk with the weights of an engine's machine."""
    return f"rigfit-weights-{unit.node + 1}"


def _pod_security(unit: Unit) -> dict[str, Any]:
    """AMD's runtime needs system calls that the default profile forbids (docs.vllm.ai, Using Kubernetes, AMD GPU)."""
    return {"seccompProfile": {"type": "Unconfined" if unit.vendor == "amd" else "RuntimeDefault"}}


def _security() -> dict[str, Any]:
    """The image runs as root; root without capabilities cannot leave its own files."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": Flow(["ALL"])}}


def _affinity(job: Job, unit: Unit, cards: Cards) -> dict[str, Any]:
    found: dict[str, Any] = {}
    node: dict[str, Any] = {}
    if cards.config:
        term = {"key": CONFIG_LABEL, "operator": "In", "values": [cards.config]}
        node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    if unit.vendor == "nvidia":
        # "Gt" is strictly greater; the label is what the driver reports, in MiB
        least = str(least_memory_mib(job, unit) - 1)
        term = {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": [least]}
        preference = {"weight": 100, "preference": {"matchExpressions": [term]}}
        node["preferredDuringSchedulingIgnoredDuringExecution"] = [preference]
    if node:
        found["nodeAffinity"] = node
    rule = "requiredDuringSchedulingIgnoredDuringExecution"
    if len(unit.nodes) > 1:
        found["podAntiAffinity"] = {rule: [_same_host(labels_of(unit))]}
    elif sum(other.nodes == unit.nodes for other in job.units) > 1:
        found["podAffinity"] = {rule: [_same_host({**FAMILY, "machine": str(unit.node + 1)})]}
    return found


def _same_host(labels: dict[str, str]) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}


def _mounts(*, shm: bool = False) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "weights", "mountPath": _ROOT},
        {"name": "programs", "mountPath": "/rigfit", "readOnly": True},
    ]
    return [*mounts, {"name": "shm", "mountPath": "/dev/shm"}] if shm else mounts  # noqa: S108 - the container's


def _secret(name: str, secret: str, key: str, *, optional: bool = True) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": optional}}}


def _download(unit: Unit) -> dict[str, Any]:
    return {
        "name": "download",
        "image": pins.IMAGES[unit.vendor],
        "command": Flow(["python3", "/rigfit/download.py"]),
        "args": [literal(word) for word in checkpoint_words(unit.checkpoint)],
        "env": [{"name": "HF_HOME", "value": _ROOT}, _secret("HF_TOKEN", "rigfit-hf", "token")],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": _security(),
        "volumeMounts": _mounts(),
    }


def _after(before: Unit | None) -> list[dict[str, Any]]:
    """Wait for the engine before, and put it to sleep where it is to sleep: two never start at once."""
    if before is None:
        return []
    steps = ("wait", "sleep") if before.sleeps else ("wait",)
    return [
        {
            "name": f"{step}-{before.name}",
            "image": pins.IMAGES[before.vendor],
            "command": Flow(["python3", f"/rigfit/{step}.py"]),
            "args": [url_of(before)],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "securityContext": _security(),
            "volumeMounts": _mounts(),
        }
        for step in steps
    ]


def _engine(job: Job, unit: Unit, cards: Cards) -> dict[str, Any]:
    command, args = _command(unit)
    return {
        "name": "vllm",
        "image": pins.IMAGES[unit.vendor],
        "command": [literal(word) for word in command],
        "args": [literal(word) for word in args],
        "env": _environment(job, unit, cards),
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": _resources(job, unit, cards),
        "startupProbe": {**_probe(unit), "failureThreshold": math.ceil(unit.load_s / PROBE_S)},
        "readinessProbe": {**_probe(unit), "failureThreshold": 3},
        "livenessProbe": {**_probe(unit), "failureThreshold": 6},
        "securityContext": _security(),
        "volumeMounts": _mounts(shm=True),
    }


def _command(unit: Unit) -> tuple[list[str], list[str]]:
    """Return what runs and its words: the look at free memory becomes the engine; a shell does what comes before."""
    words = ["python3", "/rigfit/start.py", *joined(argv_of(unit))]
    first = words.index("serve") + 1
    script = ""
    if unit.needs_bnb:
        script += f"uv pip install --system --no-deps {' '.join(pins.BNB_PLUGIN)}\n"
    if len(unit.nodes) > 1:
        script += SPAN
    elif script:
        script += 'exec "$@"\n'
    return (["sh", "-ec", script, "sh", *words[:first]] if script else words[:first]), words[first:]


def _environment(job: Job, unit: Unit, cards: Cards) -> list[dict[str, Any]]:
    values = {
        "HF_HOME": _ROOT,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": f"{_ROOT}/vllm",
        **engine_variables(unit, cards),
    }
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    found.append(_secret("VLLM_API_KEY", "rigfit-api-key", "key", optional=not job.choices.open))
    if len(unit.nodes) > 1:
        index = "metadata.labels['apps.kubernetes.io/pod-index']"
        found.append({"name": "POD_INDEX", "valueFrom": {"fieldRef": {"fieldPath": index}}})
        found.append({"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    return found


def engine_variables(unit: Unit, cards: Cards) -> dict[str, str]:
    """Return an engine's environment in a pod that has ``cards``: which of them are its own, and vLLM's settings."""
    values = vllm_environment(unit, pick_cards=False)
    values.pop(VISIBLE["amd"], None)
    if cards.visible:
        values[VISIBLE[unit.vendor]] = ",".join(map(str, cards.visible))
        if unit.vendor == "nvidia":
            values["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return values


def _resources(job: Job, unit: Unit, cards: Cards) -> dict[str, Any]:
    """Ask for the cards, the cores and the RAM.

    No limit on RAM: the page cache of the weights counts against it.
    """
    wanted: dict[str, Any] = {"cpu": str(cores(job, unit)), "memory": f"{ram_gib(job, unit)}Gi"}
    found: dict[str, Any] = {"requests": wanted}
    if cards.claim:
        found["claims"] = [{"name": "cards"}]
    else:
        found["limits"] = {RESOURCES[unit.vendor]: str(cards.count)}
    return found


def disk_gib(units: Iterable[Unit]) -> int:
    """Return the disk for the weights of engines, in GiB: a tenth more, and 10 for compiled code."""
    sizes = {
        (unit.checkpoint.repo, unit.checkpoint.revision): unit.checkpoint.file_bytes
        or unit.instance.footprint.parameter_bytes * len(unit.devices)
        for unit in units
    }
    return -(-sum(sizes.values()) * 11 // (10 * GIB)) + 10


def _probe(unit: Unit) -> dict[str, Any]:
    """A shell answers for the pods that only compute, since all pods of a set have the same probe."""
    times = {"periodSeconds": PROBE_S, "timeoutSeconds": 10}
    if len(unit.nodes) == 1:
        return {"httpGet": {"path": "/health", "port": "http"}, **times}
    test = f"[ \"$POD_INDEX\" != 0 ] || exec python3 -c '{container_scripts.HEALTHY}' http://127.0.0.1:{PORT}/health"
    return {"exec": {"command": Flow(["sh", "-c", test])}, **times}
