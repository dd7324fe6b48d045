"""What was asked to be planned, and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.domain.deployment import Deployment, Footprint
from tools.domain.hardware import Rig
from tools.domain.model import ModelSpec
from tools.domain.words import Band, Note, OptionKind, Residency, Verdict


@dataclass(frozen=True, slots=True)
class InstanceRequest:
    """One model that must run: with which precision (``any`` = not said), context and users, under which name."""

    model: ModelSpec
    precision: str = "any"
    context: int = 8192
    users: int = 4
    said: str = ""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned, with every default filled in and listed in ``assumptions``.

    Attributes:
        same_model: several instances of one checkpoint are the same model twice (True), different models that merely
            share a size (False), or it was not said (None: the answer offers sharing and asks).
        kv_dtype: ``auto`` or ``fp8``; ``kv_dtype_stated`` tells whether the asker fixed it.
        near_misses: by what was said, the other names that nearly matched.
        stated: which fields the asker fixed ("context", "users", "precision", "engine", ...); the rest are defaults.
    """

    instances: tuple[InstanceRequest, ...]
    rig: Rig
    engine: str = "vllm"
    engine_version: str | None = None
    kv_dtype: str = "auto"
    residency: Residency = "auto"
    same_model: bool | None = None
    assumptions: tuple[Note, ...] = ()
    near_misses: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    stated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """One engine process: what it serves, where it sits, what it takes.

    Attributes:
        name: short and safe in file names and URLs (``[a-z0-9][a-z0-9.-]*``), unique in the plan.
        served_names: names clients use; several where instances share one engine.
        gpu_indices: cards of the rig, ``tp * pp`` of them.
        start_order: instances on a card start strictly one after the other, lowest first.
        awake: False for an instance that sleeps, or is stopped, until it is asked (residency swap).
        card_bytes: what it takes of each of its cards where they hold different parts; empty = the same on all.
    """

    name: str
    served_names: tuple[str, ...]
    deployment: Deployment
    footprint: Footprint
    gpu_indices: tuple[int, ...]
    start_order: int = 0
    awake: bool = True
    card_bytes: tuple[int, ...] = ()

    def bytes_on(self, card: int) -> int:
        """Return what it takes of one of its cards, by the card's index in the rig."""
        return self.card_bytes[self.gpu_indices.index(card)] if self.card_bytes else self.footprint.total_bytes


@dataclass(frozen=True, slots=True)
class GpuUse:
    """A card with what the plan puts on it. ``total_bytes`` is what the engine sees. May be over-full (free < 0)."""

    index: int
    name: str
    total_bytes: int
    reserved_bytes: int
    used_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Instances on cards. ``deficit_bytes`` is what is missing in all where it does not fit, else 0."""

    verdict: Verdict
    deficit_bytes: int
    instances: tuple[InstancePlan, ...]
    gpus: tuple[GpuUse, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """What an option costs. None = unchanged or not known.

    Attributes:
        quality: a Note about loss of quality.
        context_tokens: context a sequence has under this option.
        decode_tokens_per_s: single-sequence decode speed of the slowest instance, a band.
        throughput_tokens_per_s: of all that instance's sequences together.
        prefill_tokens_per_s: how fast that instance reads a prompt.
        wake_s: seconds until a sleeping model answers, a band.
        ram_bytes: system RAM needed.
        download_bytes: weight files to fetch.
    """

    quality: Note | None = None
    context_tokens: int | None = None
    decode_tokens_per_s: Band | None = None
    throughput_tokens_per_s: Band | None = None
    prefill_tokens_per_s: Band | None = None
    wake_s: Band | None = None
    ram_bytes: int | None = None
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One way to make it work, re-checked by the calculator and the start-order rule before it is shown."""

    id: str
    kind: OptionKind
    title: Note
    placement: Placement
    needs: tuple[Note, ...] = ()
    costs: Costs = Costs()


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to a PlanRequest.

    Attributes:
        verdict: as_asked's if it fits, else ``fits_with_changes`` if an option fits, else ``does_not_fit``.
        recommended: an option's id or ``"as_asked"``; ``reason`` says why.
        rig: the request's rig, or the one an option with more hardware assumes is in its placement's cards.
    """

    request: PlanRequest
    verdict: Verdict
    as_asked: Placement
    options: tuple[Option, ...]
    recommended: str
    reason: Note
    assumptions: tuple[Note, ...] = ()

    def placement(self, option_id: str | None = None) -> Placement:
        """Return the placement of an option's id, of ``"as_asked"``, or (None) of the recommended one.

        Raises:
            KeyError: the plan has no such option.
        """
        wanted = option_id or self.recommended
        if wanted == "as_asked":
            return self.as_asked
        for option in self.options:
            if option.id == wanted:
                return option.placement
        raise KeyError(wanted)
