"""What every target starts from: the chosen placement, checked, in start order, with names, ports and devices."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from prompts import text
from tools.domain import Checkpoint, Deployment, Gpu, InstancePlan, Note, Option, Placement, Plan
from tools.errors import BadValue, NoSuchOption, NothingFits
from tools.launch import pins
from tools.launch.argv.vllm import IN_FLIGHT, check_cards
from tools.launch.argv.words import checked_word
from tools.launch.choices import DEFAULT, Choices
from tools.units import gib

FIRST_PORT = 8000


@dataclass(frozen=True, slots=True)
class Unit:
    """One engine to start.

    Attributes:
        name: a DNS label, unique in the job, so that it may stand in file names, service names and addresses.
        port: TCP port where each engine listens on the host itself.
        vendor: maker of its cards, such as ``nvidia`` or ``amd``.
        node: index of its machine, the first where it spans several.
        devices: its cards, counted on their machines.
        load_s: generous limit for the time until it is ready.
        sleeps: goes to sleep as soon as it is ready, before the next one starts.
        nodes: all its machines.
        gpus: its cards as the rig describes them; fewer where a card is known by its name alone.
    """

    name: str
    instance: InstancePlan
    port: int
    vendor: str
    node: int
    devices: tuple[int, ...]
    load_s: int
    sleeps: bool
    nodes: tuple[int, ...] = (0,)
    gpus: tuple[Gpu, ...] = ()

    @property
    def checkpoint(self) -> Checkpoint:
        """What the engine loads."""
        return self.instance.deployment.checkpoint

    @property
    def can_sleep(self) -> bool:
        """Whether the engine starts with sleep mode."""
        return self.instance.deployment.sleep_mode

    @property
    def needs_bnb(self) -> bool:
        """Whether the engine needs the bitsandbytes plugin."""
        return self.checkpoint.quantization.method.startswith("bnb_")


@dataclass(frozen=True, slots=True)
class Job:
    """One option of a plan, to be started on one machine, or on a cluster.

    Attributes:
        node: index of the machine.
        folder: where its files go, with a slash at its end; empty where one set of files is all.
        choices: what the user chose about the files.
        made_on: date of the files, ``YYYY-MM-DD``.
    """

    plan: Plan
    option: str
    placement: Placement
    units: tuple[Unit, ...]
    language: str
    node: int = 0
    folder: str = ""
    choices: Choices = DEFAULT
    made_on: str = ""

    @property
    def engine(self) -> str:
        """The engine that is started (one kind a plan)."""
        return self.units[0].instance.deployment.engine

    @property
    def swaps(self) -> bool:
        """Whether some engines sleep while others work."""
        return any(unit.sleeps for unit in self.units)

    @property
    def vendor(self) -> str:
        """Maker of the cards (one kind a machine)."""
        return self.units[0].vendor

    @property
    def chosen(self) -> Option | None:
        """The option, or None for the placement as asked."""
        return next((o for o in self.plan.options if o.id == self.option), None)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """What has to be downloaded, each once: a repository may hold several types of GGUF file."""
        checkpoints = [unit.checkpoint for unit in self.units]
        return tuple({(c.repo, c.revision, c.quantization.extra.get("type")): c for c in checkpoints}.values())

    def say(self, code: str, /, **params: Any) -> str:
        """Render a message in the job's language."""
        return text(self.language, code, **params)

    def note(self, note: Note) -> str:
        """Render a Note in the job's language."""
        return text(self.language, note.code, **note.params)


def prepare(
    plan: Plan,
    option: str | None,
    language: str,
    *,
    cluster: bool = False,
    choices: Choices = DEFAULT,
    made_on: str = "",
) -> tuple[Job, ...]:
    """Return a job for each machine of the chosen option, or one for all of them.

    Args:
        plan: a plan for the engine that is to be started.
        option: an option's id, ``"as_asked"``, or None for the recommended one.
        language: of comments and README.
        cluster: one job holds every machine's engines, and an engine may span machines.
        choices: what the user chose about the files.
        made_on: date of the files.

    Raises:
        NoSuchOption: the plan has no such option.
        NothingFits: that option does not fit.
        BadValue: cards the engine has no build for, an engine across machines, a name that can't be used.
    """
    chosen = option or plan.recommended
    placement = _placement(plan, chosen)
    units = _units(plan, placement, cluster=cluster)
    units = tuple(_on_the_processor(unit) for unit in units) if choices.cpu else _with_an_image(units)
    nodes = [0] if cluster else sorted({unit.node for unit in units})
    return tuple(
        Job(
            plan=plan,
            option=chosen,
            placement=placement,
            units=tuple(unit for unit in units if cluster or unit.node == node),
            language=language,
            node=node,
            folder=f"machine-{node + 1}/" if len(nodes) > 1 else "",
            choices=choices,
            made_on=made_on,
        )
        for node in nodes
    )


def _placement(plan: Plan, option: str) -> Placement:
    try:
        placement = plan.placement(option)
    except KeyError:
        allowed = ", ".join(["as_asked", *(o.id for o in plan.options)])
        raise NoSuchOption("errors_launch.no_such_option", option=option, allowed=allowed) from None
    if placement.verdict == "does_not_fit" and not placement.deficit_bytes:
        raise NothingFits("errors_launch.cannot_run", option=option, deficit_bytes=0)
    if placement.verdict == "does_not_fit" or not placement.instances:
        raise NothingFits(
            "errors_launch.nothing_fits",
            option=option,
            deficit=gib(placement.deficit_bytes),
            deficit_bytes=placement.deficit_bytes,
        )
    return placement


def _units(plan: Plan, placement: Placement, *, cluster: bool) -> tuple[Unit, ...]:
    """Engines in start order: those that go to sleep come first, so that each starts on a card that is free."""
    ordered = sorted(_able_to_sleep(placement.instances), key=lambda i: (i.awake, i.start_order, i.name))
    taken: set[str] = set()
    units = tuple(_unit(plan, placement, instance, index, taken) for index, instance in enumerate(ordered))
    for unit in units:
        if len(unit.nodes) > 1 and not cluster:
            raise BadValue("errors_launch.spans_machines", name=unit.instance.name)
    return units


def _with_an_image(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    for unit in units:
        if unit.instance.deployment.engine == "vllm" and unit.vendor in _OTHER_VENDORS:
            raise BadValue("errors_launch.no_image", card=(*(gpu.name for gpu in unit.gpus), unit.vendor)[0])
    return units


def _on_the_processor(unit: Unit) -> Unit:
    """All stay awake there: vLLM's sleep mode knows cards alone (``platforms/interface.py``, 0.32.0).

    Nor has it bitsandbytes there (docs.vllm.ai, features/quantization, Supported Hardware).
    """
    if unit.needs_bnb and unit.instance.deployment.engine == "vllm":
        raise BadValue("errors_launch.no_bnb_on_cpu", name=unit.instance.name)
    deployment = replace(unit.instance.deployment, sleep_mode=False)
    return replace(unit, sleeps=False, instance=replace(unit.instance, deployment=deployment, awake=True))


def _able_to_sleep(instances: tuple[InstancePlan, ...]) -> list[InstancePlan]:
    """Turn sleep mode on for every vLLM that shares a card with one that sleeps: they take turns."""
    cards = {card for instance in instances if not instance.awake for card in instance.gpu_indices}
    return [
        replace(i, deployment=replace(i.deployment, sleep_mode=True))
        if i.deployment.engine == "vllm" and cards & set(i.gpu_indices)
        else i
        for i in instances
    ]


def _unit(plan: Plan, placement: Placement, instance: InstancePlan, index: int, taken: set[str]) -> Unit:
    deployment = instance.deployment
    _check_loads(deployment)
    for name in (deployment.checkpoint.repo, *instance.served_names):
        checked_word(name)
    cards = [_card(plan, placement, i) for i in instance.gpu_indices]
    gpus = tuple(card.gpu for card in cards if card.gpu)
    if deployment.engine == "vllm":
        check_cards(deployment, gpus)
    vendors, nodes = {_vendor(card) for card in cards}, tuple(sorted({card.node for card in cards}))
    if len(vendors) != 1:
        raise BadValue("errors_launch.spans_machines", name=instance.name)
    first = {node: next((i for i, g in enumerate(plan.request.rig.gpus) if g.node == node), 0) for node in nodes}
    return Unit(
        name=_label(instance.name, taken),
        instance=instance,
        port=FIRST_PORT + index,
        vendor=vendors.pop(),
        node=nodes[0],
        devices=tuple(i - first[card.node] for i, card in zip(instance.gpu_indices, cards, strict=True)),
        load_s=_load_seconds(deployment.checkpoint, instance.footprint.parameter_bytes * len(cards)),
        sleeps=not instance.awake,
        nodes=nodes,
        gpus=gpus,
    )


def is_hub_id(repo: str) -> bool:
    """Tell whether a name is one of the hub's: ``owner/name`` (``utils/_validators.py``, huggingface_hub 2.4)."""
    return bool(_HUB_ID.fullmatch(repo)) and "--" not in repo and ".." not in repo and not repo.endswith(".git")


_HUB_WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(f"{_HUB_WORD}/{_HUB_WORD}")


def _check_loads(deployment: Deployment) -> None:
    """Refuse what the hub does not have (a model known by its config alone) and what vLLM has no loader for."""
    checkpoint = deployment.checkpoint
    if "/" not in checkpoint.repo:
        raise BadValue("errors_launch.no_repository", name=checkpoint.repo)
    if not is_hub_id(checkpoint.repo):
        raise BadValue("errors_launch.bad_hub_id", name=checkpoint.repo[:120])
    if deployment.engine != "vllm":
        return
    if checkpoint.hypothetical:
        raise BadValue("errors_launch.no_checkpoint", name=checkpoint.repo, precision=checkpoint.precision)
    method = checkpoint.quantization.method
    if method in _OTHER_ENGINES:
        raise BadValue("errors_launch.no_vllm_format", precision=checkpoint.precision)
    if checkpoint.in_flight and method not in IN_FLIGHT:
        raise BadValue("errors_launch.no_in_flight", precision=checkpoint.precision)


_OTHER_ENGINES = frozenset({"gguf", "exl2", "exl3", "mlx"})
"""Formats of other engines; GGUF left vLLM's core with 0.28 (vllm-project/vllm#39583)."""


class _Card(NamedTuple):
    name: str
    vendor: str
    node: int
    gpu: Gpu | None = None


def _card(plan: Plan, placement: Placement, index: int) -> _Card:
    """A card of the placement: the rig's own where it is the same, else known by its name ("NVIDIA H200 SXM")."""
    gpus = plan.request.rig.gpus
    name = next((use.name for use in placement.gpus if use.index == index), "")
    node = gpus[index].node if index < len(gpus) else 0
    for gpu in (*gpus[index : index + 1], *gpus):
        if gpu.name == name or not name:
            return _Card(gpu.name, gpu.vendor.lower(), node, gpu)
    return _Card(name, name.lower().partition(" ")[0], node)


def _vendor(card: _Card) -> str:
    """Maker of a card; a card known only by its memory is taken for NVIDIA's."""
    return card.vendor if card.vendor in pins.IMAGES or card.vendor in _OTHER_VENDORS else "nvidia"


_OTHER_VENDORS = frozenset({"apple", "intel", "qualcomm", "cpu"})


def _label(name: str, taken: set[str]) -> str:
    """A DNS label made from a name: at most 36 of ``a-z 0-9 -``, unique among ``taken`` (which it joins).

    A label may have 63; some targets put words of their own around it.
    """
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:36].strip("-") or "engine"
    label, number = base, 1
    while label in taken or label in _RESERVED or label.endswith(SLEEPER):
        number += 1
        label = f"{base}-{number}"
    taken.add(label)
    return label


_RESERVED = frozenset({"download", "endpoint", "page", "all", "fetch", "weights"})

SLEEPER = "-sleep"
"""Ends the names of the services that put an engine to sleep, and of no engine."""


def _load_seconds(checkpoint: Checkpoint, weight_bytes: int) -> int:
    size = checkpoint.file_bytes or weight_bytes
    return math.ceil((pins.START_S + size / pins.LOAD_BYTES_PER_S) / 60) * 60


def memory_row(job: Job, unit: Unit) -> Mapping[str, Any]:
    """What an engine takes on each of its cards, in words: the keys are placeholders of ``launch.share``."""
    footprint = unit.instance.footprint
    pool = int(footprint.kv_pool_bytes.value) if footprint.kv_pool_bytes else footprint.kv_needed_bytes
    rest = footprint.activation_bytes.value + footprint.cuda_graph_bytes.value + footprint.context_bytes.value
    index = unit.instance.gpu_indices[0] if unit.instance.gpu_indices else 0
    card = next((gpu for gpu in job.placement.gpus if gpu.index == index), None)
    return {
        "name": unit.name,
        "repo": unit.checkpoint.repo,
        "precision": unit.checkpoint.precision,
        "gpus": _numbers(job, unit),
        "weights": gib(footprint.weights_bytes),
        "cache": gib(pool),
        "rest": gib(rest),
        "total": gib(footprint.total_bytes),
        "card": gib(card.total_bytes) if card else "?",
        "tokens": footprint.kv_pool_tokens,
    }


def _numbers(job: Job, unit: Unit) -> str:
    """An engine's cards as they are counted on their machines, which are named where there are several."""
    if len({node for one in job.units for node in one.nodes}) == 1:
        return ", ".join(str(device) for device in unit.devices)
    rig = job.plan.request.rig.gpus
    found: dict[int, list[str]] = {}
    for card, device in zip(unit.instance.gpu_indices, unit.devices, strict=True):
        found.setdefault(rig[card].node if card < len(rig) else 0, []).append(str(device))
    return "; ".join(
        job.say("launch_cluster.of_machine", cards=", ".join(cards), machine=node + 1) for node, cards in found.items()
    )


def download_arguments(job: Job) -> list[str]:
    """The words for the download program: repository, revision (may be empty) and bytes, for each checkpoint."""
    return [word for checkpoint in job.checkpoints for word in checkpoint_words(checkpoint)]


def checkpoint_words(checkpoint: Checkpoint) -> list[str]:
    """The words for the download program about one checkpoint."""
    return [checkpoint.repo, checkpoint.revision or "", str(checkpoint.file_bytes or 0)]
