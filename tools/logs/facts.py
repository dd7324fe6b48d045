"""What a log says, as typed values. Sizes are bytes and belong to one GPU; None = the log does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

Phase = Literal["start", "weights", "profiling", "cache", "graphs", "sampler", "running"]
"""How far a start has come; what fails in it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one GPU as its log tells it.

    Attributes:
        total_bytes: what the engine sees on the card.
        free_bytes: free when the engine started.
        budget_bytes: share of the card that the engine may use.
        weights_bytes: held after loading.
        consumed_bytes: weights and non-torch together (vLLM 0.27 and later print no other figure).
        non_torch_bytes: beside PyTorch's allocator.
        activation_bytes: peak of the profiling run; with ``activation_with_graphs`` the graphs' estimate is in it.
        graphs_bytes: graphs as captured; ``graphs_estimated_bytes`` as estimated before.
        kv_bytes: the cache pool; below 0 where the other parts exceed the budget.
        kv_needed_bytes: what one sequence of the longest allowed length takes.
        kv_tokens, max_concurrency, concurrency_tokens: what the pool holds, as the engine counts.
        fitting_tokens: the longest sequence that would fit, as the engine says.
        blocks, block_tokens: of the pool.
        checkpoint_bytes: the files.
        recurrent_bytes: state of recurrent layers beside the cache.
        compute_bytes: llama.cpp's buffers for computing.
        host_weights_bytes, host_kv_bytes: in the machine's memory.
        asked_bytes, free_then_bytes: what an allocation that failed asked for, and what was free.
        process_bytes, torch_bytes, unused_bytes: held by the process that failed; of it by PyTorch; of that unused.
        neighbours_bytes: held by other processes on the card, where the log names them.
        sleep_freed_bytes, sleep_left_bytes: given back by going to sleep, and what stayed.
    """

    total_bytes: int | None = None
    free_bytes: int | None = None
    budget_bytes: int | None = None
    weights_bytes: int | None = None
    consumed_bytes: int | None = None
    non_torch_bytes: int | None = None
    activation_bytes: int | None = None
    activation_with_graphs: bool | None = None
    graphs_bytes: int | None = None
    graphs_estimated_bytes: int | None = None
    kv_bytes: int | None = None
    kv_needed_bytes: int | None = None
    kv_tokens: int | None = None
    max_concurrency: float | None = None
    concurrency_tokens: int | None = None
    fitting_tokens: int | None = None
    blocks: int | None = None
    block_tokens: int | None = None
    checkpoint_bytes: int | None = None
    recurrent_bytes: int | None = None
    compute_bytes: int | None = None
    host_weights_bytes: int | None = None
    host_kv_bytes: int | None = None
    asked_bytes: int | None = None
    free_then_bytes: int | None = None
    process_bytes: int | None = None
    torch_bytes: int | None = None
    unused_bytes: int | None = None
    neighbours_bytes: int | None = None
    sleep_freed_bytes: int | None = None
    sleep_left_bytes: int | None = None


MEMORY_FIELDS = frozenset(one.name for one in fields(Memory))


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong.

    Attributes:
        kind: a word (``kv_too_small oom tp_heads port_taken ...``); the table is ``tools/logs/failures.py``.
        phase: how far the start had come.
        params: what the message says, by name.
    """

    kind: str
    phase: Phase
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class EngineLog:
    """One start of one engine, as its log tells it.

    Attributes:
        engine: ``vllm sglang llama.cpp ollama exllama transformers``.
        version: as printed, or None.
        generation: ``V0`` or ``V1`` of vLLM where only the wording tells.
        model: name, hub id or path as printed.
        card: name of the card where the log prints one.
        arguments: what the engine was started with: names of ``rigfit estimate``'s options to values, plus
            ``cpu_offload_gb``, ``quantization``, ``gpu_layers`` and the like.
        memory: of the fullest rank.
        ranks: of every rank that printed something, by its name.
        failure: what went wrong, or None.
        phase: how far it came.
        starts: how many starts the text holds in all.
        neighbours: bytes held by other engines whose logs stand in the same text, by service.
        seconds: how long steps of the start took: ``weights`` (read), ``load`` (read and put in place), ``init`` (what
            comes after: profiling, the cache, warming up).
    """

    engine: str
    version: str | None = None
    generation: str | None = None
    model: str | None = None
    card: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    memory: Memory = Memory()
    ranks: Mapping[str, Memory] = field(default_factory=dict[str, Memory])
    failure: Failure | None = None
    phase: Phase = "start"
    starts: int = 1
    neighbours: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
