"""How each range of vLLM versions accounts for memory, as data.

Sources: vLLM start-up logs of the versions named, and 0.32's ``v1/worker/utils.py:request_memory``,
``v1/worker/gpu_worker.py:determine_available_memory``, ``config/cache.py``, ``engine/arg_utils.py:get_batch_defaults``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tools.domain import LinearAttention, Mamba, ModelSpec, MoeMlp, ShortConv
from tools.errors import BadValue

Sampler = Literal["sort", "fused"]
Runner = Literal["V1", "V2 for dense", "V2"]


@dataclass(frozen=True, slots=True)
class AccountingRules:
    """One range of versions.

    Attributes:
        name: what people call it.
        until: first version it no longer holds for.
        default_utilization: share of the card that is the budget.
        sampler: what the V1 runner's dummy sampler run peaks at: ``sort`` the whole vocabulary in PyTorch, or ``fused``
            kernels (Triton from 0.17 on, vllm#33538, or FlashInfer).
        runner: which model runner is the default; the V2 runner's profiling run samples nothing but the logits.
        subtracts_graphs: the V1 runner's estimate for CUDA graphs is taken from the pool.
        subtracts_graphs_v2: the V2 runner's is.
        non_torch_gib: (low, value, high) charged beside weights and activation on one GPU.
        batches_in_flight: scheduler steps whose tokens a sliding window must keep room for (two with asynchronous
            scheduling).
        context_in_non_torch_gib: the CUDA context where it is charged too (before January 2025).
    """

    name: str
    until: tuple[int, int, int]
    default_utilization: float
    sampler: Sampler
    subtracts_graphs: bool
    runner: Runner = "V1"
    subtracts_graphs_v2: bool = False
    non_torch_gib: tuple[float, float, float] = (0.02, 0.13, 0.35)
    context_in_non_torch_gib: tuple[float, float, float] = (0.0, 0.0, 0.0)
    batches_in_flight: int = 1

    @property
    def is_v0(self) -> bool:
        """The engine's first generation."""
        return self.name.startswith("V0")


_CONSUMED = (0.2, 0.35, 0.6)

RULES = (
    AccountingRules(
        "V0 to 0.6.5", (0, 6, 6), 0.90, "sort", subtracts_graphs=False, context_in_non_torch_gib=(0.0, 0.3, 1.6)
    ),
    AccountingRules("V0", (0, 8, 0), 0.90, "sort", subtracts_graphs=False),
    AccountingRules("V1 to 0.16", (0, 17, 0), 0.90, "sort", subtracts_graphs=False),
    AccountingRules("0.17 to 0.20", (0, 21, 0), 0.90, "fused", subtracts_graphs=False),
    AccountingRules("0.21 to 0.24", (0, 25, 0), 0.90, "fused", subtracts_graphs=True),
    AccountingRules("0.25 to 0.26", (0, 27, 0), 0.90, "fused", subtracts_graphs=True, runner="V2 for dense"),
    AccountingRules(
        "0.27 to 0.28",
        (0, 29, 0),
        0.92,
        "fused",
        subtracts_graphs=True,
        runner="V2 for dense",
        non_torch_gib=_CONSUMED,
        batches_in_flight=2,
    ),
    AccountingRules(
        "0.29 and later",
        (1 << 30, 0, 0),
        0.92,
        "fused",
        subtracts_graphs=True,
        runner="V2",
        subtracts_graphs_v2=True,
        non_torch_gib=_CONSUMED,
        batches_in_flight=2,
    ),
)
"""The V2 runner became the default for dense models in 0.25 (vllm#44443) and for all in 0.29, whose profiling first
counted its graphs (release notes of 0.29; 0.27.1 on Qwen3-0.6B left no room for graphs)."""

NEWEST = (0, 32, 0)


def version_of(text: str | None) -> tuple[int, int, int]:
    """Read ``0.15.1`` as (0, 15, 1); None is the newest supported.

    Raises:
        BadValue: no version number.
    """
    if text is None:
        return NEWEST
    found = re.match(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", text)
    if not found:
        raise BadValue("errors_vram.bad_version", value=text[:40])
    return int(found.group(1)), int(found.group(2)), int(found.group(3) or 0)


@lru_cache(maxsize=64)
def rules_for(version: str | None, generation: str | None = None) -> AccountingRules:
    """Choose the rules of a version; ``generation`` ("V0" or "V1") decides where both existed (0.6 to 0.10)."""
    number = version_of(version)
    found = next(rules for rules in RULES if number < rules.until)
    if generation == "V0" and not found.is_v0:
        return next(rules for rules in reversed(RULES) if rules.is_v0)
    if generation == "V1" and found.is_v0:
        return next(rules for rules in RULES if not rules.is_v0)
    return found


def runner_of(rules: AccountingRules, model: ModelSpec) -> Runner:
    """The model runner a version takes by default for a model: "V1" or "V2".

    In 0.25 to 0.28 mixtures of experts and models with a state kept the V1 runner (vllm#44443).
    """
    if rules.runner != "V2 for dense":
        return rules.runner
    for layer in {id(layer): layer for layer in model.layers}.values():
        if isinstance(layer.mlp, MoeMlp) or any(isinstance(mixer, _STATES) for mixer in layer.mixers):
            return "V1"
    return "V2"


_STATES = (LinearAttention, Mamba, ShortConv)
