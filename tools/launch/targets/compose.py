"""Docker Compose on vLLM: fetch the weights, start the engines one after the other, one address in front."""

from __future__ import annotations

import shlex
from typing import Any

from tools.launch import container_scripts, pins
from tools.launch.argv.vllm import vllm_argv
from tools.launch.checks.compose import check_compose_schema
from tools.launch.checks.shell import check_shell
from tools.launch.checks.vllm import check_flags
from tools.launch.checks.yaml import check_yaml
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import FIRST_PORT, SLEEPER, Job, Unit, download_arguments, memory_row
from tools.launch.readme import readme
from tools.launch.yaml_text import Block, Commented, EnvRef, Flow, comment_line, dump

PORT = 8000
"""Where each engine listens inside its container."""

_CACHE = EnvRef("${HF_CACHE:-hf-cache}:/hf")
_HF_HOME = {"HF_HOME": "/hf"}
_TORCH_CACHE = "vllm-cache:/root/.cache/vllm"
_ADDRESS = "127.0.0.1:${ENDPOINT_PORT:-" + str(FIRST_PORT) + "}"


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``compose.yaml``, ``.env.example``, ``README.md`` and, where engines take turns, ``swap.sh``."""
    made = [
        LaunchFile("compose.yaml", compose_yaml(job)),
        LaunchFile(".env.example", _env_example(job)),
        LaunchFile("README.md", readme(job, "compose", bases=_bases(job))),
    ]
    if job.swaps:
        made.append(LaunchFile("swap.sh", _swap_sh(job), executable=True))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    text = made[0].content
    return (
        check_yaml(text),
        check_compose_schema(text),
        check_flags([vllm_argv(unit.instance, host="0.0.0.0", port=PORT) for unit in job.units]),  # noqa: S104
        *check_shell(made),
    )


def compose_yaml(job: Job) -> str:
    """Return the Compose file of a job."""
    services: dict[str, Any] = {"download": Commented(_download(job), job.say("launch.download"))}
    before: dict[str, str] = {"download": "service_completed_successfully"}
    for unit in job.units:
        services[unit.name] = Commented(_engine(job, unit, dict(before)), *_share(job, unit))
        before = {unit.name: "service_healthy"}
        if unit.sleeps:
            helper = unit.name + SLEEPER
            services[helper] = Commented(_sleeper(job, unit), job.say("launch.sleeper", name=unit.name))
            before = {helper: "service_completed_successfully"}
    programs = {"download": container_scripts.DOWNLOAD}
    if job.swaps:
        programs["sleep"] = container_scripts.SLEEP
    if _has_front(job):
        services["endpoint"] = Commented(_front(job), job.say("launch.endpoint"))
        programs["endpoint"] = _nginx(job)
    document: dict[str, Any] = {
        "name": "rigfit",
        "services": services,
        "volumes": {"hf-cache": {}, "vllm-cache": {}},
        "configs": {name: {"content": Block(text)} for name, text in programs.items()},
    }
    return dump(document, header=_header(job))


def _header(job: Job) -> tuple[str, ...]:
    driver = job.say(f"launch.driver_{job.vendor}", driver=pins.NVIDIA_DRIVER, cuda=pins.CUDA)
    return (
        *header(job),
        driver,
        job.say("launch.header_compose", compose=pins.COMPOSE),
        job.say("launch.header_start"),
    )


def _share(job: Job, unit: Unit) -> tuple[str, ...]:
    row = memory_row(job, unit)
    lines = [job.say("launch.share", **row), job.say("launch.share_memory", **row)]
    names = unit.instance.served_names
    if len(names) > 1:
        lines.append(job.say("launch.share_names", names=", ".join(names)))
    if unit.sleeps:
        lines.append(job.say("launch.share_sleeps"))
    return tuple(lines)


def _download(job: Job) -> dict[str, Any]:
    return {
        "image": pins.IMAGES[job.vendor],
        "entrypoint": Flow(["python3", "/rigfit/download.py"]),
        "command": download_arguments(job),
        "configs": [{"source": "download", "target": "/rigfit/download.py"}],
        "environment": {
            **_HF_HOME,
            "HF_ENDPOINT": EnvRef("${HF_ENDPOINT:-https://huggingface.co}"),
            "HF_TOKEN": EnvRef("${HF_TOKEN:-}"),
        },
        "volumes": [_CACHE],
        "restart": "no",
    }


def _engine(job: Job, unit: Unit, before: dict[str, str]) -> dict[str, Any]:
    argv = vllm_argv(unit.instance, host="0.0.0.0", port=PORT)  # noqa: S104 - inside the container's own network
    environment = {**_HF_HOME, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    environment["VLLM_API_KEY"] = EnvRef("${VLLM_API_KEY:-}")
    if unit.can_sleep:
        environment["VLLM_SERVER_DEV_MODE"] = "1"
    if unit.vendor == "amd":
        environment["HIP_VISIBLE_DEVICES"] = ",".join(map(str, unit.devices))
    service: dict[str, Any] = {
        **_image(unit),
        "depends_on": {name: {"condition": condition} for name, condition in before.items()},
        "entrypoint": Flow(argv[:2]),
        "command": argv[2:],
        "environment": environment,
        "volumes": [_CACHE, _TORCH_CACHE],
        **_devices(unit),
        "shm_size": "8gb",
        "ulimits": {"memlock": -1, "stack": 67_108_864},
        "healthcheck": {
            "test": Flow(["CMD", "python3", "-c", container_scripts.HEALTHY, f"http://127.0.0.1:{PORT}/health"]),
            "interval": "10s",
            "timeout": "10s",
            "retries": 6,
            "start_period": f"{unit.load_s}s",
        },
        "restart": "no" if job.swaps else "on-failure:3",
    }
    if not _has_front(job):
        service["ports"] = [EnvRef(f"{_ADDRESS}:{PORT}")]
    return service


def _image(unit: Unit) -> dict[str, Any]:
    image = pins.IMAGES[unit.vendor]
    if not unit.needs_bnb:
        return {"image": image}
    lines = f"FROM {image}\nRUN uv pip install --system --no-deps {' '.join(pins.BNB_PLUGIN)}\n"
    return {"image": f"rigfit/vllm-bnb:v{pins.VLLM}", "build": {"context": ".", "dockerfile_inline": Block(lines)}}


def _devices(unit: Unit) -> dict[str, Any]:
    if unit.vendor == "amd":
        return {
            "devices": ["/dev/kfd", "/dev/dri"],
            "group_add": ["video"],
            "security_opt": ["seccomp=unconfined"],
            "cap_add": ["SYS_PTRACE"],
        }
    card = {"driver": "nvidia", "device_ids": Flow(str(d) for d in unit.devices), "capabilities": Flow(["gpu"])}
    return {"deploy": {"resources": {"reservations": {"devices": [card]}}}}


def _sleeper(job: Job, unit: Unit) -> dict[str, Any]:
    return {
        "image": pins.IMAGES[job.vendor],
        "depends_on": {unit.name: {"condition": "service_healthy"}},
        "entrypoint": Flow(["python3", "/rigfit/sleep.py"]),
        "command": [f"http://{unit.name}:{PORT}"],
        "configs": [{"source": "sleep", "target": "/rigfit/sleep.py"}],
        "restart": "no",
    }


def _has_front(job: Job) -> bool:
    """One engine is reached directly; several, or one with developer routes, through the endpoint."""
    return len(job.units) > 1 or any(unit.can_sleep for unit in job.units)


def _front(job: Job) -> dict[str, Any]:
    return {
        "image": pins.NGINX,
        "depends_on": {unit.name: {"condition": "service_healthy"} for unit in job.units},
        "configs": [{"source": "endpoint", "target": "/etc/nginx/conf.d/default.conf"}],
        "ports": [EnvRef(f"{_ADDRESS}:80")],
        "restart": "no" if job.swaps else "on-failure:3",
    }


def _nginx(job: Job) -> str:
    """Paths ``/NAME/v1/...``; nothing else of an engine can be reached. 127.0.0.11 is Docker's own name server."""
    lines = [
        "server {",
        "    listen 80;",
        "    resolver 127.0.0.11 valid=10s;",
        "    client_max_body_size 64m;",
        "    proxy_http_version 1.1;",
        "    proxy_buffering off;",
        "    proxy_read_timeout 3600s;",
    ]
    for unit in job.units:
        lines += [
            f"    location /{unit.name}/v1/ {{",
            f"        set $engine http://{unit.name}:{PORT};",
            f"        rewrite ^/{unit.name}(/.*)$ $1 break;",
            "        proxy_pass $engine;",
            "    }",
        ]
    names = ", ".join(f"/{unit.name}/v1/" for unit in job.units)
    lines += ["    location / {", "        default_type text/plain;", f'        return 404 "{names}\\n";', "    }", "}"]
    return "\n".join(lines) + "\n"


def _bases(job: Job) -> dict[str, str]:
    root = f"http://127.0.0.1:{FIRST_PORT}"
    return {unit.name: f"{root}/{unit.name}" if _has_front(job) else root for unit in job.units}


def _env_example(job: Job) -> str:
    entries = (("HF_TOKEN", ""), ("HF_ENDPOINT", ""), ("HF_CACHE", ""), ("ENDPOINT_PORT", str(FIRST_PORT)))
    lines = [f"# {comment_line(job.say('launch.env'))}"]
    for name, value in (*entries, ("VLLM_API_KEY", "")):
        lines += ["", f"# {comment_line(job.say('launch.env_' + name.lower()))}", f"#{name}={value}"]
    return "\n".join(lines) + "\n"


def _swap_sh(job: Job) -> str:
    names = " ".join(shlex.quote(unit.name) for unit in job.units if unit.can_sleep)
    return f"""\
#!/usr/bin/env bash
# {comment_line(job.say("launch.swap"))}
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"

engines=({names})
wanted=${{1:-}}
if [[ " ${{engines[*]}} " != *" $wanted "* || -z $wanted ]]; then
    echo "usage: $0 NAME    (${{engines[*]}})" >&2
    exit 2
fi

post() {{ # ENGINE PATH
    docker compose exec -T "$1" python3 -c \\
        'import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], method="POST"), timeout=600)' \\
        "http://127.0.0.1:{PORT}$2"
}}

for engine in "${{engines[@]}}"; do
    if [[ $engine != "$wanted" ]]; then post "$engine" '/sleep?level=1&mode=wait'; fi
done
post "$wanted" /wake_up
echo "$wanted"
"""
