"""What the README of the vLLM scripts says beside what every README does."""

from __future__ import annotations

from typing import Any

from tools.launch.argv.vllm import needs_remote_code
from tools.launch.argv.vllm_parsers import parsers_for
from tools.launch.job import Job
from tools.launch.targets.vllm_scripts import EVERYWHERE, host, said_of_cards


def words(job: Job, *, weights: bool) -> dict[str, Any]:
    """Return what ``templates/vllm.*.md.j2`` names beside the usual."""
    chosen = job.chosen
    needs = {job.note(note) for note in chosen.needs} if chosen else set[str]()
    said = dict.fromkeys(line for unit in job.units for line in said_of_cards(job, unit))
    deployments = [unit.instance.deployment for unit in job.units]
    return {
        "cpu": job.choices.cpu,
        "weights": weights,
        "open": any(host(job, unit) == EVERYWHERE for unit in job.units),
        "kept_local": job.choices.open and any(unit.can_sleep for unit in job.units),
        "parsers": [(u.name, found) for u in job.units if any(found := parsers_for(u.instance.deployment))],
        "bare": [u.name for u in job.units if not any(parsers_for(u.instance.deployment))],
        "remote_code": [u.checkpoint.repo for u in job.units if needs_remote_code(u.instance.deployment)],
        "of_cards": [line for line in said if line not in needs],
        "unified": any(gpu.unified for unit in job.units for gpu in unit.gpus),
        "pins_memory": any(d.sleep_mode or d.cpu_offload_bytes or d.prefetch for d in deployments),
    }
