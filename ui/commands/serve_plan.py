"""What ``rigfit serve`` starts: a plan for this machine, checked to be one that Rigfit itself can start here."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tools.errors import BadValue, ServiceError
from tools.units import gib
from ui.arguments import PLAN_WORDS
from ui.output import read_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from tools.domain import Gpu, Plan, Rig
    from tools.launch.job import Job, Unit
    from tools.settings import Settings

ENGINE = "vllm"
CLUSTERS = ("ray", "kubernetes", "slurm")


def plan_of(arguments: Namespace, language: str) -> Plan:
    """Make the plan of a command line, or read it.

    Raises:
        RigfitError: as ``rigfit plan`` and ``rigfit launch``; no card is named and this machine has none.
    """
    if arguments.plan is not None:
        if arguments.models or any(getattr(arguments, name) is not None for name in PLAN_WORDS):
            raise BadValue("errors_ui.plan_twice")
        return plan_from_file(read_json(arguments.plan))
    from ui.commands.plan import plan_from_words

    named = arguments.gpu is not None or arguments.vram is not None
    return plan_from_words(arguments, None if named else rig_here(arguments.cpu, language))


def plan_from_file(data: dict[str, object]) -> Plan:
    """Make the plan of a file again.

    Raises:
        RigfitError: the file is no plan, or asks for something unknown.
    """
    from tools.plan.report import plan_from_json
    from tools.specs.gpus import GpuCatalogue
    from ui.catalogue import open_models

    return plan_from_json(data, open_models(), GpuCatalogue.load())


def rig_here(cpu: bool, language: str) -> Rig:
    """Return this machine's cards, or its RAM.

    Raises:
        BadValue: it has no card that vLLM runs on.
    """
    if cpu:
        from tools.specs.processor import processor_rig

        return processor_rig()
    from tools.specs.detect import detect_rig

    rig = detect_rig()
    if not rig.gpus:
        raise BadValue("run.no_cards", reason=say(language, rig.notes[-1]))
    return rig


def job_of(plan: Plan, option: str | None, *, cpu: bool, language: str, again: str) -> Job:
    """Return what of a plan is started on this machine.

    Args:
        plan: any plan.
        option: an option's id; None = the recommended one.
        cpu: on the processor.
        language: of sentences.
        again: the command that writes files for the same plan, less its target.

    Raises:
        BadValue: the plan is for another engine, or for several machines; the command that helps is named.
        NothingFits: the option does not fit.
        NoSuchOption: the plan has no such option.
    """
    from tools.launch.choices import Choices
    from tools.launch.generate import default_target
    from tools.launch.job import prepare
    from tools.plan.engines import display_name

    engine = plan.request.engine
    if engine != ENGINE:
        command = f"{again} --target {default_target(engine)}"
        raise BadValue("run.other_engine", engine=display_name(engine), command=command)
    choices = Choices(cpu=cpu)
    (whole,) = prepare(plan, option, language, cluster=True, choices=choices)
    if any(unit.nodes != (0,) for unit in whole.units):
        commands = " | ".join(f"--target {target}" for target in CLUSTERS)
        raise BadValue("run.several_machines", command=again, targets=commands)
    return prepare(plan, option, language, choices=choices)[0]


def missing_cards(job: Job, language: str, here: Rig | None = None) -> Iterator[str]:
    """Yield a sentence for each thing that the plan wants of cards and this machine has not.

    Args:
        job: what is to be started.
        language: of the sentences.
        here: this machine's hardware; detected by default.
    """
    if job.choices.cpu:
        return
    from prompts import text
    from tools.specs.detect import detect_rig

    rig = here or detect_rig()
    if not rig.gpus:
        yield text(language, "run.no_cards", reason=say(language, rig.notes[-1]))
        return
    for vendor in sorted({unit.vendor for unit in job.units}):
        own = [gpu for gpu in rig.gpus if gpu.vendor.lower() == vendor]
        planned = {device: gpu for unit in job.units if unit.vendor == vendor for device, gpu in _planned(unit)}
        if max(planned) >= len(own):
            wanted = 1 + max(planned)
            yield text(language, "run.too_few_cards", vendor=vendor.upper(), wanted=wanted, here=len(own))
            return
        for device, gpu in sorted(planned.items()):
            there = own[device]
            if gpu is not None and there.cuda_total_bytes < (1 - _SAME_MEMORY) * gpu.cuda_total_bytes:
                sizes = {"wanted": gib(gpu.cuda_total_bytes), "here": gib(there.cuda_total_bytes)}
                yield text(language, "run.smaller_card", place=f"{vendor}:{device}", name=there.name, **sizes)


_SAME_MEMORY = 0.03
"""Cards of one class differ less: ECC and the driver's own part aside, as in ``tools/specs/memory_class.py``."""


def _planned(unit: Unit) -> Iterator[tuple[int, Gpu | None]]:
    """Yield an engine's cards with what the plan knows of them; nothing where it knows a name alone."""
    known = unit.gpus if len(unit.gpus) == len(unit.devices) else (None,) * len(unit.devices)
    yield from zip(unit.devices, known, strict=True)


def vllm_command(settings: Settings) -> Path | None:
    """Return the ``vllm`` beside the interpreter of vLLM's environment, or None where there is none."""
    command = settings.vllm_python.parent / "vllm" if settings.vllm_python else None
    return command if command is not None and command.is_file() else None


def needed_vllm(settings: Settings) -> Path:
    """Return the ``vllm`` command.

    Raises:
        ServiceError: vLLM is not installed.
    """
    command = vllm_command(settings)
    if command is None:
        raise ServiceError("run.no_vllm")
    return command


def launch_command(arguments: Namespace) -> str:
    """Return the ``rigfit launch`` that writes files for what a command line plans, less its target."""
    words = ["rigfit", "launch"]
    if arguments.plan is not None:
        words += ["--plan", arguments.plan]
    words += arguments.models
    for name in PLAN_WORDS:
        value = getattr(arguments, name)
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            words += [f"--{name.replace('_', '-')}", str(one)]
    if arguments.option is not None:
        words += ["--option", arguments.option]
    return shlex.join(words)
