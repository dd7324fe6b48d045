"""The objects that the files for Kubernetes make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml as pyyaml
from launch_factory import CARD, make_instance, make_plan
from ruamel.yaml import YAML

from tools.domain import Plan, Rig
from tools.launch.files import LaunchFiles
from tools.launch.generate import generate
from tools.launch.job import prepare
from tools.launch.targets import kubernetes

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
