"""Plain SGLang: a script an engine, and one that starts them in order and stops them together."""

from __future__ import annotations

import math
import shlex

from tools.errors import BadValue
from tools.launch import preflight
from tools.launch.argv.llamacpp import device_environment
from tools.launch.argv.sglang import sglang_argv
from tools.launch.argv.words import wrapped
from tools.launch.checks.sglang import check_sglang_flags
from tools.launch.checks.shell import check_shell
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.files import Check, LaunchFile
from tools.launch.job import Job, Unit
from tools.launch.local_scripts import LOCAL, begin, key_needed, needs
from tools.launch.readme import readme
from tools.launch.supervision import start_each, start_function, supervised, until_stopped
from tools.launch.targets.vllm_scripts import EVERYWHERE, fetch_sh

FREED_AFTER_START = 0.98
"""Share of what an engine takes that must be free before it starts; the rest is the figures' own doubt."""


VENDORS = frozenset({"nvidia", "amd"})
"""Makers of cards for which SGLang is published ready to use; for others it is built from its source (docs.sglang.io,
Hardware platforms)."""


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``serve-<name>.sh`` for each engine, what fetches and starts them, ``README.md``.

    Raises:
        BadValue: SGLang is not published for the cards.
    """
    if job.vendor not in VENDORS:
        raise BadValue("launch_sglang.no_card", vendor=job.vendor.capitalize())
    bases = {unit.name: f"http://{LOCAL}:{unit.port}" for unit in job.units}
    capped = all(unit.instance.deployment.options.total_tokens for unit in job.units)
    return (
        *(LaunchFile(f"serve-{unit.name}.sh", _serve_sh(job, unit), executable=True) for unit in job.units),
        LaunchFile("start-all.sh", _start_all_sh(job), executable=True),
        LaunchFile("fetch.sh", fetch_sh(job), executable=True),
        LaunchFile("preflight.py", preflight.program(job)),
        LaunchFile("download.py", DOWNLOAD),
        LaunchFile("README.md", readme(job, "sglang", bases=bases, capped=capped)),
    )


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    return (check_sglang_flags(argv(job, unit) for unit in job.units), *check_shell(made))


def argv(job: Job, unit: Unit) -> list[str]:
    """Return the command that starts an engine."""
    return sglang_argv(unit.instance, host=EVERYWHERE if job.choices.open else LOCAL, port=unit.port)


def _serve_sh(job: Job, unit: Unit) -> str:
    lines = [
        begin(job, job.say("launch.serve_more"), unit=unit).rstrip(),
        *key_needed(job, "SGLANG_API_KEY"),
        *(f"export {k}={shlex.quote(v)}" for k, v in device_environment(unit.vendor, unit.devices).items()),
        shlex.join(["python3", "preflight.py", *_needed(unit)]),
        f"exec {wrapped(argv(job, unit))} \\",
        *(['    --api-key "$SGLANG_API_KEY" \\'] * job.choices.open),
        '    "$@"',
    ]
    return "\n".join(lines) + "\n"


def _start_all_sh(job: Job) -> str:
    steps = {unit.name: [shlex.join(["start", unit.name, str(unit.port), str(unit.load_s)])] for unit in job.units}
    before = "\n".join([needs(job, "python3", "curl"), *key_needed(job, "SGLANG_API_KEY")])
    return f"""\
{begin(job, job.say("launch_local.start_all"))}
{before}
./fetch.sh
export HF_HUB_OFFLINE=1
mkdir -p logs

{supervised(job)}
{start_function(job, limited=True)}
{start_each(job, steps)}
{until_stopped(job)}"""


def _needed(unit: Unit) -> list[str]:
    """What must be free: SGLang takes its share of what it finds, so too little free memory is a smaller cache."""
    gpu = unit.gpus[0] if unit.gpus else None
    share = unit.instance.footprint.total_bytes / gpu.memory_bytes * FREED_AFTER_START if gpu else 0.0
    return [unit.vendor, ",".join(map(str, unit.devices)), f"{math.floor(min(share, 1.0) * 10_000) / 10_000:.4f}"]
