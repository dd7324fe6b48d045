"""The services of a Compose file behind the endpoint: the download, the engines, and what puts them to sleep."""

from __future__ import annotations

from typing import Any

from tools.launch import compose_start, container_scripts, pins
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.argv.words import joined
from tools.launch.compose_words import PORT, api_key, gateway_before, has_front, healthy_after, published
from tools.launch.job import FIRST_PORT, Job, Unit, download_arguments
from tools.launch.yaml_text import Block, EnvRef, Flow

_CACHE = EnvRef("${HF_CACHE:-hf-cache}:/hf")
_HF_HOME = {"HF_HOME": "/hf"}
_TORCH_CACHE = "vllm-cache:/root/.cache/vllm"

DONE = "service_completed_successfully"
"""A condition of ``depends_on``."""


def argv(job: Job, unit: Unit) -> list[str]:
    """The command that starts an engine inside its container."""
    everywhere = "0.0.0.0"  # noqa: S104 - in a network of its own
    return vllm_argv(unit.instance, host=everywhere, port=PORT, gpus=unit.gpus, cpu=job.choices.cpu)


def download(job: Job) -> dict[str, Any]:
    """The service that fetches the weights, checks the disk first, and ends."""
    return {
        "image": image(job),
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


def engine(job: Job, unit: Unit, before: dict[str, str]) -> dict[str, Any]:
    """The service of one engine, which starts when those ``before`` it have reached their condition."""
    return {
        **_image(job, unit),
        "depends_on": {name: {"condition": condition} for name, condition in before.items()},
        "entrypoint": Flow(["python3", "/rigfit/start.py"]),
        "command": joined(argv(job, unit)),
        "configs": [{"source": "start", "target": "/rigfit/start.py"}],
        "environment": _environment(job, unit),
        "volumes": [_CACHE, _TORCH_CACHE],
        **_devices(job, unit),
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
        **({} if has_front(job) else {"ports": [published(job, "ENDPOINT_PORT", FIRST_PORT, PORT)]}),
    }


def sleeper(job: Job, unit: Unit) -> dict[str, Any]:
    """The service that puts an engine to sleep once it is ready, and ends."""
    return {
        "image": image(job),
        "depends_on": healthy_after(unit.name),
        "entrypoint": Flow(["python3", "/rigfit/sleep.py"]),
        "command": [f"http://{unit.name}:{PORT}"],
        "configs": [{"source": "sleep", "target": "/rigfit/sleep.py"}],
        "restart": "no",
    }


def image(job: Job) -> str:
    """The image of vLLM for the cards, or for the processor."""
    return EnvRef(pins.CPU_IMAGE + "${CPU_ARCH:-x86_64}") if job.choices.cpu else pins.IMAGES[job.vendor]


def _image(job: Job, unit: Unit) -> dict[str, Any]:
    if not unit.needs_bnb or job.choices.cpu:
        return {"image": image(job)}
    lines = f"FROM {image(job)}\nRUN uv pip install --system --no-deps {' '.join(pins.BNB_PLUGIN)}\n"
    return {"image": f"rigfit/vllm-bnb:v{pins.VLLM}", "build": {"context": ".", "dockerfile_inline": Block(lines)}}


def _environment(job: Job, unit: Unit) -> dict[str, str]:
    variables = {**_HF_HOME, "HF_HUB_OFFLINE": "1", **vllm_environment(unit, cpu=job.choices.cpu, pick_cards=False)}
    if job.choices.open or not gateway_before(job):
        variables["VLLM_API_KEY"] = api_key(job)
    if job.choices.cpu:  # decided by the program that starts the engine
        del variables["VLLM_CPU_OMP_THREADS_BIND"]
    return variables | compose_start.variables(job, unit)


def _devices(job: Job, unit: Unit) -> dict[str, Any]:
    if job.choices.cpu:
        # memory of the processor's own node is asked for (docs.vllm.ai, Installation, CPU, Docker)
        return {"cap_add": ["SYS_NICE"], "security_opt": ["seccomp=unconfined"]}
    if unit.vendor == "amd":
        return {
            "devices": ["/dev/kfd", "/dev/dri"],
            "group_add": ["video"],
            "security_opt": ["seccomp=unconfined"],
            "cap_add": ["SYS_PTRACE"],
        }
    card = {"driver": "nvidia", "device_ids": Flow(str(d) for d in unit.devices), "capabilities": Flow(["gpu"])}
    return {"deploy": {"resources": {"reservations": {"devices": [card]}}}}
