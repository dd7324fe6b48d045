"""The command that runs a plan: ``rigfit serve`` in the words of ``rigfit plan``."""

from __future__ import annotations

import shlex
from itertools import groupby

from tools.domain import Plan, PlanRequest

ENGINE = "vllm"
VENDORS = frozenset({"nvidia", "amd"})
"""Whose cards vLLM is started on."""


def serve_line(plan: Plan, option: str | None = None) -> str | None:
    """Return the command line that runs an option of a plan on the machine that the plan is for.

    The cards are not named: on that machine they are found.

    Args:
        plan: the plan.
        option: its option's id; None = the recommended one.

    Returns:
        The line, its words quoted for a shell; None where nothing fits, where other hardware is needed, or where one
        Rigfit does not start the engines: several machines, other cards, another engine, a model of a folder.

    Raises:
        KeyError: the plan has no such option.
    """
    wanted = option or plan.recommended
    fits = plan.placement(wanted).verdict != "does_not_fit"
    kind = next((one.kind for one in plan.options if one.id == wanted), "")
    if not fits or kind == "more_hardware" or not _is_run_here(plan.request):
        return None
    chosen = [] if wanted == plan.recommended == "as_asked" else ["--option", wanted]
    return shlex.join(["rigfit", "serve", *_words(plan.request), *chosen])


def _is_run_here(request: PlanRequest) -> bool:
    rig = request.rig
    able = {gpu.vendor for gpu in rig.gpus} <= VENDORS and rig.nodes == 1 and request.engine == ENGINE
    return able and all("/" in one.model.name and one.model.checkpoints for one in request.instances)


def _words(request: PlanRequest) -> list[str]:
    """Return the models, and what was said besides; what was not said has the same defaults there."""
    words: list[str] = []
    named = (one.model.name + ("" if one.precision == "any" else f"@{one.precision}") for one in request.instances)
    for name, copies in groupby(named):
        count = len(list(copies))
        words.append(name if count == 1 else f"{count}x{name}")
    first = request.instances[0]
    said = {
        "context": ("--context", max(one.context for one in request.instances)),
        "users": ("--users", first.users),
        "kv_dtype": ("--kv-dtype", request.kv_dtype),
    }
    for field, (flag, value) in said.items():
        if field in request.stated:
            words += [flag, str(value)]
    return words if request.residency == "auto" else [*words, "--residency", request.residency]
