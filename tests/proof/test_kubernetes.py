"""Every object for Kubernetes of the grid against the schemas of the API, strictly, and values against the chart's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grid import Made, accepted

from tools.launch.checks.kubernetes import check_helm_values
from tools.launch.checks.shell import check_shell
from tools.launch.checks.vllm import check_flags
from tools.launch.targets import helm

PYTHON = Path(__file__).parents[2] / ".proof" / "bin" / "python"
CASES = accepted("kubernetes")
CORE = {"Deployment", "StatefulSet", "Service", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "ResourceClaim"}

VALIDATE = """
import functools, json, sys
import kubernetes_validate
from kubernetes_validate import utils

utils.schema_contents = functools.cache(utils.schema_contents)
faults = []
for label, document in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        faults.append(f"{label}: {document['kind']}: {error.message}")
json.dump(faults, sys.stdout)
"""


def objects(made: Made) -> list[dict[str, Any]]:
    assert made.files
    files = {file.path: file.content for file in made.files.files}
    named = yaml.safe_load(files["kustomization.yaml"])["resources"]
    return [document for path in named for document in yaml.safe_load_all(files[path])]


def faults_of(documents: list[tuple[str, dict[str, Any]]]) -> list[str]:
    command = [str(PYTHON), "-c", VALIDATE]
    done = subprocess.run(command, input=json.dumps(documents), capture_output=True, text=True, timeout=600, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def validator() -> None:
    if not PYTHON.exists():
        pytest.skip("needs kubernetes-validate in .proof (make proof)")


def test_the_grid_is_wide_enough():
    assert len(CASES) >= 60


def test_every_object_follows_the_schema_of_its_kind():
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for made in CASES:
        for document in objects(made):
            assert document["kind"] in CORE
            found.setdefault(json.dumps(document, sort_keys=True), (made.name, document))
    assert faults_of(list(found.values())) == []


def test_a_wrong_object_is_told():
    document = next(o for o in objects(CASES[0]) if o["kind"] == "Deployment")
    document["spec"]["template"]["spec"]["containers"][0]["startProbe"] = {}
    assert faults_of([("changed", document)])


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_values_scripts_and_flags_are_accepted(made: Made):
    assert made.files
    files = {file.path: file.content for file in made.files.files}
    if helm.FILE in files:
        check = check_helm_values(files[helm.FILE])
        assert check.ok, check.detail
    for check in check_shell(made.files.files):
        assert check.ok, check.detail
    commands = [plain(c) for c in containers(made) if "vllm" in c["command"]]
    assert commands
    check = check_flags(command[command.index("vllm") :] for command in commands)
    assert check.ok, check.detail


def containers(made: Made) -> list[dict[str, Any]]:
    sets = [o["spec"]["template"]["spec"] for o in objects(made) if o["kind"] in ("Deployment", "StatefulSet")]
    return [container for pod in sets for container in pod["containers"]]


def plain(container: dict[str, Any]) -> list[str]:
    """A command as Kubernetes runs it: ``$$`` stands for ``$``."""
    return [word.replace("$$", "$") for word in container["command"] + container["args"]]


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_what_pods_name_is_there(made: Made):
    found = objects(made)
    names = {kind: {o["metadata"]["name"] for o in found if o["kind"] == kind} for kind in CORE}
    for pod in (o["spec"]["template"]["spec"] for o in found if "template" in o.get("spec", {})):
        volumes = pod["volumes"]
        assert {v["configMap"]["name"] for v in volumes if "configMap" in v} <= names["ConfigMap"]
        assert {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v} <= names[
            "PersistentVolumeClaim"
        ]
        assert {c["resourceClaimName"] for c in pod.get("resourceClaims", ())} <= names["ResourceClaim"]
        waits = [c["args"][0] for c in pod.get("initContainers", ()) if c["command"][1] != "/rigfit/download.py"]
        assert {url.removeprefix("http://").partition(":")[0] for url in waits} <= names["Service"]
