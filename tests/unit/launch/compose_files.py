"""What a Compose file says, read as Compose reads it."""

from __future__ import annotations

import re
from typing import Any

import yaml as pyyaml
from launch_factory import make_instance, make_plan
from ruamel.yaml import YAML

from tools.domain import Plan
from tools.launch.choices import DEFAULT, Choices
from tools.launch.generate import LaunchFiles, generate
from tools.launch.job import prepare
from tools.launch.targets.compose import compose_yaml

OURS = "HF_TOKEN|HF_ENDPOINT|HF_CACHE|ENDPOINT_PORT|VLLM_API_KEY|PAGE_PORT|CPU_ARCH|WEBUI_AUTH|WEBUI_SECRET_KEY"
SAFE_REFERENCE = re.compile(rf"\$\{{(?:(?:{OURS}):-[^${{}}]*|(?:VLLM_API_KEY|RIGFIT_SOURCE):\?[^${{}}]*)\}}")


def text_of(launch: LaunchFiles, path: str) -> str:
    return next(file.content for file in launch.files if file.path == path)


def interpolate(value: Any) -> Any:
    """Read a value as Compose does; any reference that is not one of ours is a fault."""
    if isinstance(value, dict):
        return {key: interpolate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item) for item in value]
    if not isinstance(value, str):
        return value
    rest = SAFE_REFERENCE.sub("", value.replace("$$", ""))
    assert "$" not in rest, value
    return re.sub(r"\$\$|\$\{\w+:[-?]([^}]*)\}", lambda found: "$" if found[0] == "$$" else found[1], value)


def words_of(service: dict[str, Any]) -> list[str]:
    """An engine's command with each flag's value as a word of its own."""
    return [part for word in service["command"] for part in (word.split("=", 1) if word.startswith("--") else [word])]


def compose(plan: Plan, **options: Any) -> dict[str, Any]:
    return loaded(text_of(generate(plan, **options), "compose.yaml"))


def unchecked(plan: Plan, choices: Choices = DEFAULT) -> dict[str, Any]:
    return loaded(compose_yaml(prepare(plan, None, "en", choices=choices)[0]))


def loaded(text: str) -> dict[str, Any]:
    document = YAML(typ="safe", pure=True).load(text)
    assert pyyaml.safe_load(text) == document  # YAML 1.1 and 1.2 readers agree
    return interpolate(document)


def two(**second: Any) -> Plan:
    first = make_instance("qwen-a", ("qwen",), gpu_memory_utilization=0.6)
    return make_plan(first, make_instance("qwen-b", ("qwen-int4",), order=1, **second), kind="precision")
