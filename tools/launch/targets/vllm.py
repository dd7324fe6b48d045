"""Plain vLLM: a script an engine, one that starts them in order, and units of systemd that do the same."""

from __future__ import annotations

from tools.launch import guard, preflight
from tools.launch.argv.vllm import preload_argv
from tools.launch.checks.shell import check_shell
from tools.launch.checks.systemd import check_units
from tools.launch.checks.vllm import check_flags
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.files import Check, LaunchFile
from tools.launch.job import Job
from tools.launch.local_scripts import LOCAL
from tools.launch.readme import readme
from tools.launch.targets import vllm_scripts as scripts
from tools.launch.targets.vllm_readme import words
from tools.launch.targets.vllm_systemd import HOME, unit_files
from tools.launch.targets.vllm_weights import shares_weights, with_shared_weights


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return scripts, units, ``README.md``, and where engines take turns ``swap.sh``.

    Raises:
        BadValue: shared weights were chosen where they can't be shared; a flag that can't be built.
    """
    weights = shares_weights(job)
    job = with_shared_weights(job) if weights else job
    made = [LaunchFile(f"serve-{u.name}.sh", scripts.serve_sh(job, u), executable=True) for u in job.units]
    if weights:
        made.append(LaunchFile(f"serve-{scripts.WEIGHTS}.sh", scripts.weights_sh(job), executable=True))
    made.append(LaunchFile("start-all.sh", scripts.start_all_sh(job, weights=weights), executable=True))
    made.append(LaunchFile("fetch.sh", scripts.fetch_sh(job), executable=True))
    made.append(LaunchFile("wait-ready.sh", scripts.wait_ready_sh(job), executable=True))
    if job.swaps:
        made.append(LaunchFile("swap.sh", scripts.swap_sh(job), executable=True))
    made.append(LaunchFile("preflight.py", preflight.program(job)))
    made.append(LaunchFile("download.py", DOWNLOAD))
    if any(scripts.host(job, unit) == scripts.EVERYWHERE for unit in job.units):
        made.append(LaunchFile(guard.FILE, guard.PROGRAM))
    made += unit_files(job, weights=weights)
    bases = {unit.name: f"http://{LOCAL}:{unit.port}" for unit in job.units}
    made.append(LaunchFile("README.md", readme(job, "vllm", bases=bases, **words(job, weights=weights))))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    commands: list[list[str]] = []
    if shares_weights(job):
        job = with_shared_weights(job)
        unit = scripts.holder(job)
        commands.append(preload_argv(unit.instance, health_port=scripts.weights_port(job), gpus=unit.gpus))
    commands += [scripts.argv(job, unit) for unit in job.units]
    return (check_flags(commands), *check_shell(made), *check_units(made, HOME))
