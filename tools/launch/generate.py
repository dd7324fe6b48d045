"""From a plan to the files that start it, with what the validators say about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from typing import Any

from tools.domain import Note, Plan
from tools.errors import BadValue
from tools.launch.choices import DEFAULT, NAMES, Choices
from tools.launch.files import Check, LaunchFile, LaunchFiles, write, zip_bytes
from tools.launch.job import Job, prepare

__all__ = ["TARGETS", "Check", "LaunchFile", "LaunchFiles", "Target", "generate", "write", "zip_bytes"]


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of launch files.

    Attributes:
        module: has ``files(job)`` and ``check(job, files)``.
        engine: what the files start; a plan for another engine is made again for this one.
        cluster: the files are for a scheduler of machines: one set for all of them, and an engine may span several.
        choices: names of the ``Choices`` that its files honour.
    """

    module: str
    engine: str = "vllm"
    cluster: bool = False
    choices: tuple[str, ...] = ()


_HERE = "tools.launch.targets."
TARGETS = {
    "compose": Target(_HERE + "compose", choices=("endpoint", "page", "cpu", "open")),
    "vllm": Target(_HERE + "vllm", choices=("share", "cpu", "open")),
    "llamacpp": Target(_HERE + "llamacpp", engine="llama.cpp", choices=("cpu", "open")),
    "llama-swap": Target(_HERE + "llama_swap", engine="llama.cpp", choices=("cpu", "open")),
    "ollama": Target(_HERE + "ollama", engine="ollama", choices=("cpu",)),
    "kubernetes": Target(_HERE + "kubernetes", cluster=True, choices=("open", "sharing")),
    "ray": Target(_HERE + "ray", cluster=True),
    "slurm": Target(_HERE + "slurm", cluster=True, choices=("open",)),
    "sglang": Target(_HERE + "sglang", engine="sglang", choices=("open",)),
    "webui": Target(_HERE + "webui", engine="text-generation-webui", choices=("open",)),
}
"""By name; adding a target is a line here and its module."""


def default_target(engine: str) -> str:
    """Return the target to offer first for a plan for an engine: its own, else ``compose``."""
    return next((name for name, target in TARGETS.items() if target.engine == engine), "compose")


def generate(
    plan: Plan,
    *,
    option: str | None = None,
    target: str = "compose",
    language: str = "en",
    choices: Choices = DEFAULT,
    today: date | None = None,
    checked: bool = True,
) -> LaunchFiles:
    """Return the files that start an option of a plan.

    Args:
        plan: a plan for any engine.
        option: an option's id, ``"as_asked"``, or None for the recommended one.
        target: a key of ``TARGETS``.
        language: of comments and README (``en`` or ``ru``).
        choices: what was chosen about the files.
        today: the date that the files carry; None = the machine's.
        checked: ask the validators that are there, some of which are programs of their own.

    Returns:
        Files with relative paths (a folder each where the plan spans machines), one check a validator, and notes on
        what was changed for the target's engine, and on choices that its files do not know.

    Raises:
        BadValue: unknown target, cards or an engine that it cannot serve, a name that cannot be written safely.
        NoSuchOption: the plan has no such option.
        NothingFits: that option does not fit; ``params`` hold the deficit.
    """
    wanted = TARGETS.get(target)
    if wanted is None:
        raise BadValue("errors_launch.unknown_target", target=target[:60], allowed=", ".join(TARGETS))
    notes = _of_no_use(choices, target)
    if plan.request.engine != wanted.engine:
        from tools.plan.other_engine import replan

        plan, option, changed = replan(plan, option, wanted.engine)
        notes += changed
    made_on = (today or date.today()).isoformat()
    jobs = prepare(plan, option, language, cluster=wanted.cluster, choices=choices, made_on=made_on)
    files, checks = _made(import_module(wanted.module), jobs, checked=checked)
    return LaunchFiles(target, jobs[0].option, files, checks, notes)


def _made(module: Any, jobs: Sequence[Job], *, checked: bool) -> tuple[tuple[LaunchFile, ...], tuple[Check, ...]]:
    """What a target's module makes of each job, in the job's folder, and what the validators say of it."""
    files: list[LaunchFile] = []
    checks: list[Check] = []
    for job in jobs:
        made: tuple[LaunchFile, ...] = module.files(job)
        said: tuple[Check, ...] = module.check(job, made) if checked else ()
        files += [replace(file, path=job.folder + file.path) for file in made]
        checks += [replace(check, name=job.folder + check.name) for check in said]
    return tuple(files), tuple(checks)


def _of_no_use(choices: Choices, target: str) -> tuple[Note, ...]:
    """A note on each choice that changes nothing in a target's files."""
    taken = {name: getattr(choices, name) for name in NAMES if getattr(choices, name) != getattr(DEFAULT, name)}
    return tuple(
        Note("launch.choice_unused", {"choice": name if word is True else f"{name}={word}", "target": target})
        for name, word in taken.items()
        if name not in TARGETS[target].choices
    )
