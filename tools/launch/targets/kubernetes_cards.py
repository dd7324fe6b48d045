"""How pods of Kubernetes get the cards that a plan gives to their engines.

Kubernetes hands out whole cards. An engine with cards of its own asks for as many as it uses. Where engines share a
card, either the device plugin cuts every card of the machine into slices without isolation (time-slicing), every
engine asks for one slice of each card, and sees those that are its own; or the engines share one claim on the cards
(dynamic resource allocation), of which each sees its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tools.errors import BadValue
from tools.launch.cluster import check_even, devices_on, sharing, workers
from tools.launch.job import Job, Unit

RESOURCES = {
    # github.com/NVIDIA/k8s-device-plugin v0.20.0, README: "nvidia.com/gpu"
    "nvidia": "nvidia.com/gpu",
    # github.com/ROCm/k8s-device-plugin, README: "amd.com/gpu"
    "amd": "amd.com/gpu",
}
"""Name of the resource by the maker of the card."""

DEVICE_CLASSES = {
    # github.com/kubernetes-sigs/dra-driver-nvidia-gpu, deployments/helm
    "nvidia": "gpu.nvidia.com",
    # github.com/ROCm/k8s-gpu-dra-driver, example/example-multiple-pod-share.yaml
    "amd": "gpu.amd.com",
}
"""Class of the devices that a claim asks for, by the maker of the card."""

VISIBLE = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "HIP_VISIBLE_DEVICES"}

CONFIG_LABEL = "nvidia.com/device-plugin.config"
"""Label of a node that names the device plugin's configuration for it (its README, "Catalog of Labels")."""


@dataclass(frozen=True, slots=True)
class Cards:
    """What a pod says to get its cards on one machine.

    Attributes:
        count: cards, or slices of cards, that it asks for; 0 where it uses a claim.
        visible: those of them that the engine may use, counted among them; empty = all.
        slices: into how many slices the device plugin must cut each card; 1 = none.
        claim: name of the claim that it uses, or empty.
    """

    count: int
    visible: tuple[int, ...] = ()
    slices: int = 1
    claim: str = ""

    @property
    def config(self) -> str:
        """Name of the device plugin's configuration that the node must have."""
        return f"rigfit-{self.slices}-slices" if self.slices > 1 else ""


def cards_of(job: Job, unit: Unit) -> Cards:
    """Return what each pod of an engine asks for.

    Raises:
        BadValue: the engine spans machines with unequal shares, or shares a card with another one there.
    """
    check_even(job, unit)
    group = sharing(job, unit)
    if len(unit.nodes) > 1 and len(group) > 1:
        raise BadValue("launch_cluster.shared_span", name=unit.instance.name)
    if len(group) > 1 and uses_claims(job):
        together = sorted({device for one in group for device in devices_on(job, one, unit.node)})
        visible = tuple(together.index(device) for device in unit.devices)
        return Cards(0, visible, claim=f"rigfit-cards-{group[0].name}")
    if slices_on(job, unit.node) > 1:
        return Cards(machine_cards(job, unit.node), unit.devices, slices_on(job, unit.node))
    return Cards(workers(job, unit))


def uses_claims(job: Job) -> bool:
    """Whether engines on one card share a claim: when chosen so, and for AMD, whose device plugin has no slices."""
    return job.choices.sharing == "claims" or job.vendor == "amd"


def slices_on(job: Job, node: int) -> int:
    """Return into how many slices each card of a machine is cut: one for each engine there if any share a card."""
    here = [unit for unit in job.units if node in unit.nodes]
    shared = any(len(sharing(job, unit)) > 1 for unit in here)
    return len(here) if shared and not uses_claims(job) else 1


def machine_cards(job: Job, node: int) -> int:
    """Return how many cards a machine has, at least those that are used."""
    there = sum(1 for gpu in job.plan.request.rig.gpus if gpu.node == node)
    used = [device for unit in job.units if node in unit.nodes for device in devices_on(job, unit, node)]
    return max(there, 1 + max(used, default=0))


def claims(job: Job) -> dict[str, tuple[str, int]]:
    """Return the claims that engines share: by name, the class of the devices and how many."""
    found: dict[str, tuple[str, int]] = {}
    for unit in job.units:
        name = cards_of(job, unit).claim
        if name:
            cards = {card for one in sharing(job, unit) for card in one.instance.gpu_indices}
            found[name] = (DEVICE_CLASSES[unit.vendor], len(cards))
    return found


def plugin_config(replicas: int) -> dict[str, Any]:
    """Return the device plugin's configuration that cuts every card of a node into ``replicas`` slices.

    ``failRequestsGreaterThanOne`` stays off: an engine asks for one slice of each card of the machine.
    """
    resource = {"name": RESOURCES["nvidia"], "replicas": replicas}
    return {"version": "v1", "sharing": {"timeSlicing": {"failRequestsGreaterThanOne": False, "resources": [resource]}}}


def least_memory_mib(job: Job, unit: Unit) -> int:
    """Return the memory that a card of an engine should report at least, in MiB (the label ``nvidia.com/gpu.memory``).

    The driver reports no less than the engine sees, which is what the plan counts with.
    """
    sizes = [use.total_bytes for use in job.placement.gpus if use.index in unit.instance.gpu_indices]
    return math.floor(min(sizes, default=0) / (1 << 20))
