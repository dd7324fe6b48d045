"""Ray Serve LLM on vLLM: one application with every model, for machines that Ray joins, or for KubeRay.

Fields: ``ray.serve.schema`` and ``ray.llm._internal.serve.core.configs.llm_config`` of Ray 2.60.0.
"""

from __future__ import annotations

import json
import math
from typing import Any

from tools.errors import BadValue
from tools.launch import pins
from tools.launch.argv.vllm import vllm_argv, vllm_flags
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.argv.words import FlagValue
from tools.launch.checks.ray import check_rayservice, check_serve_config
from tools.launch.checks.vllm import check_flags
from tools.launch.checks.yaml import check_yaml_documents
from tools.launch.cluster import sharing
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import FIRST_PORT, Job, Unit
from tools.launch.readme import readme
from tools.launch.targets import rayservice
from tools.launch.yaml_text import dump


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``serve_config.yaml``, ``rayservice.yaml`` and ``README.md``.

    Raises:
        BadValue: engines take turns, which Ray Serve does not do; cards that Ray's image has no build for.
    """
    for unit in job.units:
        if unit.can_sleep:
            raise BadValue("launch_cluster.no_turns", name=unit.instance.name)
        if unit.vendor != "nvidia":
            raise BadValue("launch_cluster.no_ray_image", vendor=unit.vendor)
    local = {"proxy_location": "EveryNode", "http_options": {"host": "127.0.0.1", "port": FIRST_PORT}}
    application = _application(job)
    bare = dump({"applications": [application]}, dollar="$")
    return (
        LaunchFile("serve_config.yaml", dump({**local, "applications": [application]}, header=_top(job), dollar="$")),
        LaunchFile("rayservice.yaml", rayservice.yaml(job, bare, _top(job))),
        LaunchFile("README.md", _readme(job)),
    )


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    texts = {file.path: file.content for file in made if file.path.endswith(".yaml")}
    return (
        check_yaml_documents(texts),
        check_serve_config(texts["serve_config.yaml"]),
        *check_rayservice(reader.load_all(texts["rayservice.yaml"])),
        check_flags(vllm_argv(unit.instance, gpus=unit.gpus) for unit in job.units),
    )


def _top(job: Job) -> tuple[str, ...]:
    return (*header(job), job.say("launch_cluster.ray", ray=pins.RAY, inside=pins.RAY_VLLM))


def _application(job: Job) -> dict[str, Any]:
    return {
        "name": "rigfit",
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {
            "llm_configs": [_model(job, unit) for unit in job.units],
            # each takes a core that the plan does not count; the default is two a model
            "ingress_deployment_config": {"num_replicas": 1},
        },
    }


def model_ids(job: Job) -> dict[str, str]:
    """Return the one name that each engine's model has: Ray gives it no second, and no two the same."""
    names: dict[str, str] = {}
    for unit in job.units:
        wanted = (*unit.instance.served_names, unit.checkpoint.repo)[0]
        names[unit.name] = wanted if wanted not in names.values() else unit.name
    return names


def _model(job: Job, unit: Unit) -> dict[str, Any]:
    workers = {"bundle_per_worker": {"CPU": 1, "GPU": share_of_card(job, unit)}}
    return {
        "model_loading_config": {"model_id": model_ids(job)[unit.name], "model_source": unit.checkpoint.repo},
        "engine_kwargs": engine_kwargs(job, unit),
        # all on one machine, or packed: tensor parallelism stays within a machine
        "placement_group_config": {**workers, "strategy": "STRICT_PACK" if len(unit.nodes) == 1 else "PACK"},
        "deployment_config": {"num_replicas": 1},
        "runtime_env": _runtime(unit),
    }


def engine_kwargs(job: Job, unit: Unit) -> dict[str, Any]:
    """Return the engine's settings by the names of vLLM's fields: a flag's with underscores.

    Ray starts all engines at once. An engine whose cache is set in bytes does not measure the card
    (``determine_available_memory``, vllm/v1/worker/gpu_worker.py 0.32.0), so those on one card always set it.
    """
    flags = vllm_flags(unit.instance, gpus=unit.gpus)
    flags.pop("served-model-name", None)
    pool = unit.instance.footprint.kv_pool_bytes
    if len(sharing(job, unit)) > 1 and pool is not None:
        flags.setdefault("kv-cache-memory-bytes", int(pool.value))
    return dict(_field(name, value) for name, value in flags.items())


def _field(flag: str, value: FlagValue) -> tuple[str, Any]:
    """A flag as vLLM's field: what is JSON on the command line is an object, and ``--no-x`` is ``x`` set to False."""
    if flag.startswith("no-") and value is True:
        return flag.removeprefix("no-").replace("-", "_"), False
    if isinstance(value, str) and (flag.endswith("-config") or flag == "hf-overrides"):
        value = json.loads(value)
    return flag.replace("-", "_"), value


def share_of_card(job: Job, unit: Unit) -> float | int:
    """Return which part of a card Ray counts as taken by a worker: all, or the engine's share where others are on it.

    Ray keeps engines on one card by these numbers alone; they limit nothing. Four decimals are its precision.
    """
    if len(sharing(job, unit)) == 1:
        return 1
    in_all = max(
        sum(_wanted(other) for other in job.units if card in other.instance.gpu_indices)
        for card in unit.instance.gpu_indices
    )
    return math.floor(_wanted(unit) / max(1.0, in_all) * 10_000) / 10_000


def _wanted(unit: Unit) -> float:
    return unit.instance.deployment.gpu_memory_utilization or 0.92


def _runtime(unit: Unit) -> dict[str, Any]:
    found: dict[str, Any] = {"env_vars": vllm_environment(unit, pick_cards=False)}
    if unit.needs_bnb:
        found["pip"] = {
            "packages": list(pins.BNB_PLUGIN),
            "pip_check": False,
            "pip_install_options": ["--no-deps"],
        }
    return found


def _readme(job: Job) -> str:
    root = f"http://127.0.0.1:{FIRST_PORT}"
    names = model_ids(job)
    return readme(
        job,
        "ray",
        bases={unit.name: root for unit in job.units},
        models=names,
        shared=any(len(sharing(job, unit)) > 1 for unit in job.units),
        spans=[unit.name for unit in job.units if len(unit.nodes) > 1],
        dropped=[name for unit in job.units for name in unit.instance.served_names if name != names[unit.name]],
        groups=[(node + 1, len(cards)) for node, cards in rayservice.cards_by_machine(job).items()],
    )
