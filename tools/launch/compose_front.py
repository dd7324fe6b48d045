"""The services of a Compose file that people reach: the endpoint before the engines, and a chat page."""

from __future__ import annotations

from typing import Any

from tools.errors import BadValue
from tools.launch import container_scripts, pins
from tools.launch.compose_words import PORT, api_key, has_front, healthy_after, image_of_rigfit, published, turns
from tools.launch.front import Upstream, nginx_conf, router_js
from tools.launch.job import FIRST_PORT, Job
from tools.launch.yaml_text import EnvRef, Flow

ENDPOINT, PAGE = "endpoint", "page"
_FRONT_PORT = {"nginx": 80, "gateway": 8000}
_PAGE_PORT = {"open-webui": 8080, "rigfit": 7860}


def base_url(job: Job) -> str:
    """Where the services of the file reach every model: an address that ends in ``/v1``."""
    host, port = (ENDPOINT, _FRONT_PORT[job.choices.endpoint]) if has_front(job) else (job.units[0].name, PORT)
    return f"http://{host}:{port}/v1"


def upstreams(job: Job) -> tuple[Upstream, ...]:
    """The engines, by their names in the Compose network."""
    return tuple(Upstream(u.name, f"http://{u.name}:{PORT}", models_of(u.instance)) for u in job.units)


def models_of(instance: Any) -> tuple[str, ...]:
    """Names that clients call an engine's model by: those it is given, else its repository."""
    return instance.served_names or (instance.deployment.checkpoint.repo,)


def endpoint(job: Job) -> dict[str, Any]:
    """The service that passes requests on by the model's name."""
    service = {"nginx": _nginx, "gateway": _gateway}[job.choices.endpoint](job)
    return {
        **service,
        "depends_on": healthy_after(*(unit.name for unit in job.units)),
        "ports": [published(job, "ENDPOINT_PORT", FIRST_PORT, _FRONT_PORT[job.choices.endpoint])],
        "restart": "no" if job.swaps else "on-failure:3",
    }


def endpoint_files(job: Job) -> dict[str, str]:
    """Texts that the endpoint reads, by the name of their ``configs`` entry."""
    if not has_front(job) or job.choices.endpoint != "nginx":
        return {}
    engines = upstreams(job)
    return {"endpoint": nginx_conf(engines, script="/etc/nginx/front.js"), "endpoint-js": router_js(engines)}


def _nginx(job: Job) -> dict[str, Any]:
    return {
        "image": pins.NGINX,
        "configs": [
            {"source": "endpoint", "target": "/etc/nginx/nginx.conf"},
            {"source": "endpoint-js", "target": "/etc/nginx/front.js"},
        ],
        "healthcheck": _checked("wget", "-q", "-O", "/dev/null", "http://127.0.0.1/health"),
    }


def _gateway(job: Job) -> dict[str, Any]:
    keys = {"RIGFIT_API_KEYS": api_key(job)}
    return {
        **image_of_rigfit(job),
        "command": [
            *("gateway", "--host=0.0.0.0", f"--port={_FRONT_PORT['gateway']}"),
            *(["--upstream-key=VLLM_API_KEY"] if job.choices.open else []),
            *_gateway_models(job),
        ],
        "environment": keys | ({"VLLM_API_KEY": api_key(job)} if job.choices.open else {}),
        "healthcheck": _checked("python3", "-c", container_scripts.HEALTHY, "http://127.0.0.1:8000/health"),
    }


def _gateway_models(job: Job) -> list[str]:
    """Words that tell the gateway the engines, their further names, and which of them take turns."""
    words: list[str] = []
    for upstream in upstreams(job):
        first, *others = upstream.models
        if any(_DIVIDERS & set(model) for model in upstream.models):
            raise BadValue("errors_launch.bad_word", value=" ".join(upstream.models))
        words += [f"--upstream={first}={upstream.url}", *(f"--alias={other}={first}" for other in others)]
    if job.swaps:
        groups = (",".join(models_of(unit.instance)[0] for unit in group) for group in turns(job))
        words += ["--residency=swap", *(f"--group={group}" for group in groups)]
    return words


_DIVIDERS = frozenset("=,")
"""Stand between the words of the gateway's arguments."""


def page(job: Job) -> dict[str, Any]:
    """The service with a chat page, which talks to every model (Open WebUI) or to the first one awake (Rigfit's)."""
    before = [ENDPOINT] if has_front(job) else [job.units[0].name]
    service = {"open-webui": _open_webui, "rigfit": _rigfit_page}[job.choices.page](job)
    return {
        **service,
        "depends_on": healthy_after(*before),
        "restart": "no" if job.swaps else "on-failure:3",
    }


def page_volumes(job: Job) -> tuple[str, ...]:
    """Volumes that the page keeps its conversations in."""
    return () if job.choices.page == "none" else (job.choices.page,)


def _open_webui(job: Job) -> dict[str, Any]:
    """Variables: docs.openwebui.com/reference/env-configuration. The image has a health check of its own."""
    return {
        "image": pins.OPEN_WEBUI,
        "environment": {
            "ENABLE_OLLAMA_API": "false",
            "OPENAI_API_BASE_URL": base_url(job),
            "OPENAI_API_KEY": api_key(job, "no-key"),
            "WEBUI_AUTH": "true" if job.choices.open else EnvRef("${WEBUI_AUTH:-true}"),
            "WEBUI_SECRET_KEY": EnvRef("${WEBUI_SECRET_KEY:-}"),
        },
        "volumes": ["open-webui:/app/backend/data"],
        "ports": [published(job, "PAGE_PORT", 3000, _PAGE_PORT["open-webui"])],
    }


def _rigfit_page(job: Job) -> dict[str, Any]:
    """Its page knows no log-in, so it stays on this machine whatever was chosen."""
    first = next((unit for unit in job.units if not unit.sleeps), job.units[0])
    return {
        **image_of_rigfit(job),
        "command": Flow(["ui", "--host=0.0.0.0", f"--port={_PAGE_PORT['rigfit']}"]),
        "environment": {
            "RIGFIT_LLM_URL": base_url(job),
            "RIGFIT_LLM_MODEL": models_of(first.instance)[0],
            "RIGFIT_LLM_API_KEY": api_key(job, "no-key"),
        },
        "volumes": ["rigfit:/data"],
        "ports": [EnvRef("127.0.0.1:${PAGE_PORT:-3000}:" + str(_PAGE_PORT["rigfit"]))],
    }


def _checked(*command: str) -> dict[str, Any]:
    return {"test": Flow(["CMD", *command]), "interval": "10s", "timeout": "5s", "retries": 3}
