"""vLLM's budget on one card: what is taken before the KV cache, and the pool that is left.

``pool = ceil(total x utilization) - weights - non-torch - activation peak - graphs`` (the graphs from 0.21 on).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.domain import Band, Deployment, Gpu
from tools.units import GIB
from tools.vram.engines import transients
from tools.vram.engines.offload import kept
from tools.vram.engines.profiled import fed_by_v0, fed_by_v1, v0_step
from tools.vram.engines.rules import AccountingRules, rules_for, runner_of
from tools.vram.loaded import Loaded

WEIGHTS_UNSURE = 0.003
"""Share by which loaded weights of start-up logs differ from the prediction, typically."""

UNIFIED_GIB = (1.5, 2.1, 3.5)
UNIFIED_SHARE = (0.02, 0.05, 0.07)
"""Consumed beside weights on machines that share memory with the CPU, and how it grows with the weights whose files
stay in the page cache (logs of GB10: 2.2 GiB with a model of 1 GiB, 4.6-7.3 with models of 50-75)."""

CUDA_CONTEXT_BYTES = round(0.5 * GIB)
"""The process's own CUDA context, taken before the budget is checked (RTX 5090: 30.85 of 31.36 GiB free)."""


@dataclass(frozen=True, slots=True)
class Start:
    """Whether an engine may start: ``shortfall_bytes`` is 0 when it may."""

    ok: bool
    budget_bytes: int
    shortfall_bytes: int


@dataclass(frozen=True, slots=True)
class BudgetParts:
    """What a deployment takes of a card beside its cache pool.

    Attributes:
        weights_bytes: held on the card after loading, by this process or by another.
        non_torch, activation, graphs: bands, bytes; ``graphs_budgeted`` tells whether graphs come out of the budget.
        outside_bytes: taken on the card outside the budget (CUDA context, and graphs where they are not budgeted).
    """

    weights_bytes: int
    non_torch: Band
    activation: Band
    graphs: Band
    graphs_budgeted: bool
    outside_bytes: int

    @property
    def inside_bytes(self) -> int:
        """What comes out of the budget before the pool, middle values."""
        graphs = self.graphs.value if self.graphs_budgeted else 0
        return math.ceil(self.weights_bytes + self.non_torch.value + self.activation.value + graphs)


@dataclass(frozen=True, slots=True)
class BatchDefaults:
    """``max_num_batched_tokens`` and ``max_num_seqs`` an engine takes when not told."""

    batched_tokens: int
    sequences: int


def start_check(total_bytes: int, free_bytes: int, utilization: float) -> Start:
    """Apply vLLM's rule at start: free memory must not be less than ``ceil(total x utilization)``.

    It also holds with ``--kv-cache-memory-bytes`` (``v1/worker/utils.py:request_memory``).

    Args:
        total_bytes: what the engine sees on the card.
        free_bytes: free when it starts, its own CUDA context already taken.
        utilization: share of the whole card.
    """
    budget = math.ceil(total_bytes * utilization)
    return Start(free_bytes >= budget, budget, max(0, budget - free_bytes))


def utilization_for(total_bytes: int, needed_bytes: int) -> float:
    """Return the smallest share of 3 decimals whose budget holds ``needed_bytes``; above 1 = impossible."""
    share = math.ceil(needed_bytes * 1000 / total_bytes) / 1000
    while math.ceil(total_bytes * share) < needed_bytes:
        share = round(share + 0.001, 3)
    return share


def batch_defaults(rules: AccountingRules, gpu: Gpu | None) -> BatchDefaults:
    """Return the API server's defaults by card (``engine/arg_utils.py:get_batch_defaults``)."""
    memory = gpu.cuda_total_bytes if gpu else 0
    if rules.is_v0:
        return BatchDefaults(2048, 256)
    if memory >= 160 * GIB:
        return BatchDefaults(16384, 1024)
    if gpu and memory >= 70 * GIB and "a100" not in gpu.name.lower():
        return BatchDefaults(8192, 1024)
    return BatchDefaults(2048, 256)


def sequences_of(deployment: Deployment, gpu: Gpu | None) -> int:
    """Sequences at once: as asked, or the engine's default for the card."""
    return deployment.max_num_seqs or batch_defaults(_rules(deployment), gpu).sequences


def batched_tokens_of(deployment: Deployment, gpu: Gpu | None) -> int:
    """Tokens a scheduler step: as asked, or the default, which never exceeds ``max_num_seqs x max_model_len``."""
    if deployment.max_num_batched_tokens:
        return deployment.max_num_batched_tokens
    length = deployment.max_model_len or deployment.model.max_context
    if _rules(deployment).is_v0:
        return v0_step(deployment.model, length, gpu)
    default = batch_defaults(_rules(deployment), gpu).batched_tokens
    return max(1, min(default, sequences_of(deployment, gpu) * length))


def activation(deployment: Deployment, gpu: Gpu | None) -> Band:
    """Peak of the profiling run above what stays."""
    feed = fed_by_v0 if _rules(deployment).is_v0 else fed_by_v1
    fed = feed(deployment.model, sequences_of(deployment, gpu), batched_tokens_of(deployment, gpu))
    return transients.activation(deployment, fed, sampler_of(deployment))


def sampler_of(deployment: Deployment) -> str:
    """Name what the profiling run's sampler peaks at: by version, and from 0.25 on by runner."""
    rules = _rules(deployment)
    return "logits" if runner_of(rules, deployment.model) == "V2" else rules.sampler


def graphs_budgeted(deployment: Deployment) -> bool:
    """Tell whether an estimate for CUDA graphs comes out of the pool."""
    rules = _rules(deployment)
    return rules.subtracts_graphs_v2 if runner_of(rules, deployment.model) == "V2" else rules.subtracts_graphs


def tokens_in_flight(deployment: Deployment, gpu: Gpu | None) -> int:
    """Tokens that may be scheduled and not yet settled (``VllmConfig.max_in_flight_tokens``)."""
    return _rules(deployment).batches_in_flight * batched_tokens_of(deployment, gpu)


def _rules(deployment: Deployment) -> AccountingRules:
    return rules_for(deployment.engine_version, deployment.engine_generation)


def non_torch(deployment: Deployment, gpu: Gpu | None, weights_bytes: int) -> Band:
    """Memory outside PyTorch's allocator: kernels' workspaces, and communication buffers that grow with the ranks.

    Start-up logs: one GPU 0.02-0.61 GiB, median 0.13 (H100: 0.13-0.14); two ranks 0.25-0.55; four 0.13-0.95. From 0.27
    on the engine charges all it consumed beside weights: 0.26-0.56 on one GPU. Where memory is shared with the CPU the
    page cache of the weights' files counts too.
    """
    rules = _rules(deployment)
    low, value, high = rules.non_torch_gib
    if gpu is not None and gpu.unified:
        gib = weights_bytes / GIB
        low, value, high = (base + gib * share for base, share in zip(UNIFIED_GIB, UNIFIED_SHARE, strict=True))
    elif deployment.tp > 1:
        low, value, high = 0.13, 0.4 + 0.05 * (deployment.tp - 2), 0.7 + 0.15 * (deployment.tp - 2)
    extra = rules.context_in_non_torch_gib
    return Band((low + extra[0]) * GIB, (value + extra[1]) * GIB, (high + extra[2]) * GIB)


def _by_layers(deployment: Deployment) -> bool:
    """Graphs are estimated before they are captured from 0.21 on; the estimate grows with the layers."""
    return _rules(deployment).subtracts_graphs


def parts_with(deployment: Deployment, gpu: Gpu | None, held: Loaded) -> BudgetParts:
    """Return everything a deployment takes on its fullest card except the cache pool, for weights already known."""
    budgeted, captured = graphs_budgeted(deployment), transients.graphs(deployment, by_layers=_by_layers(deployment))
    where = kept(deployment, held.bytes)
    return BudgetParts(
        weights_bytes=where.on_card_bytes + where.elsewhere_bytes,
        non_torch=non_torch(deployment, gpu, held.bytes),
        activation=activation(deployment, gpu),
        graphs=captured,
        graphs_budgeted=budgeted,
        outside_bytes=CUDA_CONTEXT_BYTES + (0 if budgeted else math.ceil(captured.value)),
    )


def budget_bytes(deployment: Deployment, gpu: Gpu) -> int:
    """Return ``ceil(total x utilization)`` with the version's default utilization where none is set."""
    return math.ceil(gpu.cuda_total_bytes * utilization_of(deployment))


def utilization_of(deployment: Deployment) -> float:
    """Share of the card that is the budget: as asked, or the version's default."""
    return deployment.gpu_memory_utilization or _rules(deployment).default_utilization


def pool(deployment: Deployment, gpu: Gpu | None, parts: BudgetParts) -> Band | None:
    """Return the bytes vLLM reserves for KV cache; ``--kv-cache-memory-bytes`` sets them outright. May be negative.

    None without a card. The parts err independently, so their doubts add up as squares; weights are uncertain by 0.3 %
    (repacking, allocator).
    """
    if deployment.kv_cache_memory_bytes is not None:
        fixed = deployment.kv_cache_memory_bytes
        return Band(fixed, fixed, fixed)
    if gpu is None:
        return None
    taken = [parts.non_torch, parts.activation] + ([parts.graphs] if parts.graphs_budgeted else [])
    value = budget_bytes(deployment, gpu) - parts.weights_bytes - sum(band.value for band in taken)
    unsure = WEIGHTS_UNSURE * parts.weights_bytes
    below = math.hypot(unsure, *(band.high - band.value for band in taken))
    above = math.hypot(unsure, *(band.value - band.low for band in taken))
    return Band(math.floor(value - below), math.floor(value), math.floor(value + above))
