"""vLLM's budget on one card: what is taken before the KV cache, and the pool that is left.

``pool = ceil(total x utilization) - weights - non-torch - activation peak - graphs`` (the graphs from 0.21 on).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.domain import (
    Attention,
    Band,
    DenseMlp,
    Deployment,
    Gpu,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    ModelSpec,
    MoeMlp,
)
from tools.units import GIB
from tools.vram.engines.rules import AccountingRules, rules_for
from tools.vram.loaded import Loaded

SAMPLER_BYTES = {"sort": Band(36.0, 38.7, 41.0), "fused": Band(4.0, 8.0, 27.5)}
"""Bytes x sequences x vocabulary at the peak of the profiling run's sampler, by sampler path.

``sort``: PyTorch's top-k/top-p sorts the whole vocabulary. Start-up logs of vLLM 0.6 to 0.16 give 38.3-40 whatever the
model's size; live tensors alone are 24 (``v1/sample``), the sort kernel's workspace comes on top.
``fused``: Triton or FlashInfer; 16-bit and float32 logits and a mask. Logs of 0.26 and later lie between 4 and 27.5.
An inference from logs, partly confirmed from source.
"""

UNSTATED_SEQUENCES = 0.13
"""Where ``max_num_seqs`` is not stated it may have been set lower than the default: logs go down to this share of what
the default would take (DeepSeek-R1-Distill-14B 0.19 of 1.45 GiB)."""

WEIGHTS_UNSURE = 0.003
"""Share by which loaded weights of start-up logs differ from the prediction, typically."""

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
        weights_bytes: held after loading, less what is offloaded.
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
    default = batch_defaults(_rules(deployment), gpu).batched_tokens
    length = deployment.max_model_len or deployment.model.max_context
    return max(1, min(default, sequences_of(deployment, gpu) * length))


def tokens_in_flight(deployment: Deployment, gpu: Gpu | None) -> int:
    """Tokens that may be scheduled and not yet settled (``VllmConfig.max_in_flight_tokens``)."""
    return _rules(deployment).batches_in_flight * batched_tokens_of(deployment, gpu)


def _rules(deployment: Deployment) -> AccountingRules:
    return rules_for(deployment.engine_version, deployment.engine_generation)


def activation(deployment: Deployment, gpu: Gpu | None) -> Band:
    """Peak of the profiling run above what stays: the larger of the forward pass and the dummy sampler run.

    Worked example: Qwen3-32B on an H100 with vLLM 0.11: 1,024 sequences x 151,936 x 38.7 B = 5.61 GiB (logged: 5.64).
    """
    forward = forward_bytes(deployment.model, batched_tokens_of(deployment, gpu), deployment.tp)
    logits = sequences_of(deployment, gpu) * deployment.model.vocab_size
    sampler = SAMPLER_BYTES[_rules(deployment).sampler]
    lowest = sampler.low if deployment.max_num_seqs else UNSTATED_SEQUENCES * sampler.low
    return Band(
        max(0.5 * forward, lowest * logits),
        max(forward, sampler.value * logits),
        max(2.0 * forward, sampler.high * logits),
    )


def forward_bytes(model: ModelSpec, tokens: int, tp: int) -> int:
    """Bytes alive at once in the widest layer of a forward pass over ``tokens`` tokens in 16 bits.

    Gate, up and their product, beside four vectors of the hidden size; a mixture of experts holds them for each active
    expert, and an output of each. Qwen2.5-0.5B at 8,192 tokens: 0.28 GiB (logged: 0.31).
    """
    widest = 0
    for layer in {id(layer): layer for layer in model.layers}.values():
        mixers = sum(_mixer_width(mixer) for mixer in layer.mixers) // tp
        widest = max(widest, max(_mlp_width(layer.mlp, model.hidden_size, tp), mixers) + 4 * model.hidden_size)
    return 2 * tokens * widest


def _mlp_width(mlp: DenseMlp | MoeMlp | None, hidden: int, tp: int) -> int:
    if mlp is None:
        return 0
    copies = mlp.active if isinstance(mlp, MoeMlp) else 1
    return copies * 3 * mlp.intermediate // tp + (copies * hidden if copies > 1 else 0)


def _mixer_width(mixer: Mixer) -> int:
    """Elements a token has alive in a mixer, over all ranks."""
    if isinstance(mixer, Attention):
        return 2 * (mixer.heads + mixer.kv_heads) * mixer.head_dim
    if isinstance(mixer, MlaAttention):
        return 3 * mixer.heads * (mixer.nope_head_dim + mixer.rope_head_dim)
    if isinstance(mixer, LinearAttention):
        return 2 * (mixer.key_heads * mixer.key_head_dim * 2 + mixer.value_heads * mixer.value_head_dim * 2)
    return 4 * (mixer.intermediate if isinstance(mixer, Mamba) else mixer.width)


def graphs(deployment: Deployment) -> Band:
    """Memory of captured CUDA graphs: 0 in eager mode; 72 logs: median 0.53 GiB, nine in ten below 2.7."""
    if deployment.enforce_eager:
        return Band(0, 0, 0)
    if _rules(deployment).subtracts_graphs:
        return Band(0.2 * GIB, 0.7 * GIB, 2.0 * GIB)
    return Band(0.1 * GIB, 0.53 * GIB, 2.7 * GIB)


def non_torch(deployment: Deployment) -> Band:
    """Memory outside PyTorch's allocator: kernels' workspaces, and communication buffers that grow with the ranks.

    Start-up logs: one GPU 0.02-0.61 GiB, median 0.13 (H100: 0.13-0.14); two ranks 0.25-0.55; four 0.13-0.95. From 0.27
    on the engine charges all it consumed beside weights: 0.26-0.56 on one GPU.
    """
    rules = _rules(deployment)
    low, value, high = rules.non_torch_gib
    if deployment.tp > 1:
        low, value, high = 0.13, 0.4 + 0.05 * (deployment.tp - 2), 0.7 + 0.15 * (deployment.tp - 2)
    extra = rules.context_in_non_torch_gib
    return Band((low + extra[0]) * GIB, (value + extra[1]) * GIB, (high + extra[2]) * GIB)


def parts_with(deployment: Deployment, gpu: Gpu | None, held: Loaded) -> BudgetParts:
    """Return everything a deployment takes on its fullest card except the cache pool, for weights already known."""
    budgeted, captured = _rules(deployment).subtracts_graphs, graphs(deployment)
    return BudgetParts(
        weights_bytes=max(0, held.bytes - deployment.cpu_offload_bytes),
        non_torch=non_torch(deployment),
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

    None without a card. Weights are uncertain by 0.3 % (repacking, allocator).
    """
    if deployment.kv_cache_memory_bytes is not None:
        fixed = deployment.kv_cache_memory_bytes
        return Band(fixed, fixed, fixed)
    if gpu is None:
        return None
    left = budget_bytes(deployment, gpu) - parts.weights_bytes
    taken = [parts.non_torch, parts.activation] + ([parts.graphs] if parts.graphs_budgeted else [])
    low, value, high = (left - sum(getattr(band, end) for band in taken) for end in ("high", "value", "low"))
    unsure = WEIGHTS_UNSURE * parts.weights_bytes
    return Band(math.floor(low - unsure), math.floor(value), math.floor(high + unsure))
