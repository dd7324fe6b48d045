"""Whether Ray takes a Serve configuration, and KubeRay the object around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tools.launch import pins
from tools.launch.checks.fields import field_faults
from tools.launch.checks.kubernetes import check_kubernetes
from tools.launch.files import Check


def check_serve_config(text: str) -> Check:
    """Whether a configuration follows Ray Serve's own schema (``ray.serve.schema.ServeDeploySchema``)."""
    name = "ray-serve-schema"
    if find_spec("ray") is None:
        return Check(name, None, "validator not there: install the package ray[serve]")
    try:
        schema: Any = import_module("ray.serve.schema")
    except ImportError as error:
        return Check(name, None, f"validator not there: {error}; install the package ray[serve]")
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    try:
        schema.ServeDeploySchema.model_validate(reader.load(text))
    except ValueError as error:  # pydantic's own error is one
        return Check(name, False, str(error))
    return Check(name, True, "follows Ray Serve's schema")


def check_rayservice(documents: Iterable[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Whether a RayService has only the fields of its definition, and what is beside and in it the API's own."""
    from tools.launch.yaml_text import dump

    name = "kuberay-fields"
    faults: list[str] = []
    rest: dict[str, str] = {}
    for document in documents:
        if document["kind"] != "RayService":
            rest[document["kind"]] = dump(document, dollar="$")
            continue
        faults += field_faults(pins.KUBERAY_TABLE, document)
        for index, template in enumerate(_templates(document)):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
            rest[f"pod-{index}"] = dump(pod, dollar="$")
    said = Check(name, True, f"every field is in KubeRay {pins.KUBERAY}'s definition of a RayService")
    return (Check(name, False, "; ".join(faults[:5])) if faults else said, check_kubernetes(rest))


def _templates(service: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    cluster = service["spec"]["rayClusterConfig"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
