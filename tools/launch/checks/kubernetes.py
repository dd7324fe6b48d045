"""Whether objects follow the schemas of Kubernetes, and values the fields of the production stack's chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tools.launch import pins
from tools.launch.checks.fields import field_faults
from tools.launch.files import Check

_NOT_SERVED = frozenset({"Kustomization"})
"""Kinds that are read by ``kubectl`` alone; no schema of the cluster describes them."""


def check_kubernetes(texts: Mapping[str, str]) -> Check:
    """Whether every object in files of YAML follows the schema of its kind strictly, by kubernetes-validate.

    Args:
        texts: contents by the name of the file, each with one or several documents.
    """
    name = "kubernetes-schema"
    if find_spec("kubernetes_validate") is None:
        return Check(name, None, "validator not there: install the package kubernetes-validate")
    validator: Any = import_module("kubernetes_validate")
    version = validator.latest_version()
    found = [pair for pair in _objects(texts) if pair[1].get("kind") not in _NOT_SERVED]
    faults: list[str] = []
    for path, document in found:
        try:
            validator.validate(document, version, strict=True)
        except validator.ValidationError as error:
            faults.append(f"{path}: {document.get('kind')}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
        except validator.SchemaNotFoundError as error:
            faults.append(f"{path}: {error.message}")
    if faults:
        return Check(name, False, "; ".join(faults[:5]))
    return Check(name, True, f"{len(found)} objects follow the schemas of Kubernetes {version}, strictly")


def _objects(texts: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    for path, text in texts.items():
        for document in reader.load_all(text):
            yield path, document


def check_helm_values(text: str) -> Check:
    """Whether values name only fields that the production stack's chart has, with values of their types."""
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    name = "production-stack-values"
    faults = field_faults(pins.PRODUCTION_STACK_TABLE, reader.load(text))
    if faults:
        return Check(name, False, "; ".join(faults[:5]))
    return Check(name, True, f"every field is in the values of the chart vllm-stack {pins.PRODUCTION_STACK}")
