"""What one instance needs of each card it sits on, by its engine's figures, remembered for the length of one search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.domain import Checkpoint, Footprint, Gpu, ModelSpec
from tools.plan.engines import engine
from tools.plan.kernel_data import NO_HALF
from tools.plan.kernels import cache_runs, runs_on
from tools.units import GIB

RANKS = (1, 2, 3, 4, 6, 8)
"""Numbers of cards of one machine over which a model may be split."""


ROOM_STEP = GIB // 4
"""Layers are shared out by what is free in such steps, so that nearly equal cases are worked out once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one engine is to run, before it has cards.

    Attributes:
        served: names clients use; several where instances share the engine.
        users: sequences at once; ``context`` tokens each.
        offload_bytes: weights held in RAM, over all ranks.
        sleeps: started with sleep mode, awake only when asked.
        least_ranks: at least so many cards.
        engine: the command line's word for the engine.
        layers_in_ram: first layers that stay in RAM wholly, of engines that place layers.
        experts_in_ram: first layers whose experts stay in RAM.
        machines: that it spans, a pipeline stage on each.
        step: tokens a scheduler step, None = the engine's default.
    """

    served: tuple[str, ...]
    model: ModelSpec
    checkpoint: Checkpoint
    kv_dtype: str = "auto"
    context: int = 8192
    users: int = 4
    offload_bytes: int = 0
    sleeps: bool = False
    least_ranks: int = 1
    engine: str = "vllm"
    layers_in_ram: int = 0
    experts_in_ram: int = 0
    machines: int = 1
    step: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for choices that take the same memory on the same card."""
        return (
            self.model.name,
            self.checkpoint.repo,
            self.checkpoint.precision,
            self.checkpoint.dtype,
            self.kv_dtype,
            self.context,
            self.users,
            self.offload_bytes,
            self.least_ranks,
            self.engine,
            self.layers_in_ram,
            self.experts_in_ram,
            self.machines,
            self.step,
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes on each of the cards of one instance.

    Attributes:
        footprint: the calculator's answer with just the cache that is needed.
        inside_bytes: within the engine's budget, without cache: weights, non-torch, activation, graphs.
        outside_bytes: the process's CUDA context.
        kv_bytes: cache for every sequence at its full context.
        doubt_bytes: how much more the estimated parts may be, taken as independent of each other.
        by_card: bytes on each card where cards hold different parts; empty = the same on all.
    """

    footprint: Footprint
    inside_bytes: int
    outside_bytes: int
    kv_bytes: int
    doubt_bytes: int
    by_card: tuple[int, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Everything the instance needs on its fullest card."""
        return self.inside_bytes + self.outside_bytes + self.kv_bytes

    def bytes_on(self, position: int) -> int:
        """Everything the instance needs on the card at a position among its own."""
        return self.by_card[position] if self.by_card else self.total_bytes


@dataclass
class Sizer:
    """Asks the calculator once for each different case; one search owns one.

    Attributes:
        engine_version: of the engine that is planned for; None = the newest supported.
    """

    engine_version: str | None = None
    _demands: dict[tuple[object, ...], Demand | None] = field(default_factory=dict[tuple[object, ...], "Demand | None"])

    def demand(self, choice: Choice, gpu: Gpu, ranks: int) -> Demand | None:
        """Return what ``choice`` needs on each of ``ranks`` cards like ``gpu``; None where it can't be split so.

        Raises:
            NotYetExact: the model or its format is not covered exactly.
        """
        key = (*choice.key, gpu.name, gpu.cuda_total_bytes, ranks)
        if key not in self._demands:
            if engine(choice.engine).family == "fraction":
                from tools.plan.families import fraction as family
            else:
                from tools.plan.families import budget as family
            self._demands[key] = family.demand(choice, gpu, ranks, self.engine_version)
        return self._demands[key]

    def demand_by_layers(
        self, choice: Choice, cards: Sequence[Gpu], rooms: Sequence[int], *, holding: bool = False
    ) -> Demand | None:
        """Return what ``choice`` needs where cards hold whole layers, shared out by the room on them.

        Args:
            choice: what runs; its engine places layers.
            cards: of one machine, perhaps unequal.
            rooms: bytes free on each; a single card's need does not depend on it.
            holding: only what may hold is worked out.

        Raises:
            NotYetExact: the model or its format is not covered exactly.
        """
        from tools.plan.families import layers

        kinds = tuple((gpu.name, gpu.cuda_total_bytes) for gpu in cards)
        steps = tuple(room // ROOM_STEP * ROOM_STEP for room in rooms) if len(cards) > 1 else ()
        key = (*choice.key, kinds, steps, holding and len(cards) > 1)
        if key not in self._demands:
            self._demands[key] = layers.demand(choice, cards, steps or rooms, self.engine_version, holding=holding)
        return self._demands[key]

    def runs(self, choice: Choice, gpu: Gpu, ranks: int) -> bool:
        """Tell whether the engine has kernels for ``choice`` on such cards, and it may take so many."""
        if ranks < choice.least_ranks or (choice.kv_dtype != "auto" and not cache_runs(gpu, choice.engine)):
            return False
        found = runs_on(choice.checkpoint, gpu, choice.engine)
        return found.runs and not (found.half and choice.model.model_type in NO_HALF)

    def places_layers(self, choice: Choice) -> bool:
        """Tell whether the engine places whole layers, so that its cards may be unequal."""
        return engine(choice.engine).family == "layers"
