"""What a model needs before a card is chosen, and how far it goes on the cards there are: by storage format.

The planner answers "does this fit"; these tables answer "how much", "which format", "how long a context", "which card".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.domain import Checkpoint, Deployment, Footprint, Gpu, ModelSpec
from tools.errors import BadValue, NotYetExact
from tools.plan.demand import runs_on
from tools.specs.checkpoints import checkpoints_for
from tools.specs.gpus import GpuCatalogue
from tools.vram.estimate import estimate

RANKS = (1, 2, 4, 8)
"""Tensor-parallel sizes tried: powers of two divide the heads of nearly every model."""
COMMON_CARDS = ("RTX 4090", "RTX 5090", "L40S", "A100 80GB", "RTX PRO 6000 Blackwell", "H200")
"""One card of each memory class people buy: 24, 32, 48, 80, 96 and 141 GB."""
MAX_RUNGS = 8
_OTHER_ENGINES = ("mlx", "gguf", "exl")


@dataclass(frozen=True, slots=True)
class Rung:
    """A model in one storage format.

    Attributes:
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
    """Return the model in each format that exists, native first, on equal cards (the first card's kind) or on none.

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
    return tuple(rungs.values())


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


@dataclass(frozen=True, slots=True)
class Need:
    """How many of one card a set of models takes in one format; None = more than the largest size tried."""

    card: str
    total_bytes: int
    precision: str
    count: int | None


def cards_needed(
    wanted: Sequence[tuple[ModelSpec, str]],
    catalogue: GpuCatalogue,
    *,
    context: int,
    users: int,
    cards: Sequence[Gpu] = (),
) -> tuple[Need, ...]:
    """Return how many cards of each common kind hold the models together, by format.

    Args:
        wanted: each model with its precision word; ``any`` is answered natively and in 4 bits.
        catalogue: where the common cards come from.
        context: tokens a sequence.
        users: sequences at once, for each model.
        cards: kinds asked about; default ``COMMON_CARDS``.
    """
    kinds = tuple(cards) or tuple(catalogue.find(name).gpu for name in COMMON_CARDS)
    words = [[word] if word != "any" else ["any", "int4"] for _, word in wanted]
    found: list[Need] = []
    for column in range(max((len(w) for w in words), default=0)):
        chosen = [(model, w[min(column, len(w) - 1)]) for (model, _), w in zip(wanted, words, strict=True)]
        label = "/".join(dict.fromkeys(_first_precision(m, w) for m, w in chosen))
        if any(need.precision == label for need in found):
            continue
        found += [Need(k.name, k.cuda_total_bytes, label, _count(chosen, k, context, users)) for k in kinds]
    return tuple(found)


def _first_precision(model: ModelSpec, word: str) -> str:
    checkpoints = checkpoints_for(model, word)
    return checkpoints[0].precision if checkpoints else word


def _count(wanted: Sequence[tuple[ModelSpec, str]], card: Gpu, context: int, users: int) -> int | None:
    """Return the smallest power of two of cards that holds every model, each spread over all of them."""
    for tp in RANKS:
        try:
            shares = [_share(model, word, card, context, users, tp) for model, word in wanted]
        except (NotYetExact, BadValue):
            return None
        if sum(shares) <= 1:
            return tp
    return None


def _share(model: ModelSpec, word: str, card: Gpu, context: int, users: int, tp: int) -> float:
    """Return the share of a card's free memory that one model's rank takes."""
    checkpoints = checkpoints_for(model, word)
    if not checkpoints:
        raise BadValue("errors_agent.no_checkpoint", name=model.name, precision=word)
    need = estimate(Deployment(model, checkpoints[0], max_model_len=context, max_num_seqs=users, tp=tp), None)
    return need.total_bytes / max(1, card.cuda_total_bytes - card.reserved_bytes)
