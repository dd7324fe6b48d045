"""From a plan to the files that start it, with what the validators say about them."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from tools.domain import Plan
from tools.errors import BadValue
from tools.launch.files import Check, LaunchFile, LaunchFiles, write, zip_bytes
from tools.launch.job import prepare

__all__ = ["TARGETS", "Check", "LaunchFile", "LaunchFiles", "generate", "write", "zip_bytes"]

TARGETS = {"compose": "tools.launch.compose", "vllm": "tools.launch.vllm_scripts"}
"""Module of each target. It has ``files(job)`` and ``check(job, files)``; adding a target is a line here."""


def generate(plan: Plan, *, option: str | None = None, target: str = "compose", language: str = "en") -> LaunchFiles:
    """Return the files that start an option of a plan.

    Args:
        plan: a plan for vLLM.
        option: an option's id, ``"as_asked"``, or None for the recommended one.
        target: a key of ``TARGETS``.
        language: of comments and README (``en`` or ``ru``).

    Returns:
        Files with relative paths (a folder each where the plan spans machines), and one check a validator.

    Raises:
        BadValue: unknown target, cards or an engine that it cannot serve, a name that cannot be written safely.
        NoSuchOption: the plan has no such option.
        NothingFits: that option does not fit; ``params`` hold the deficit.
    """
    if target not in TARGETS:
        raise BadValue("errors_launch.unknown_target", target=target, allowed=", ".join(TARGETS))
    module: Any = import_module(TARGETS[target])
    jobs = prepare(plan, option, language)
    files: list[LaunchFile] = []
    checks: list[Check] = []
    for job in jobs:
        made: tuple[LaunchFile, ...] = module.files(job)
        said: tuple[Check, ...] = module.check(job, made)
        files += [replace(file, path=job.folder + file.path) for file in made]
        checks += [replace(check, name=job.folder + check.name) for check in said]
    return LaunchFiles(target, jobs[0].option, tuple(files), tuple(checks))
