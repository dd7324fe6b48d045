"""What a model needs before a card is chosen, and how far it goes on the cards there are: by storage format.

The planner answers "does this fit"; these tables answer "how much", "which format", "how long a context", "which card".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.domain import Checkpoint, Deployment, Footprint, Gpu, ModelSpec
from tools.errors import BadValue, NotYetExact
from tools.plan.kernels import runs_on
from tools.plan.moves import bits_of
from tools.specs.checkpoints import checkpoints_for
from tools.vram.estimate import estimate

RANKS = (1, 2, 4, 8)
"""Tensor-parallel sizes tried: powers of two divide the heads of nearly every model."""
MAX_RUNGS = 8
_OTHER_ENGINES = ("mlx", "gguf", "exl")


@dataclass(frozen=True, slots=True)
class Rung:
    """A model in one storage format.

    Attributes:
        bits: class of the precision: 16, 8 or 4.
        parameter_bytes: its weights over all cards together, after quantisation in flight where there is one.
        kv_bytes_per_token: over all cards, None where it is no constant.
        total_bytes: with the cache for the context and users asked and the engine's own needs, one card's share.
        tp: cards it is spread over.
        fits: None without a card.
        pool_tokens: tokens of cache the cards leave, None without a card.
        context_tokens: longest context each of ``users`` may have there, at most the model's own.
        users: sequences of the asked context that fit at once.
    """

    precision: str
    bits: int
    repo: str
    in_flight: bool
    parameter_bytes: int
    kv_bytes_per_token: int | None
    kv_needed_bytes: int
    total_bytes: int
    tp: int = 1
    fits: bool | None = None
    pool_tokens: int | None = None
    context_tokens: int | None = None
    users: int | None = None


def ladder(
    model: ModelSpec, gpus: Sequence[Gpu] = (), *, context: int, users: int, precision: str = "any"
) -> tuple[Rung, ...]:
    """Return the model in each format that exists, most bits first, on equal cards (the first card's kind) or on none.

    Args:
        model: what is asked about.
        gpus: the cards; unequal ones are counted by the smallest.
        context: tokens a sequence.
        users: sequences at once.
        precision: the command line's word; ``any`` means every format.
    """
    rungs: dict[str, Rung] = {}
    for checkpoint in checkpoints_for(model, precision):
        if checkpoint.precision in rungs or len(rungs) >= MAX_RUNGS or not _runs(checkpoint, gpus):
            continue
        rung = _rung(model, checkpoint, gpus, context, users)
        if rung:
            rungs[checkpoint.precision] = rung
    return tuple(sorted(rungs.values(), key=lambda rung: -rung.bits))


def _runs(checkpoint: Checkpoint, gpus: Sequence[Gpu]) -> bool:
    """Tell whether vLLM loads a format at all, and on these cards."""
    if checkpoint.precision.startswith(_OTHER_ENGINES):
        return False
    return all(runs_on(checkpoint, gpu).runs for gpu in gpus)


def _rung(model: ModelSpec, checkpoint: Checkpoint, gpus: Sequence[Gpu], context: int, users: int) -> Rung | None:
    """Return one format on as few of the cards as hold it; None where the calculator does not cover the format."""
    card = min(gpus, key=lambda g: g.cuda_total_bytes - g.reserved_bytes) if gpus else None
    last: Rung | None = None
    for tp in RANKS:
        if tp > max(1, len(gpus)):
            break
        deployment = Deployment(model, checkpoint, max_model_len=context, max_num_seqs=users, tp=tp)
        try:
            last = _measured(estimate(deployment, card), context, users)
        except (NotYetExact, BadValue):
            return last
        if last.fits is not False:
            return last
    return last


def _measured(footprint: Footprint, context: int, users: int) -> Rung:
    deployment = footprint.deployment
    tokens = footprint.kv_pool_tokens
    limit = deployment.model.max_context
    stored = footprint.weights_bytes if deployment.checkpoint.in_flight else footprint.parameter_bytes
    return Rung(
        precision=deployment.checkpoint.precision,
        bits=bits_of(deployment.checkpoint),
        repo=deployment.checkpoint.repo,
        in_flight=deployment.checkpoint.in_flight,
        parameter_bytes=stored * deployment.tp,
        kv_bytes_per_token=None
        if footprint.kv_bytes_per_token is None
        else footprint.kv_bytes_per_token * deployment.tp,
        kv_needed_bytes=footprint.kv_needed_bytes * deployment.tp,
        total_bytes=footprint.total_bytes,
        tp=deployment.tp,
        fits=None if tokens is None else tokens >= context * users,
        pool_tokens=tokens,
        context_tokens=None if tokens is None else min(limit, tokens // users),
        users=None if tokens is None else tokens // context,
    )
