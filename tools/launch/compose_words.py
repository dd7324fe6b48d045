"""What the services of a Compose file are made of: references to the environment, addresses, conditions."""

from __future__ import annotations

from typing import Any

from tools.launch.job import Job, Unit
from tools.launch.yaml_text import EnvRef, comment_line

PORT = 8000
"""Where each engine listens inside its container."""


def has_front(job: Job) -> bool:
    """One engine is reached directly; several, or one whose other routes must stay inside, through the endpoint."""
    return len(job.units) > 1 or job.choices.open or any(unit.can_sleep for unit in job.units)


def gateway_before(job: Job) -> bool:
    """Rigfit's gateway is the only way in, and asks for the key itself."""
    return has_front(job) and job.choices.endpoint == "gateway"


def turns(job: Job) -> tuple[tuple[Unit, ...], ...]:
    """Engines that take turns, in groups that have no card in common."""
    groups: list[tuple[Unit, ...]] = []
    for unit in (unit for unit in job.units if unit.can_sleep):
        near = [group for group in groups if any(set(unit.devices) & set(other.devices) for other in group)]
        groups = [group for group in groups if group not in near] + [(*(u for group in near for u in group), unit)]
    return tuple(group for group in groups if len(group) > 1)


def required(name: str, message: str) -> EnvRef:
    """A variable without which Compose refuses to start, with the words it then says."""
    said = comment_line(message).translate(_PLAIN)
    return EnvRef(f"${{{name}:?{said}}}")


_PLAIN = str.maketrans({"$": "", "{": "(", "}": ")"})


def api_key(job: Job, default: str = "") -> EnvRef:
    """The key that clients show: needed where other machines may come in, else up to the user."""
    if job.choices.open:
        return required("VLLM_API_KEY", job.say("launch_compose.key_needed"))
    return EnvRef(f"${{VLLM_API_KEY:-{default}}}")


def published(job: Job, name: str, port: int, inside: int) -> EnvRef:
    """A port on the host: on this machine alone, unless others were let in."""
    host = "0.0.0.0" if job.choices.open else "127.0.0.1"  # noqa: S104 - chosen by the user
    return EnvRef(f"{host}:${{{name}:-{port}}}:{inside}")


def healthy_after(*services: str) -> dict[str, Any]:
    """``depends_on`` for services that must be healthy."""
    return {name: {"condition": "service_healthy"} for name in services}


def image_of_rigfit(job: Job) -> dict[str, Any]:
    """Rigfit's own image, built from a checkout."""
    source = required("RIGFIT_SOURCE", job.say("launch_compose.source_needed"))
    return {"image": "rigfit", "build": {"context": source}}


def in_order(service: dict[str, Any]) -> dict[str, Any]:
    """A service with its keys in the order in which a person reads them."""
    return {key: service[key] for key in _ORDER if key in service}


_ORDER = (
    *("image", "build", "depends_on", "entrypoint", "command", "configs", "environment", "volumes", "ports"),
    *("deploy", "devices", "group_add", "cap_add", "security_opt", "shm_size", "ulimits", "healthcheck", "restart"),
)
