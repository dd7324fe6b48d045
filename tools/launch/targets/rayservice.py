"""A RayService for KubeRay: the cluster of pods that a Serve configuration runs on.

Every machine is a group of one pod that gets the machine's cards whole; Ray divides them inside. Fields:
github.com/ray-project/kuberay v1.7.0, ray-operator/config/crd/bases/ray.io_rayservices.yaml.
"""

from __future__ import annotations

from typing import Any

from tools.launch import container_scripts, pins
from tools.launch.cluster import cores, devices_on, ram_gib
from tools.launch.job import Job, Unit, checkpoint_words
from tools.launch.targets.kubernetes_pods import FAMILY, SHM, disk_gib, literal
from tools.launch.yaml_text import Block, Flow, dump

_ROOT = "/hf"
_RAY_USER = 1000
"""User of Ray's images (docker/base-deps/Dockerfile of github.com/ray-project/ray)."""


def yaml(job: Job, serve_config: str, top: tuple[str, ...]) -> str:
    """Return the disks, the download program and the RayService that runs a Serve configuration."""
    machines = cards_by_machine(job)
    documents = [_disk(job, node) for node in machines]
    documents.append(
        _object("ConfigMap", "v1", "rigfit-programs", data={"download.py": Block(container_scripts.DOWNLOAD)})
    )
    documents.append(_service(job, serve_config))
    first, *rest = documents
    return "---\n".join([dump(first, header=top, dollar="$"), *(dump(document, dollar="$") for document in rest)])


def cards_by_machine(job: Job) -> dict[int, list[int]]:
    """Return the cards of each machine that are used, as they are counted there."""
    found: dict[int, set[int]] = {}
    for unit in job.units:
        for node in unit.nodes:
            found.setdefault(node, set()).update(devices_on(job, unit, node))
    return {node: sorted(cards) for node, cards in sorted(found.items())}


def _object(kind: str, version: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": FAMILY}, **fields}


def _disk(job: Job, node: int) -> dict[str, Any]:
    size = {"requests": {"storage": f"{disk_gib(_here(job, node))}Gi"}}
    spec = {"accessModes": Flow(["ReadWriteOnce"]), "resources": size}
    return _object("PersistentVolumeClaim", "v1", _disk_name(node), spec=spec)


def _disk_name(node: int) -> str:
    return f"rigfit-ray-weights-{node + 1}"


def _here(job: Job, node: int) -> list[Unit]:
    return [unit for unit in job.units if node in unit.nodes]


def _service(job: Job, serve_config: str) -> dict[str, Any]:
    head = {
        "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
        "template": {"spec": _pod(_container("ray-head", {"cpu": "2", "memory": "8Gi"}, disk=False))},
    }
    cluster = {
        "rayVersion": pins.RAY,
        "headGroupSpec": head,
        "workerGroupSpecs": [_group(job, node, len(cards)) for node, cards in cards_by_machine(job).items()],
    }
    spec = {"serveConfigV2": Block(serve_config), "rayClusterConfig": cluster}
    return _object("RayService", "ray.io/v1", "rigfit", spec=spec)


def _group(job: Job, node: int, cards: int) -> dict[str, Any]:
    units = _here(job, node)
    wanted = {
        # one for what takes requests in, one for Ray's own
        "cpu": str(sum(cores(job, unit) for unit in units) + 2),
        "memory": f"{sum(ram_gib(job, unit) for unit in units)}Gi",
    }
    container = _container("ray-worker", wanted, limits={"nvidia.com/gpu": str(cards)})
    container["volumeMounts"] = [
        {"name": "weights", "mountPath": _ROOT},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the container's
    ]
    pod = _pod(container)
    pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    pod["initContainers"] = [_download(units)]
    pod["volumes"] = [
        {"name": "weights", "persistentVolumeClaim": {"claimName": _disk_name(node)}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHM}},
        {"name": "programs", "configMap": {"name": "rigfit-programs"}},
    ]
    return {
        "groupName": f"machine-{node + 1}",
        "replicas": 1,
        "minReplicas": 1,
        "maxReplicas": 1,
        "rayStartParams": {},
        "template": {"spec": pod},
    }


def _pod(container: dict[str, Any]) -> dict[str, Any]:
    return {
        "enableServiceLinks": False,
        "securityContext": {"fsGroup": _RAY_USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }


def _container(
    name: str, wanted: dict[str, str], *, limits: dict[str, str] | None = None, disk: bool = True
) -> dict[str, Any]:
    """Where there is no disk for weights the hub's cache stays at home, where the image's user may write."""
    home = [{"name": "HF_HOME", "value": _ROOT}] if disk else []
    return {
        "name": name,
        "image": pins.RAY_IMAGE,
        "env": [*home, _token()],
        "resources": {"requests": wanted, **({"limits": limits} if limits else {})},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": Flow(["ALL"])}},
    }


def _token() -> dict[str, Any]:
    secret = {"name": "rigfit-hf", "key": "token", "optional": True}
    return {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": secret}}


def _download(units: list[Unit]) -> dict[str, Any]:
    checkpoints = {(unit.checkpoint.repo, unit.checkpoint.revision): unit.checkpoint for unit in units}
    words = [word for checkpoint in checkpoints.values() for word in checkpoint_words(checkpoint)]
    container = _container("download", {"cpu": "1", "memory": "1Gi"})
    return {
        **container,
        "command": Flow(["python3", "/rigfit/download.py"]),
        "args": [literal(word) for word in words],
        "volumeMounts": [
            {"name": "weights", "mountPath": _ROOT},
            {"name": "programs", "mountPath": "/rigfit", "readOnly": True},
        ],
    }
