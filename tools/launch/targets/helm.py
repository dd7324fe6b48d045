"""Values for the Helm chart of vLLM's production stack, for the same plan.

Fields: helm/values.schema.json and helm/templates of github.com/vllm-project/production-stack, chart 0.1.12.
"""

from __future__ import annotations

import math
from typing import Any

from tools.launch import container_scripts, pins
from tools.launch.argv.vllm import vllm_argv
from tools.launch.cluster import cores, ram_gib, started_before
from tools.launch.header import header
from tools.launch.job import Job, Unit, checkpoint_words
from tools.launch.targets import kubernetes_pods as pods
from tools.launch.targets.kubernetes_cards import CONFIG_LABEL, RESOURCES, Cards, cards_of, claims
from tools.launch.yaml_text import Block, Commented, Flow, dump

FILE = "values-production-stack.yaml"

RELEASE = "rigfit"
"""Name of the release: the addresses by which engines wait for each other hold it."""

_SETTINGS = {
    "max-model-len": "maxModelLen",
    "dtype": "dtype",
    "tensor-parallel-size": "tensorParallelSize",
    "max-num-seqs": "maxNumSeqs",
    "gpu-memory-utilization": "gpuMemoryUtilization",
}
"""Flags that the chart has a field for; the rest go to ``extraArgs``."""

_ELSEWHERE = frozenset({"revision", "enable-prefix-caching", "no-enable-prefix-caching"})
"""Flags that other fields say."""


def fits(job: Job) -> bool:
    """Whether the chart can start this: it has no claims, no packages to add, no sleep, and several machines by Ray."""
    alone = all(len(unit.nodes) == 1 and not unit.needs_bnb and not unit.can_sleep for unit in job.units)
    return alone and not claims(job)


def values_yaml(job: Job) -> str:
    """Return the chart's values for a job that ``fits``."""
    models = [_model(job, unit) for unit in job.units]
    probe = {"httpGet": {"path": "/health", "port": pods.PORT}, "periodSeconds": pods.PROBE_S}
    longest = max(unit.load_s for unit in job.units)
    engines: dict[str, Any] = {
        "strategy": {"type": "Recreate"},
        "runtimeClassName": Commented("", job.say("launch_cluster.runtime_class")),
        "imagePullPolicy": "IfNotPresent",
        "startupProbe": {"initialDelaySeconds": 15, "failureThreshold": math.ceil(longest / pods.PROBE_S), **probe},
        "readinessProbe": {"initialDelaySeconds": 15, "failureThreshold": 3, **probe},
        "livenessProbe": {"initialDelaySeconds": 15, "failureThreshold": 6, **probe},
        "tolerations": [{"key": RESOURCES[job.vendor], "operator": "Exists", "effect": "NoSchedule"}],
    }
    if job.choices.open:
        engines["vllmApiKey"] = {"secretName": "rigfit-api-key", "secretKey": "key"}
    router = {
        "tag": f"v{pins.PRODUCTION_STACK}",
        "imagePullPolicy": "IfNotPresent",
        # it passes on routes for which engines ask for no key (/tokenize, /rerank, /score; routers/main_router.py)
        "serviceType": "ClusterIP",
    }
    top = (*header(job), job.say("launch_cluster.helm", version=pins.PRODUCTION_STACK, release=RELEASE, file=FILE))
    document = {"servingEngineSpec": {**engines, "modelSpec": models}, "routerSpec": router}
    return dump(document, header=top, dollar="$")


def _model(job: Job, unit: Unit) -> dict[str, Any]:
    cards, checkpoint = cards_of(job, unit), unit.checkpoint
    repository, _, tag = pins.IMAGES[unit.vendor].rpartition(":")
    model: dict[str, Any] = {
        "name": unit.name,
        "repository": repository,
        "tag": tag,
        "modelURL": pods.literal(checkpoint.repo),
        "replicaCount": 1,
        "requestCPU": cores(job, unit),
        "requestMemory": f"{ram_gib(job, unit)}Gi",
        "requestGPU": cards.count,
        "requestGPUType": RESOURCES[unit.vendor],
        "pvcStorage": f"{pods.disk_gib([unit])}Gi",
        "shmSize": pods.SHM,
        "initContainer": _first(unit, started_before(job, unit)),
        "vllmConfig": _config(unit),
        "env": _environment(unit, cards),
    }
    if checkpoint.revision:
        model["modelRevision"] = pods.literal(checkpoint.revision)
    if cards.config:
        term = {"key": CONFIG_LABEL, "operator": "In", "values": [cards.config]}
        model["nodeSelectorTerms"] = [{"matchExpressions": [term]}]
    return model


def _environment(unit: Unit, cards: Cards) -> list[dict[str, Any]]:
    values = {"HF_HUB_OFFLINE": "1", **pods.engine_variables(unit, cards)}
    return [{"name": name, "value": value} for name, value in values.items()]


def _first(unit: Unit, before: Unit | None) -> dict[str, Any]:
    """The chart has one container before the engine: it fetches the weights, then waits for the engine before."""
    words = checkpoint_words(unit.checkpoint)
    script = 'python3 -c "$DOWNLOAD" "$1" "$2" "$3"'
    programs = {"DOWNLOAD": container_scripts.DOWNLOAD}
    if before is not None:
        script += ' && python3 -c "$WAIT" "$4"'
        programs["WAIT"] = container_scripts.WAIT
        words.append(f"http://{RELEASE}-{before.name}-engine-service:80")
    secret = {"name": "rigfit-hf", "key": "token", "optional": True}
    found: list[dict[str, Any]] = [{"name": "HF_HOME", "value": "/data"}]
    found += [{"name": name, "value": Block(pods.literal(value))} for name, value in programs.items()]
    return {
        "name": "prepare",
        "image": pins.IMAGES[unit.vendor],
        "command": Flow(["sh", "-ec", pods.literal(script), "sh"]),
        "args": [pods.literal(word) for word in words],
        "env": [*found, {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": secret}}],
        "mountPvcStorage": True,
    }


def _config(unit: Unit) -> dict[str, Any]:
    """Settings of the engine. The chart turns prefix caching off unless told, and mounts shared memory where tp is."""
    words = vllm_argv(unit.instance, gpus=unit.gpus)[3:]
    config: dict[str, Any] = {
        "enablePrefixCaching": unit.instance.deployment.prefix_caching is not False,
        "tensorParallelSize": 1,
    }
    extra: list[str] = []
    while words:
        values = [words.pop(0)]
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        flag = values[0].removeprefix("--")
        if flag in _SETTINGS:
            config[_SETTINGS[flag]] = _number(values[1])
        elif flag not in _ELSEWHERE:
            extra += values
    config["extraArgs"] = [pods.literal(word) for word in extra]
    return config


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
