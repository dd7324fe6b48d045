"""Kubernetes on vLLM: an engine each with its disk and address, started in order, one address in front.

Plain objects of the API and a Kustomization that names them; values for the chart of vLLM's production stack beside.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from tools.launch import compose_start, container_scripts, pins
from tools.launch.checks.kubernetes import check_helm_values, check_kubernetes
from tools.launch.checks.shell import check_shell
from tools.launch.checks.vllm import check_flags
from tools.launch.checks.yaml import check_yaml_documents
from tools.launch.compose_front import models_of
from tools.launch.compose_words import has_front
from tools.launch.files import Check, LaunchFile
from tools.launch.front import Upstream, nginx_conf, router_js
from tools.launch.header import header
from tools.launch.job import FIRST_PORT, Job, Unit
from tools.launch.readme import readme
from tools.launch.targets import helm
from tools.launch.targets.kubernetes_cards import claims, plugin_config, slices_on
from tools.launch.targets.kubernetes_pods import (
    FAMILY,
    PORT,
    argv_of,
    disk_gib,
    labels_of,
    name_of,
    template,
    weights_claim,
)
from tools.launch.yaml_text import Block, Flow, comment_line, dump

_FRONT = "rigfit-endpoint"
_FRONT_PORT = 8080

Document = dict[str, Any]


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return the objects by what they are for, ``kustomization.yaml``, ``README.md``, and values for the chart.

    Beside them, where engines share a card: ``gpu-slices.yaml`` for the device plugin, or ``cards.yaml`` with claims;
    where engines take turns: ``swap.sh``.
    """
    made = [_yaml(job, path, documents) for path, documents in _shared_parts(job).items() if documents]
    made += [_yaml(job, f"engine-{unit.name}.yaml", _engine(job, unit), unit=unit) for unit in job.units]
    made.insert(0, _yaml(job, "kustomization.yaml", [_kustomization(file.path for file in made)]))
    slices = sorted({slices_on(job, unit.node) for unit in job.units} - {1})
    if slices:
        made.append(_yaml(job, "gpu-slices.yaml", [_plugin_configs(slices)], job.say("launch_cluster.slices")))
    if helm.fits(job):
        made.append(LaunchFile(helm.FILE, helm.values_yaml(job)))
    if job.swaps:
        made.append(LaunchFile("swap.sh", _swap_sh(job), executable=True))
    made.append(LaunchFile("README.md", _readme(job, slices)))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    texts = {file.path: file.content for file in made if file.path.endswith(".yaml")}
    values = texts.pop(helm.FILE, None)
    checks = [check_yaml_documents(texts), check_kubernetes(texts)]
    if values is not None:
        checks.append(check_helm_values(values))
    return (*checks, check_flags(argv_of(unit) for unit in job.units), *check_shell(made))


def _shared_parts(job: Job) -> dict[str, list[Document]]:
    return {
        "storage.yaml": _storage(job),
        "programs.yaml": [_programs(job)],
        "cards.yaml": [_claim(*claim) for claim in claims(job).items()],
        "endpoint.yaml": _front(job) if has_front(job) else [],
        "network.yaml": _network(job),
    }


def _yaml(job: Job, path: str, documents: Iterable[Document], *lines: str, unit: Unit | None = None) -> LaunchFile:
    top = (*header(job, unit), *lines, job.say("launch_cluster.kubernetes"))
    first, *rest = documents
    return LaunchFile(path, "---\n".join([dump(first, header=top, dollar="$"), *(dump(d, dollar="$") for d in rest)]))


def _object(kind: str, version: str, name: str, labels: dict[str, str] | None = None, **fields: Any) -> Document:
    metadata = {"name": name, "labels": labels or FAMILY}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _kustomization(parts: Iterable[str]) -> Document:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(parts)}


def _storage(job: Job) -> list[Document]:
    """A disk for each machine whose engines are on it alone; an engine across machines brings disks of its own."""
    units = {weights_claim(unit): unit for unit in job.units if len(unit.nodes) == 1}
    return [
        _object("PersistentVolumeClaim", "v1", name, spec=_disk([u for u in job.units if u.nodes == unit.nodes]))
        for name, unit in units.items()
    ]


def _disk(units: Iterable[Unit]) -> dict[str, Any]:
    return {
        "accessModes": Flow(["ReadWriteOnce"]),
        "resources": {"requests": {"storage": f"{disk_gib(units)}Gi"}},
    }


def _programs(job: Job) -> Document:
    programs = {
        "download.py": container_scripts.DOWNLOAD,
        "wait.py": container_scripts.WAIT,
        "start.py": compose_start.program(job),
    }
    if job.swaps:
        programs["sleep.py"] = container_scripts.SLEEP
    if has_front(job):
        # the engines' addresses do not change while their Services are there
        engines = [Upstream(u.name, f"http://{u.name}", models_of(u.instance)) for u in job.units]
        groups = {u.name: f"{name_of(u)}:{PORT}" for u in job.units}
        programs["nginx.conf"] = nginx_conf(
            engines, script="/rigfit/front.js", listen=str(_FRONT_PORT), resolver=None, groups=groups
        )
        programs["front.js"] = router_js(engines)
    return _object("ConfigMap", "v1", "rigfit-programs", data={name: Block(text) for name, text in programs.items()})


def _claim(name: str, wanted: tuple[str, int]) -> Document:
    kind, count = wanted
    exactly = {"deviceClassName": kind, "allocationMode": "ExactCount", "count": count}
    requests = [{"name": "cards", "exactly": exactly}]
    return _object("ResourceClaim", "resource.k8s.io/v1", name, spec={"devices": {"requests": requests}})


def _plugin_configs(slices: Iterable[int]) -> Document:
    configs = {"whole": Block(dump({"version": "v1"}))}
    configs |= {f"rigfit-{count}-slices": Block(dump(plugin_config(count))) for count in slices}
    return _object("ConfigMap", "v1", "rigfit-gpu-slices", data=configs)


def _engine(job: Job, unit: Unit) -> list[Document]:
    labels, pods = labels_of(unit), template(job, unit)
    spec: dict[str, Any] = {"replicas": len(unit.nodes), "selector": {"matchLabels": labels}, "template": pods}
    if len(unit.nodes) == 1:
        # a new pod beside the old one would find the card full
        spec = {"strategy": {"type": "Recreate"}, "progressDeadlineSeconds": 24 * 3600, **spec}
        return [_object("Deployment", "apps/v1", name_of(unit), labels, spec=spec), _service(unit, labels)]
    disk = {"metadata": {"name": "weights"}, "spec": _disk([unit])}
    among = f"{name_of(unit)}-machines"
    spec |= {"serviceName": among, "podManagementPolicy": "Parallel", "volumeClaimTemplates": [disk]}
    # the others must find rank 0 before it answers
    inner = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels, "ports": _ports()}
    return [
        _object("StatefulSet", "apps/v1", name_of(unit), labels, spec=spec),
        _object("Service", "v1", among, labels, spec=inner),
        _service(unit, {**labels, "apps.kubernetes.io/pod-index": "0"}),
    ]


def _ports() -> list[dict[str, Any]]:
    return [{"name": "http", "port": PORT, "targetPort": "http"}]


def _service(unit: Unit, selector: dict[str, str]) -> Document:
    spec = {"type": "ClusterIP", "selector": selector, "ports": _ports()}
    return _object("Service", "v1", name_of(unit), labels_of(unit), spec=spec)


def _front(job: Job) -> list[Document]:
    labels = {"app.kubernetes.io/name": "endpoint", **FAMILY}
    writable = ("/tmp", "/var/cache/nginx")  # noqa: S108 - the container's own
    mounts = [{"name": f"scratch-{i}", "mountPath": path} for i, path in enumerate(writable)]
    config = {"name": "programs", "mountPath": "/rigfit", "readOnly": True}
    container = {
        "name": "nginx",
        "image": pins.NGINX,
        "command": Flow(["nginx", "-c", "/rigfit/nginx.conf", "-g", "daemon off;"]),
        "ports": [{"name": "http", "containerPort": _FRONT_PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": Flow(["ALL"])},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [config, *mounts],
    }
    volumes = [{"name": "programs", "configMap": {"name": "rigfit-programs"}}]
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # 101 is the image's user "nginx"
        "securityContext": {"runAsNonRoot": True, "runAsUser": 101, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [*volumes, *({"name": mount["name"], "emptyDir": {}} for mount in mounts)],
    }
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    ports = [{"name": "http", "port": FIRST_PORT, "targetPort": "http"}]
    address = {"type": "LoadBalancer" if job.choices.open else "ClusterIP", "selector": labels, "ports": ports}
    return [
        _object("Deployment", "apps/v1", _FRONT, labels, spec={"replicas": 1, **spec}),
        _object("Service", "v1", _FRONT, labels, spec=address),
    ]


def _network(job: Job) -> list[Document]:
    """Engines are reached by each other and the endpoint; the way in by its namespace, or by all where it is open."""
    entry = "endpoint" if has_front(job) else job.units[0].name
    clients: dict[str, Any] = {"ports": [{"port": "http"}]}
    if not job.choices.open:
        clients["from"] = [{"podSelector": {}}]
    way_in = {"matchLabels": {"app.kubernetes.io/name": entry, **FAMILY}}
    among = {"podSelector": {"matchLabels": FAMILY}, "policyTypes": Flow(["Ingress"])}
    return [
        _object(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            "rigfit-among",
            spec={**among, "ingress": [{"from": [{"podSelector": {"matchLabels": FAMILY}}]}]},
        ),
        _object(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            "rigfit-clients",
            spec={"podSelector": way_in, "policyTypes": Flow(["Ingress"]), "ingress": [clients]},
        ),
    ]


def _readme(job: Job, slices: list[int]) -> str:
    root = f"http://127.0.0.1:{FIRST_PORT}"
    front = has_front(job)
    return readme(
        job,
        "kubernetes",
        bases={unit.name: root for unit in job.units},
        front=front,
        address=root,
        entry=_FRONT if front else name_of(job.units[0]),
        slices=slices,
        claims=list(claims(job)),
        spans=[unit.name for unit in job.units if len(unit.nodes) > 1],
        objects=[f"{'deployment' if len(u.nodes) == 1 else 'statefulset'}/{name_of(u)}" for u in job.units],
        disks={disk["metadata"]["name"]: disk["spec"]["resources"]["requests"]["storage"] for disk in _storage(job)},
        helm=helm.fits(job),
    )


def _swap_sh(job: Job) -> str:
    names = " ".join(shlex.quote(unit.name) for unit in job.units if unit.can_sleep)
    return f"""\
#!/usr/bin/env bash
# {comment_line(job.say("launch.swap"))}
set -euo pipefail

engines=({names})
wanted=${{1:-}}
if [[ " ${{engines[*]}} " != *" $wanted "* || -z $wanted ]]; then
    echo "usage: $0 NAME    (${{engines[*]}})" >&2
    exit 2
fi

post() {{ # ENGINE PATH
    kubectl exec "deployment/rigfit-$1" -c vllm -- python3 -c \\
        'import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], method="POST"), timeout=600)' \\
        "http://127.0.0.1:{PORT}$2"
}}

for engine in "${{engines[@]}}"; do
    if [[ $engine != "$wanted" ]]; then post "$engine" '/sleep?level=1&mode=wait'; fi
done
post "$wanted" /wake_up
echo "$wanted"
"""
