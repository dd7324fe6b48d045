"""What engines take of the machines of a cluster: cards, cores, RAM; which of them share cards."""

from __future__ import annotations

import math

from tools.errors import BadValue
from tools.launch.job import Job, Unit
from tools.units import GIB


def node_of(job: Job, card: int) -> int:
    """Return the machine of a card of the placement, by the card's index in the rig."""
    gpus = job.plan.request.rig.gpus
    return gpus[card].node if card < len(gpus) else 0


def devices_on(job: Job, unit: Unit, node: int) -> tuple[int, ...]:
    """Return an engine's cards on one of its machines, counted there."""
    pairs = zip(unit.instance.gpu_indices, unit.devices, strict=True)
    return tuple(device for card, device in pairs if node_of(job, card) == node)


def check_even(job: Job, unit: Unit) -> None:
    """Refuse an engine with unequal shares of several machines.

    vLLM gives every machine as many ranks (``world_size % nnodes``, ``engine/arg_utils.py`` 0.32.0).

    Raises:
        BadValue: its shares are unequal.
    """
    if len({len(devices_on(job, unit, node)) for node in unit.nodes}) > 1:
        raise BadValue("launch_cluster.uneven_machines", name=unit.instance.name)


def sharing(job: Job, unit: Unit) -> tuple[Unit, ...]:
    """Return the engines that share cards with one, directly or through others, itself included, in start order."""
    found, cards = {unit.name}, set(unit.instance.gpu_indices)
    while True:
        more = [u for u in job.units if u.name not in found and cards & set(u.instance.gpu_indices)]
        if not more:
            return tuple(u for u in job.units if u.name in found)
        for other in more:
            found.add(other.name)
            cards |= set(other.instance.gpu_indices)


def started_before(job: Job, unit: Unit) -> Unit | None:
    """Return the engine that must be ready before one may start: the one before it on the cards that they share."""
    group = sharing(job, unit)
    index = group.index(unit)
    return group[index - 1] if index else None


def workers(job: Job, unit: Unit) -> int:
    """Return how many of an engine's cards are on each of its machines."""
    return len(devices_on(job, unit, unit.node))


def cores(job: Job, unit: Unit) -> int:
    """Return the cores that an engine is given on each of its machines: one a worker and two more.

    vLLM runs a process for each card, one for the engine and one that answers requests.
    """
    return 2 + workers(job, unit)


SERVER_GIB, WORKER_GIB = 4, 6
"""Assumed RAM of the engine with its server, and of a worker: PyTorch, the driver's context, a shard on its way.

Schedulers kill what takes more, so it is generous; weights that are only read pass through the page cache.
"""


def ram_gib(job: Job, unit: Unit) -> int:
    """Return the RAM that an engine is given on each of its machines, in GiB.

    For its processes, and the weights that are offloaded or sleep there: with 2 workers that offload 10 GiB each,
    4 + 2 x (6 + 10) = 36.
    """
    deployment, footprint = unit.instance.deployment, unit.instance.footprint
    asleep = footprint.weights_bytes if deployment.sleep_mode else 0
    count = workers(job, unit)
    return SERVER_GIB + WORKER_GIB * count + math.ceil((deployment.cpu_offload_bytes + asleep) * count / GIB)
