"""Whether objects follow the schemas of Kubernetes, and values the fields of the production stack's chart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any, cast

from tools.launch import pins
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


@cache
def helm_table() -> Mapping[str, tuple[str, ...]]:
    """The recorded fields of the chart's values that are used here: JSON types by path; ``[]`` stands for an item."""
    file = resources.files("tools.launch") / "data" / pins.PRODUCTION_STACK_TABLE
    return json.loads(file.read_text(encoding="utf-8"))["fields"]


def check_helm_values(text: str) -> Check:
    """Whether values name only fields that the production stack's chart has, with values of their types."""
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    name = "production-stack-values"
    faults = list(_value_faults("", reader.load(text)))
    if faults:
        return Check(name, False, "; ".join(faults[:5]))
    return Check(name, True, f"every field is in the values of the chart vllm-stack {pins.PRODUCTION_STACK}")


def _value_faults(path: str, value: Any) -> Iterator[str]:
    types = helm_table().get(path)
    if types is None:
        yield f"{path} is not a field"
    elif _json_type(value) not in types:
        yield f"{path} is {_json_type(value)}, not {' or '.join(types)}"
    elif isinstance(value, dict) and _has_fields(path):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _value_faults(f"{path}.{key}".lstrip("."), item)
    elif isinstance(value, list) and f"{path}[]" in helm_table():
        for item in cast("list[Any]", value):
            yield from _value_faults(f"{path}[]", item)


def _has_fields(path: str) -> bool:
    """Whether the chart says what an object holds; it leaves parts of a pod to Kubernetes."""
    start = f"{path}." if path else ""
    return any(other.startswith(start) and other != path for other in helm_table())


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds: tuple[tuple[type, str], ...] = (
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (dict, "object"),
        (list, "array"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")
