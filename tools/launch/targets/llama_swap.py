"""llama-swap in front of ``llama-server``: one address, engines started and stopped as they are asked for."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from tools.errors import BadValue
from tools.launch.argv.llamacpp import llamacpp_argv
from tools.launch.argv.words import wrapped
from tools.launch.checks.llama_swap import check_llama_swap
from tools.launch.checks.llamacpp import check_llama_flags
from tools.launch.checks.shell import check_shell
from tools.launch.checks.yaml import check_yaml
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import FIRST_PORT, Job, Unit
from tools.launch.local_scripts import (
    awake,
    begin,
    cards_of,
    enough,
    enough_lines,
    fetch_files,
    key_needed,
    needs,
    readme_words,
    weight_bytes,
)
from tools.launch.readme import readme
from tools.launch.targets.llamacpp import chosen_flags
from tools.launch.yaml_text import Block, Commented, Flow, dump
from tools.units import GIB

MOST = 12
"""Engines of which every combination is tried; of more, only those that the plan keeps together."""


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``config.yaml``, ``start.sh``, what fetches the files, and ``README.md``."""
    base = f"http://127.0.0.1:{FIRST_PORT}"
    sets = [[unit.name for unit in units] for units in together(job)]
    bases = {unit.name: base for unit in job.units}
    text = readme(job, "llama_swap", bases=bases, sets=sets, base=base, **readme_words(job))
    return (
        LaunchFile("config.yaml", config_yaml(job)),
        LaunchFile("start.sh", _start_sh(job), executable=True),
        *fetch_files(job),
        LaunchFile("README.md", text),
    )


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    text = made[0].content
    commands = [argv(job, unit, port="5800") for unit in job.units]
    return (check_yaml(text), check_llama_swap(text), check_llama_flags(commands), *check_shell(made))


def argv(job: Job, unit: Unit, port: str = "${PORT}") -> list[str]:
    """Return the command of one engine; llama-swap puts a free port in place of ``${PORT}``."""
    return [*llamacpp_argv(unit.instance, host="127.0.0.1", port=port), *chosen_flags(job, keyed=False)]


def config_yaml(job: Job) -> str:
    """Return the configuration of a job.

    Raises:
        BadValue: a name that llama-swap would read as a placeholder of its own, or that two engines have.
    """
    models = {unit.name: _model(job, unit) for unit in job.units}
    _check_names(job)
    document: dict[str, Any] = {
        "healthCheckTimeout": max(unit.load_s for unit in job.units),
        "globalTTL": 0,
        "startPort": FIRST_PORT + 1,
        "logToStdout": "both",
        "includeAliasesInList": True,
        **({"apiKeys": ["${env.LLAMA_SWAP_API_KEY}"]} if job.choices.open else {}),
        "models": Commented(models, job.say("launch_local.swap_models")),
        "routing": {"router": {"use": "matrix", "settings": _routing(job)}},
        "hooks": {"on_startup": {"preload": Commented(_first(job), job.say("launch_local.swap_preload"))}},
    }
    return dump(document, header=header(job), dollar="$")


def _model(job: Job, unit: Unit) -> dict[str, Any]:
    cards = cards_of(job, unit)
    command = wrapped(argv(job, unit)).replace(" \\\n", "\n").replace("'${PORT}'", "${PORT}")
    return {
        "cmd": Block(command) if command.replace("\n", "").isprintable() else command,
        **({"env": [f"{name}={value}" for name, value in cards.items()]} if cards else {}),
        "aliases": [name for name in unit.instance.served_names if name != unit.name],
    }


def _check_names(job: Job) -> None:
    taken: set[str] = {unit.name for unit in job.units}
    for unit in job.units:
        for name in unit.instance.served_names:
            if name in taken and name != unit.name:
                raise BadValue("launch_local.same_name", name=name)
            taken.add(name)
        foreign = next((word for word in argv(job, unit, port="1") if "${" in word), None)
        if foreign is not None:
            raise BadValue("launch_local.bad_macro", name=foreign)


def _routing(job: Job) -> dict[str, Any]:
    sets, short = together(job), {unit.name: f"m{number}" for number, unit in enumerate(job.units, 1)}
    lines = {f"set{number}": " & ".join(short[unit.name] for unit in units) for number, units in enumerate(sets, 1)}
    costs = {short[unit.name]: max(1, math.ceil(weight_bytes(unit) / GIB)) for unit in job.units}
    group = {"swap": len(sets) > 1, "exclusive": False, "members": [unit.name for unit in job.units]}
    return {
        "matrix": {
            "vars": {name: unit for unit, name in short.items()},
            "evict_costs": Commented(costs, job.say("launch_local.swap_costs")),
            "sets": Commented(lines, job.say("launch_local.swap_together")),
        },
        "groups": Commented({"engines": group}, job.say("launch_local.swap_groups")),
    }


def _first(job: Job) -> Flow:
    return Flow(unit.name for unit in awake(job.units))


def together(job: Job) -> tuple[tuple[Unit, ...], ...]:
    """Return every set of engines that may run at once, none of them part of another, in start order.

    A set fits where on each card the sum of what its engines take is no more than the card has for them. What the plan
    keeps together is always one of them; where taking turns was asked for, nothing more is.
    """
    found = [frozenset(unit.name for unit in awake(job.units))]
    for size in range(len(job.units), 0, -1) if len(job.units) <= MOST else (1,):
        for units in combinations(job.units, size):
            names = frozenset(unit.name for unit in units)
            if not any(names <= known for known in found) and (size == 1 or _may_meet(job, units)):
                found.append(names)
    whole = [names for names in found if not any(names < other for other in found)]
    return tuple(tuple(unit for unit in job.units if unit.name in names) for names in whole)


def _may_meet(job: Job, units: Sequence[Unit]) -> bool:
    """Whether no card would hold too much, nor two engines that were to take turns on it."""
    turns = job.plan.request.residency == "swap"
    for card in job.placement.gpus:
        here = [unit for unit in units if card.index in unit.instance.gpu_indices]
        if turns and len(here) > 1 and any(unit.sleeps for unit in here):
            return False
        if sum(unit.instance.bytes_on(card.index) for unit in here) > card.total_bytes - card.reserved_bytes:
            return False
    return True


def _start_sh(job: Job) -> str:
    host = "0.0.0.0" if job.choices.open else "127.0.0.1"  # noqa: S104 - asked for, and only with an API key
    command = ["llama-swap", "--config", "config.yaml", "--listen", f"{host}:{FIRST_PORT}"]
    before = "\n".join([needs(job, "llama-swap", "llama-server"), *key_needed(job, "LLAMA_SWAP_API_KEY")])
    checks = "\n".join([enough(job), *enough_lines(job, awake(job.units))])
    return f"""\
{begin(job, job.say("launch_local.swap_start"))}
{before}
./fetch.sh
{checks}
exec {shlex.join(command)} "$@"
"""
