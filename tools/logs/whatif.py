"""The calculator asked again with one thing changed, for the very model and card of a log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tools.domain import Deployment, Footprint, Gpu, Note
from tools.errors import RequestError
from tools.logs.facts import EngineLog, Memory
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES
from tools.vram.estimate import estimate


@dataclass(frozen=True, slots=True)
class Fix:
    """One change.

    Attributes:
        change: what is changed, as a sentence.
        effect_bytes: what it frees or gains on one card; None where memory is not the matter or nothing is known.
        command: the flag or the command, "" where there is none.
        enough: whether it suffices alone; None = not known.
    """

    change: Note
    effect_bytes: int | None = None
    command: str = ""
    enough: bool | None = None


def is_enough(effect: int | None, missing: int | None) -> bool | None:
    """Whether a change suffices alone, with 2 % to spare: logs round and boots differ."""
    return None if effect is None or missing is None else effect >= 1.02 * missing


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A log's deployment, its card and its footprint as computed."""

    deployment: Deployment
    gpu: Gpu | None
    footprint: Footprint

    def changed(self, **changes: Any) -> Footprint | None:
        """Return the footprint with fields of the deployment changed; None where that can't run."""
        try:
            return estimate(replace(self.deployment, **changes), self.gpu)
        except RequestError:
            return None

    def freed_bytes(self, **changes: Any) -> int | None:
        """Bytes of everything but the cache that a change gives back."""
        other = self.changed(**changes)
        return None if other is None else freed_between(self.footprint, other)

    def one_sequence_bytes(self, **changes: Any) -> int | None:
        """Cache that one sequence of the longest allowed length takes."""
        other = self.changed(**{"max_num_seqs": 1, **changes})
        return None if other is None else other.kv_needed_bytes


def freed_between(before: Footprint, after: Footprint) -> int:
    """Bytes of everything but the cache that one way of running gives back against another."""
    return round(_rest(before) - _rest(after))


def _rest(footprint: Footprint) -> float:
    graphs = footprint.cuda_graph_bytes.value
    return footprint.weights_bytes + footprint.activation_bytes.value + graphs + footprint.context_bytes.value


def shortage_bytes(log: EngineLog, what_if: WhatIf | None, card: Gpu | None = None) -> int | None:
    """Return what was missing on the card, or None where the log does not tell.

    A cache that is too small lacks its difference to what one sequence takes; a failed allocation what was not free:
    as the log prints it, else what the buffers that were allocated leave of the ``card``.
    """
    memory, failure = log.memory, log.failure
    if failure is None:
        return None
    if failure.kind == "free_below_budget" and memory.budget_bytes and memory.free_bytes is not None:
        return max(0, memory.budget_bytes - memory.free_bytes)
    if failure.kind in {"kv_too_small", "kv_no_memory"}:
        return _missing_cache(log, what_if)
    if memory.asked_bytes is not None and memory.free_then_bytes is not None:
        return max(0, memory.asked_bytes - memory.free_then_bytes)
    if memory.asked_bytes is not None and card is not None and failure.kind.startswith("oom"):
        return max(0, memory.asked_bytes - left_bytes(memory, card)) or None
    return None


def left_bytes(memory: Memory, card: Gpu) -> int:
    """What buffers on a card leave of it, the process's own context taken."""
    parts = (memory.weights_bytes, memory.kv_bytes, memory.recurrent_bytes, memory.compute_bytes)
    return max(0, card.cuda_total_bytes - CUDA_CONTEXT_BYTES - sum(part or 0 for part in parts))


def _missing_cache(log: EngineLog, what_if: WhatIf | None) -> int | None:
    memory = log.memory
    needed = memory.kv_needed_bytes or (what_if.one_sequence_bytes() if what_if else None)
    if needed is not None and memory.kv_bytes is not None:
        return max(0, needed - memory.kv_bytes)
    length = log.arguments.get("max_model_len")
    if needed is not None and memory.fitting_tokens and length:
        return round(needed * max(0.0, 1 - memory.fitting_tokens / length))
    pool = what_if.footprint.kv_pool_bytes if what_if else None
    if needed is not None and pool is not None:
        return max(0, round(needed - pool.value)) or None
    return None
