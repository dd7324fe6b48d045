"""A machine's own measurements in place of what is estimated for any machine. Pure: they come with the card.

What carries over from one start to another: the card's total to everything; memory beside PyTorch's allocator to every
model on as many ranks under the same accounting; loaded weights to the same checkpoint split alike; the profiling run's
peak and the graphs to the same checkpoint with the same settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tools.domain import Band, Deployment, Gpu, Measured, Note, Provenance, note
from tools.errors import BadValue
from tools.units import GIB
from tools.vram.engines.rules import rules_for
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES, BudgetParts, batched_tokens_of, sequences_of

SPREAD_BYTES = round(0.03 * GIB)
SPREAD_SHARE = 0.01
"""How far boots of one deployment on one card lie apart: logs round to 0.01 GiB, and repeated starts of the same model
differ by 0.02-0.05 GiB (Qwen3-30B-A3B BF16: 56.88-56.93)."""
TOTAL_TOLERANCE = 0.03
"""A measured total that is further from the card's is not that card's (a MIG slice, another model)."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Parts of a budget with what was measured put in.

    Attributes:
        parts: the budget's parts.
        provenance: ``measured`` for the footprint's fields that were.
        notes: where the figures come from.
    """

    parts: BudgetParts
    provenance: dict[str, Provenance]
    notes: tuple[Note, ...] = ()


def calibrated(parts: BudgetParts, deployment: Deployment, gpu: Gpu | None) -> Calibrated:
    """Put what was measured on a card in the place of what is estimated.

    Args:
        parts: as computed.
        deployment: what runs.
        gpu: the card with its measurements, newest first; without any, ``parts`` come back as they are.
    """
    if gpu is None or not gpu.measured:
        return Calibrated(parts, {})
    alike = [one for one in gpu.measured if _counts_alike(one, deployment)]
    same = [one for one in alike if (one.checkpoint, one.precision) == _loaded(deployment)]
    tuned = [one for one in same if _set_alike(one, deployment, gpu)]
    weights = _newest(same, "weights_bytes") if not deployment.cpu_offload_bytes else None
    used = {
        "weights_bytes": weights,
        "context_bytes": _newest([*same, *alike], "non_torch_bytes"),
        "activation_bytes": _newest(tuned, "activation_bytes"),
        "cuda_graph_bytes": _newest([one for one in tuned if not deployment.enforce_eager], "graphs_bytes"),
    }
    graphs = _band(used["cuda_graph_bytes"], "graphs_bytes") or parts.graphs
    held = parts.weights_bytes if weights is None or weights.weights_bytes is None else weights.weights_bytes
    found = replace(
        parts,
        weights_bytes=held,
        non_torch=_band(used["context_bytes"], "non_torch_bytes") or parts.non_torch,
        activation=_band(used["activation_bytes"], "activation_bytes") or parts.activation,
        graphs=graphs,
        outside_bytes=CUDA_CONTEXT_BYTES + (0 if parts.graphs_budgeted else math.ceil(graphs.value)),
    )
    fields: dict[str, Provenance] = {name: "measured" for name, one in used.items() if one}
    sources = dict.fromkeys(one for one in used.values() if one)
    return Calibrated(found, fields, tuple(_said(one) for one in sources))


def with_measured(gpus: Iterable[Gpu], measured: Sequence[Measured]) -> tuple[Gpu, ...]:
    """Return cards with what was measured on such cards, their total as the engine saw it.

    Args:
        gpus: the cards.
        measured: all measurements, newest first.
    """
    return tuple(_with_measured(gpu, measured) for gpu in gpus) if measured else tuple(gpus)


def _with_measured(gpu: Gpu, measured: Sequence[Measured]) -> Gpu:
    names = {gpu.name.casefold(), gpu.known_as.casefold()} - {""}
    mine = tuple(one for one in measured if one.card.casefold() in names)
    if not mine:
        return gpu
    near = TOTAL_TOLERANCE * gpu.cuda_total_bytes
    totals = [
        one.total_bytes for one in mine if one.total_bytes and abs(one.total_bytes - gpu.cuda_total_bytes) <= near
    ]
    if not totals:
        return replace(gpu, measured=mine)
    return replace(gpu, measured=mine, cuda_total_bytes=totals[0], total_provenance="measured")


def _counts_alike(one: Measured, deployment: Deployment) -> bool:
    """Whether a start was split alike and its version keeps its books alike."""
    if (one.engine, one.tp, one.pp) != (deployment.engine, deployment.tp, deployment.pp):
        return False
    try:
        then = rules_for(one.version, deployment.engine_generation)
        return then is rules_for(deployment.engine_version, deployment.engine_generation)
    except BadValue:
        return False


def _set_alike(one: Measured, deployment: Deployment, gpu: Gpu) -> bool:
    settings = (sequences_of(deployment, gpu), batched_tokens_of(deployment, gpu), deployment.enforce_eager)
    return (one.sequences, one.step_tokens, one.enforce_eager) == settings


def _loaded(deployment: Deployment) -> tuple[str, str]:
    return deployment.checkpoint.repo, deployment.checkpoint.precision


def _newest(found: Sequence[Measured], name: str) -> Measured | None:
    return next((one for one in found if getattr(one, name) is not None), None)


def _band(one: Measured | None, name: str) -> Band | None:
    if one is None:
        return None
    value: int = getattr(one, name)
    spread = SPREAD_BYTES + SPREAD_SHARE * abs(value)
    return Band(value - spread, value, value + spread)


def _said(one: Measured) -> Note:
    return note("calibration.used", card=one.card, date=one.date, log=one.log, model=one.checkpoint)
