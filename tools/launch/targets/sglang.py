"""Plain SGLang: a script an engine, and one that starts them in order and stops them together."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace

from tools.launch import preflight
from tools.launch.argv.llamacpp import device_environment
from tools.launch.argv.sglang import sglang_argv
from tools.launch.argv.words import wrapped
from tools.launch.checks.sglang import check_sglang_flags
from tools.launch.checks.shell import check_shell
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit
from tools.launch.readme import readme
from tools.launch.targets.vllm_scripts import EVERYWHERE, LOCAL, comments, fetch_sh, start_all_sh

FREED_AFTER_START = 0.98
"""Share of what an engine takes that must be free before it starts; the rest is the figures' own doubt."""


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``serve-<name>.sh`` for each engine, what fetches and starts them, ``README.md``."""
    awake = replace(job, units=tuple(unit for unit in job.units if not unit.sleeps) or job.units[:1])
    bases = {unit.name: f"http://{LOCAL}:{unit.port}" for unit in job.units}
    return (
        *(LaunchFile(f"serve-{unit.name}.sh", _serve_sh(job, unit), executable=True) for unit in job.units),
        LaunchFile("start-all.sh", start_all_sh(awake, tools="python3 curl"), executable=True),
        LaunchFile("fetch.sh", fetch_sh(job), executable=True),
        LaunchFile("preflight.py", preflight.program(job)),
        LaunchFile("download.py", DOWNLOAD),
        LaunchFile("README.md", readme(job, "sglang", bases=bases)),
    )


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    return (check_sglang_flags(argv(job, unit) for unit in job.units), *check_shell(made))


def argv(job: Job, unit: Unit) -> list[str]:
    """Return the command that starts an engine."""
    return sglang_argv(unit.instance, host=EVERYWHERE if job.choices.open else LOCAL, port=unit.port)


def _serve_sh(job: Job, unit: Unit) -> str:
    exports = [f"export {k}={shlex.quote(v)}" for k, v in device_environment(unit.vendor, unit.devices).items()]
    key = ' --api-key "$SGLANG_API_KEY"' if job.choices.open else ""
    lines = [
        "#!/usr/bin/env bash",
        comments(*header(job, unit), job.say("launch.serve_more")),
        "set -euo pipefail",
        'here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)',
        *(_key_needed(job) if job.choices.open else ()),
        *exports,
        f'python3 "$here"/{shlex.join(["preflight.py", *_needed(unit)])}',
        f"exec {wrapped(argv(job, unit))}{key} \\",
        '    "$@"',
    ]
    return "\n".join(lines) + "\n"


def _key_needed(job: Job) -> tuple[str, ...]:
    return (
        "if [[ -z ${SGLANG_API_KEY:-} ]]; then",
        f"    echo {shlex.quote(job.say('launch_sglang.no_key'))} >&2",
        "    exit 1",
        "fi",
    )


def _needed(unit: Unit) -> list[str]:
    """What must be free: SGLang takes its share of what it finds, so too little free memory is a smaller cache."""
    gpu = unit.gpus[0] if unit.gpus else None
    share = unit.instance.footprint.total_bytes / gpu.memory_bytes * FREED_AFTER_START if gpu else 0.0
    return [unit.vendor, ",".join(map(str, unit.devices)), f"{math.floor(min(share, 1.0) * 10_000) / 10_000:.4f}"]
