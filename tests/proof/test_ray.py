"""Every configuration of the grid by Ray's own classes, every RayService by its definition and the API's schemas."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grid import Made, accepted
from test_kubernetes import faults_of

from tools.launch import pins
from tools.launch.checks.fields import field_faults
from tools.launch.recorded import recorded

PYTHON = Path(__file__).parents[2] / ".proof" / "bin" / "python"
CASES = accepted("ray")

VALIDATE = """
import json, sys, types

class Anything(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

class Absent(metaclass=Anything):
    pass

# Ray reads files of clouds by it, and nothing here
for name in ("pyarrow", "pyarrow.fs"):
    module = types.ModuleType(name)
    module.__getattr__ = lambda name: getattr(Absent, name)
    sys.modules[name] = module

from ray.llm._internal.common.placement import PlacementGroupConfig
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
from ray.runtime_env import RuntimeEnv
from ray.serve.schema import ServeDeploySchema

faults = []
for label, config in json.load(sys.stdin):
    try:
        ServeDeploySchema.model_validate(config)
        (application,) = config["applications"]
        names = set()
        for model in application["args"]["llm_configs"]:
            PlacementGroupConfig.model_validate(model["placement_group_config"])
            RuntimeEnv(**model["runtime_env"])
            names.add(LLMConfig.model_validate(model).model_id)
        assert len(names) == len(application["args"]["llm_configs"]), "two models of one name"
    except Exception as error:
        faults.append(f"{label}: {error}")
json.dump(faults, sys.stdout)
"""


@pytest.fixture(scope="module", autouse=True)
def validator() -> None:
    if not PYTHON.exists():
        pytest.skip("needs ray in .proof (make proof)")


def text_of(made: Made, path: str) -> str:
    return next(file.content for file in made.files.files if file.path == path) if made.files else ""


def service_of(made: Made) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text_of(made, "rayservice.yaml")))


def faults_by_ray(configs: list[tuple[str, Any]]) -> list[str]:
    command = [str(PYTHON), "-c", VALIDATE]
    done = subprocess.run(command, input=json.dumps(configs), capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_grid_is_wide_enough():
    assert len(CASES) >= 25


def test_ray_accepts_every_configuration():
    configs = [(made.name, yaml.safe_load(text_of(made, "serve_config.yaml"))) for made in CASES]
    for made in CASES:
        inside = next(d for d in service_of(made) if d["kind"] == "RayService")["spec"]["serveConfigV2"]
        configs.append((f"{made.name}, in its RayService", yaml.safe_load(inside)))
    assert faults_by_ray(configs) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("import_path",), None),
        (("args", "llm_configs", 0, "model_loading_config"), {}),
        (("args", "llm_configs", 0, "placement_group_config"), {"strategy": "PACK"}),
        (("args", "llm_configs", 0, "deployment_config"), {"replicas": -1, "num_replicas": -1}),
    ],
)
def test_a_wrong_configuration_is_told(path: tuple[Any, ...], value: Any):
    config = yaml.safe_load(text_of(CASES[0], "serve_config.yaml"))
    where = config["applications"][0]
    for step in path[:-1]:
        where = where[step]
    where[path[-1]] = value
    assert faults_by_ray([("changed", config)])


def test_every_engine_setting_is_a_field_that_vllm_has():
    flags = recorded()["flags"]
    for made in CASES:
        config = yaml.safe_load(text_of(made, "serve_config.yaml"))
        for model in config["applications"][0]["args"]["llm_configs"]:
            assert {f"--{name.replace('_', '-')}" for name in model["engine_kwargs"]} <= set(flags), made.name


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_a_rayservice_has_only_fields_of_its_definition(made: Made):
    service = next(d for d in service_of(made) if d["kind"] == "RayService")
    assert field_faults(pins.KUBERAY_TABLE, service) == []


def test_pods_and_what_is_beside_them_follow_the_schemas_of_the_api():
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for made in CASES:
        for document in service_of(made):
            if document["kind"] == "RayService":
                cluster = document["spec"]["rayClusterConfig"]
                pods = [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
                parts = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **pod} for pod in pods]
            else:
                parts = [document]
            for part in parts:
                found.setdefault(json.dumps(part, sort_keys=True), (made.name, part))
    assert faults_of(list(found.values())) == []
