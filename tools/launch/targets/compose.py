"""Docker Compose on vLLM: fetch the weights, start the engines one after the other, one address in front."""

from __future__ import annotations

import shlex
from typing import Any

from tools.launch import compose_start, container_scripts, pins
from tools.launch.checks.compose import check_compose_config, check_compose_schema
from tools.launch.checks.shell import check_shell
from tools.launch.checks.vllm import check_flags
from tools.launch.checks.yaml import check_yaml
from tools.launch.compose_engines import DONE, argv, download, engine, image, sleeper
from tools.launch.compose_front import ENDPOINT, PAGE, endpoint, endpoint_files, page, page_volumes
from tools.launch.compose_words import PORT, gateway_before, has_front, in_order
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import FIRST_PORT, SLEEPER, Job, Unit
from tools.launch.readme import readme
from tools.launch.yaml_text import Block, Commented, comment_line, dump
from tools.units import gib


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``compose.yaml``, ``.env.example``, ``README.md`` and, where engines take turns by hand, ``swap.sh``."""
    made = [
        LaunchFile("compose.yaml", compose_yaml(job)),
        LaunchFile(".env.example", _env_example(job)),
        LaunchFile("README.md", _readme(job)),
    ]
    if job.swaps and job.choices.endpoint == "nginx":
        made.append(LaunchFile("swap.sh", _swap_sh(job), executable=True))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    text = made[0].content
    return (
        check_yaml(text),
        check_compose_schema(text),
        check_compose_config(text),
        check_flags([argv(job, unit) for unit in job.units]),
        *check_shell(made),
    )


def compose_yaml(job: Job) -> str:
    """Return the Compose file of a job."""
    services: dict[str, Any] = {}

    def add(name: str, service: dict[str, Any], *about: str) -> None:
        services[name] = Commented(in_order(service), *about)

    add("download", download(job), job.say("launch.download"), job.say("launch_compose.download_words"))
    before = {"download": DONE}
    for unit in job.units:
        add(unit.name, engine(job, unit, before), *_about(job, unit))
        before = {unit.name: "service_healthy"}
        if unit.sleeps:
            add(unit.name + SLEEPER, sleeper(job, unit), job.say("launch.sleeper", name=unit.name))
            before = {unit.name + SLEEPER: DONE}
    if has_front(job):
        add(ENDPOINT, endpoint(job), job.say(f"launch_compose.endpoint_{job.choices.endpoint}"))
    if job.choices.page != "none":
        add(PAGE, page(job), job.say("launch_compose.page"))
    document = {
        "name": "rigfit",
        "services": services,
        "volumes": Commented({name: {} for name in ("hf-cache", "vllm-cache", *page_volumes(job))}),
        "configs": Commented(_texts(job), job.say("launch_compose.programs")),
    }
    return dump(document, header=_header(job))


def _texts(job: Job) -> dict[str, Any]:
    """What the services read beside their images."""
    texts = {"download": container_scripts.DOWNLOAD, "start": compose_start.program(job), **endpoint_files(job)}
    if job.swaps:
        texts["sleep"] = container_scripts.SLEEP
    return {name: {"content": Block(text)} for name, text in texts.items()}


def _header(job: Job) -> tuple[str, ...]:
    maker = "cpu" if job.choices.cpu else job.vendor
    return (
        *header(job),
        job.say(f"launch_compose.needs_{maker}", driver=pins.NVIDIA_DRIVER, cuda=pins.CUDA),
        job.say("launch.header_compose", compose=pins.COMPOSE),
        job.say("launch.header_start"),
    )


def _about(job: Job, unit: Unit) -> tuple[str, ...]:
    """What the file's header does not say about an engine."""
    lines: list[str] = []
    names = unit.instance.served_names
    if len(names) > 1:
        lines.append(job.say("launch.share_names", names=", ".join(names)))
    if unit.sleeps:
        lines.append(job.say("launch.share_sleeps"))
    return tuple(lines)


def _readme(job: Job) -> str:
    front, address = has_front(job), f"http://127.0.0.1:{FIRST_PORT}"
    by_path = front and job.choices.endpoint == "nginx"
    return readme(
        job,
        "compose",
        bases={unit.name: address for unit in job.units},
        image=pins.CPU_IMAGE + "x86_64" if job.choices.cpu else image(job),
        front=front,
        address=address,
        paths=[f"{address}/{unit.name}/v1" for unit in job.units] if by_path else [],
        rigfit_built=_builds_rigfit(job),
        needs=_needs(job),
        in_ram=gib(_weights_in_ram(job)),
        unified=any(gpu.unified for gpu in job.plan.request.rig.gpus),
    )


def _needs(job: Job) -> list[str]:
    """What the option needs, less the RAM of engines that take turns, which the README counts over time."""
    needs = job.chosen.needs if job.chosen else ()
    return [job.note(note) for note in needs if not (job.swaps and note.code in {"plan.needs_ram", "plan.ram_kept"})]


def _weights_in_ram(job: Job) -> int:
    """Bytes of RAM once every engine that takes turns has slept, beside the weights that always lie there.

    PyTorch keeps pinned memory for the next sleep, so waking gives none back (vllm-project/vllm#16663).
    """
    total = 0
    for unit in job.units:
        asleep = unit.instance.footprint.weights_bytes if unit.can_sleep else 0
        total += (asleep + unit.instance.deployment.cpu_offload_bytes) * len(unit.instance.gpu_indices)
    return total


def _builds_rigfit(job: Job) -> bool:
    return job.choices.page == "rigfit" or gateway_before(job)


def _env_example(job: Job) -> str:
    entries = {"HF_TOKEN": "", "HF_ENDPOINT": "", "HF_CACHE": "", "ENDPOINT_PORT": str(FIRST_PORT)}
    needed = {"VLLM_API_KEY"} if job.choices.open else set[str]()
    entries["VLLM_API_KEY"] = ""
    if job.choices.cpu:
        entries["CPU_ARCH"] = "x86_64"
    if job.choices.page != "none":
        entries["PAGE_PORT"] = "3000"
    if job.choices.page == "open-webui":
        entries |= {"WEBUI_SECRET_KEY": ""} | ({} if job.choices.open else {"WEBUI_AUTH": "true"})
    if _builds_rigfit(job):
        entries["RIGFIT_SOURCE"] = ""
        needed.add("RIGFIT_SOURCE")
    lines = [f"# {comment_line(line)}" for line in (*header(job), job.say("launch.env"))]
    for name, value in entries.items():
        said = job.say(_ENV_WORDS.get(name, f"launch_compose.env_{name.lower()}"))
        lines += ["", f"# {comment_line(said)}", f"{'' if name in needed else '#'}{name}={value}"]
    return "\n".join(lines) + "\n"


_ENV_WORDS = {
    name: f"launch.env_{name.lower()}"
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_CACHE", "ENDPOINT_PORT", "VLLM_API_KEY")
}


def _swap_sh(job: Job) -> str:
    top = "\n".join(f"# {comment_line(line)}" for line in (*header(job), job.say("launch.swap")))
    sleepers = [unit for unit in job.units if unit.can_sleep]
    cases = "\n".join(f"    {unit.name}) rivals={shlex.quote(' '.join(_rivals(job, unit)))} ;;" for unit in sleepers)
    names = shlex.quote(f"swap.sh {' | '.join(unit.name for unit in sleepers)}")
    return f"""\
#!/usr/bin/env bash
{top}
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"

case ${{1:-}} in # those that share a card with it
{cases}
    *) echo {names} >&2 && exit 2 ;;
esac

post() {{ # ENGINE PATH
    docker compose exec -T "$1" python3 -c \\
        'import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], method="POST"), timeout=600)' \\
        "http://127.0.0.1:{PORT}$2"
}}

for engine in $rivals; do post "$engine" '/sleep?level=1&mode=wait'; done
post "$1" /wake_up
echo "$1"
"""


def _rivals(job: Job, unit: Unit) -> list[str]:
    """Names of the engines that must sleep for one to wake."""
    cards = set(unit.devices)
    return [other.name for other in job.units if other is not unit and other.can_sleep and cards & set(other.devices)]
