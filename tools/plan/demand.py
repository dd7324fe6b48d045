"""What one instance needs of each card it sits on, from the calculator, remembered for the length of one search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from tools.domain import Checkpoint, Deployment, Footprint, Gpu, ModelSpec, Quantization
from tools.errors import BadValue
from tools.plan.kernels import Support, fp8_cache_runs, support
from tools.units import MIB
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES
from tools.vram.estimate import estimate
from tools.vram.loaded import is_by_size
from tools.vram.weights import parameter_bytes

RANKS = (1, 2, 3, 4, 6, 8)
"""Numbers of equal cards of one machine over which a model may be split."""

TENSOR_PARALLEL = (8, 4, 2, 1)
"""Ways to cut every layer; of the cards of a model the widest such cut is taken that its layers allow, and what is left
becomes pipeline stages (3 cards: 3 stages; 6 cards: 3 stages of 2)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one engine is to run, before it has cards.

    Attributes:
        served: names clients use; several where instances share the engine.
        users: sequences at once; ``context`` tokens each.
        offload_bytes: weights held in RAM, over all ranks.
        sleeps: started with sleep mode, awake only when asked.
        least_ranks: at least so many cards.
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
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes on each of the cards of one instance.

    Attributes:
        footprint: the calculator's answer with just the cache that is needed.
        inside_bytes: within the engine's budget, without cache: weights, non-torch, activation, graphs.
        outside_bytes: the process's CUDA context.
        kv_bytes: cache for every sequence at its full context, whole MiB.
        doubt_bytes: how much more the estimated parts may be, taken as independent of each other.
    """

    footprint: Footprint
    inside_bytes: int
    outside_bytes: int
    kv_bytes: int
    doubt_bytes: int

    @property
    def total_bytes(self) -> int:
        """Everything the instance needs on a card."""
        return self.inside_bytes + self.outside_bytes + self.kv_bytes


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
            self._demands[key] = self._widest(choice, gpu, ranks)
        return self._demands[key]

    def runs(self, choice: Choice, gpu: Gpu, ranks: int) -> bool:
        """Tell whether the engine has kernels for ``choice`` on such cards, and it may take so many."""
        if ranks < choice.least_ranks or (choice.kv_dtype != "auto" and not fp8_cache_runs(gpu)):
            return False
        return runs_on(choice.checkpoint, gpu).runs

    def _widest(self, choice: Choice, gpu: Gpu, ranks: int) -> Demand | None:
        for tp in TENSOR_PARALLEL:
            if ranks % tp == 0 and splits(choice.model, choice.checkpoint, tp):
                found = self._compute(choice, gpu, tp, ranks // tp)
                if found:
                    return found
        return None

    def _compute(self, choice: Choice, gpu: Gpu, tp: int, pp: int) -> Demand | None:
        bare = self.deployment(choice, gpu, tp, pp)
        try:
            pool = _whole_mib(estimate(bare, gpu).kv_needed_bytes + MIB)
            footprint = estimate(replace(bare, kv_cache_memory_bytes=pool), gpu)
            crowd = footprint.max_concurrency or 0.0
            if 0 < crowd < choice.users:  # layers of several kinds share pages, so sequences take more than their sum
                pool = _whole_mib(math.ceil(pool * choice.users / crowd) + 2 * MIB)
                footprint = estimate(replace(bare, kv_cache_memory_bytes=pool), gpu)
        except BadValue:
            return None
        return _demand(footprint, pool)

    def deployment(self, choice: Choice, gpu: Gpu, tp: int, pp: int) -> Deployment:
        """Build the deployment of a choice on cards like ``gpu``; float16 is set where the card needs it."""
        half = runs_on(choice.checkpoint, gpu).half
        checkpoint = replace(choice.checkpoint, dtype="float16") if half else choice.checkpoint
        return Deployment(
            model=choice.model,
            checkpoint=checkpoint,
            engine_version=self.engine_version,
            max_model_len=choice.context,
            max_num_seqs=choice.users,
            kv_dtype=choice.kv_dtype,
            tp=tp,
            pp=pp,
            cpu_offload_bytes=-(-choice.offload_bytes // (tp * pp)),
            sleep_mode=choice.sleeps,
            extra_flags=("--dtype", "float16") if half else (),
        )


def runs_on(checkpoint: Checkpoint, gpu: Gpu) -> Support:
    """Tell whether the engine runs a checkpoint on a card; bitsandbytes quantises to 8 bits only beforehand."""
    found = support(gpu, checkpoint)
    if checkpoint.in_flight and checkpoint.quantization.method == "bnb_int8":
        return replace(found, runs=False)
    return found


def splits(model: ModelSpec, checkpoint: Checkpoint, tp: int) -> bool:
    """Tell whether the engine takes a rank's share of every layer: heads divide, and blocks and groups are whole.

    Sources: vLLM 0.32 ``config/model.py:verify_with_parallel_config``, and the refusals of ``tools.vram.storage``.
    """
    if is_by_size(checkpoint.quantization):
        checkpoint = replace(checkpoint, quantization=Quantization())
    try:
        parameter_bytes(model, checkpoint, tp)
    except BadValue:
        return False
    return True


def _demand(footprint: Footprint, pool: int) -> Demand:
    non_torch = footprint.context_bytes.value - CUDA_CONTEXT_BYTES
    bands = (footprint.activation_bytes, footprint.cuda_graph_bytes, footprint.context_bytes)
    inside = footprint.weights_bytes + non_torch + bands[0].value + bands[1].value
    return Demand(
        footprint=footprint,
        inside_bytes=math.ceil(inside),
        outside_bytes=CUDA_CONTEXT_BYTES,
        kv_bytes=pool,
        doubt_bytes=math.ceil(math.sqrt(sum((band.high - band.value) ** 2 for band in bands))),
    )


def _whole_mib(size_bytes: int) -> int:
    return -(-size_bytes // MIB) * MIB
