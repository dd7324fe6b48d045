"""A log explained: what took the memory, where that differs from the calculation, what went wrong, what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.domain import Note, note
from tools.errors import BadValue
from tools.logs.facts import EngineLog
from tools.logs.fixes_llamacpp import llamacpp_fixes
from tools.logs.fixes_other import other_fixes
from tools.logs.fixes_sglang import sglang_fixes
from tools.logs.fixes_vllm import vllm_fixes
from tools.logs.predict import Difference, Prediction, differences, predict, unexplained_bytes
from tools.logs.read import read_log
from tools.logs.whatif import Fix, WhatIf, shortage_bytes
from tools.units import GIB, gib

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue

MAX_FIXES = 6
_OF_ENGINE = {"vllm": vllm_fixes, "sglang": sglang_fixes, "llama.cpp": llamacpp_fixes, "ollama": llamacpp_fixes}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a log comes to.

    Attributes:
        log: what was read.
        prediction: what the calculator says of the same deployment.
        differences: measured against predicted, by part.
        unexplained_bytes: what the engine's own parts leave of its budget; None where one is not printed.
        missing_bytes: what lacked on the card; None where nothing did or the log does not tell.
        cause: why it failed, or how far it came.
        fixes: what would help, best first.
    """

    log: EngineLog
    prediction: Prediction
    differences: tuple[Difference, ...]
    unexplained_bytes: int | None
    missing_bytes: int | None
    cause: Note
    fixes: tuple[Fix, ...]


def explain(
    text: str,
    models: ModelCatalogue,
    gpus: GpuCatalogue,
    *,
    model: str | None = None,
    gpu: str | None = None,
    config: str | None = None,
) -> Explanation:
    """Explain an engine's log.

    Args:
        text: the log, or a part of it.
        models: where names are looked up.
        gpus: where cards are looked up.
        model: the model's name where the log does not say it.
        gpu: the card's name where the log does not say it.
        config: a folder with the model's ``config.json``, instead of its name.

    Raises:
        BadValue: the text holds no line of an engine's log.
    """
    log = read_log(text)
    if log is None:
        raise BadValue("errors_logs.no_log")
    prediction = predict(log, models, gpus, model=model, gpu=gpu, config=config)
    footprint = prediction.footprint
    what_if = WhatIf(footprint.deployment, prediction.gpu, footprint) if footprint else None
    missing = shortage_bytes(log, what_if, prediction.gpu)
    return Explanation(
        log=log,
        prediction=prediction,
        differences=differences(log.memory, footprint) if footprint else (),
        unexplained_bytes=unexplained_bytes(log),
        missing_bytes=missing,
        cause=cause_of(log, missing),
        fixes=_best(tuple(_fixes(log, what_if, missing))),
    )


def _fixes(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    yield from other_fixes(log, what_if)
    if log.failure:
        yield from _OF_ENGINE.get(log.engine, vllm_fixes)(log, what_if, missing)


def _best(fixes: tuple[Fix, ...]) -> tuple[Fix, ...]:
    """Put what suffices alone first, otherwise as they come: cheapest first."""
    order = {True: 0, None: 1, False: 2}
    return tuple(sorted(fixes, key=lambda fix: order[fix.enough])[:MAX_FIXES])


def cause_of(log: EngineLog, missing: int | None) -> Note:
    """Say in one sentence why a start failed; of one that did not fail, how far it came."""
    failure, memory = log.failure, log.memory
    if failure is None:
        return note("logs.running" if log.phase == "running" else f"logs.until_{log.phase}")
    sizes = {
        "pool": memory.kv_bytes,
        "needed": memory.kv_needed_bytes,
        "free": memory.free_bytes,
        "budget": memory.budget_bytes,
        "total": memory.total_bytes,
        "weights": memory.weights_bytes or memory.consumed_bytes,
        "asked": memory.asked_bytes,
        "free_then": memory.free_then_bytes,
        "missing": missing,
    }
    known = {name: _gib(value) for name, value in sizes.items() if value is not None}
    plain = {name: _plain(name, value) for name, value in failure.params.items()}
    said = {**plain, **known, "tokens": log.arguments.get("max_model_len"), "fitting": memory.fitting_tokens}
    for code, wanted in _SENTENCES.get(failure.kind, ()):
        if all(said.get(name) is not None for name in wanted):
            return note(code, **{name: said[name] for name in wanted})
    return note(f"logs.{failure.kind}")


def _plain(name: str, value: Any) -> Any:
    return _gib(value) if name.endswith("_bytes") else value


def _gib(size_bytes: float) -> str:
    """Two decimals, as engines print: what would be 0.00 may be more than nothing, in a log too."""
    return "<0.01 GiB" if 0 <= size_bytes < 0.005 * GIB else gib(size_bytes, 2)


_SENTENCES: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "kv_no_memory": (("logs.kv_no_memory_by", ("pool", "weights", "budget")), ("logs.kv_no_memory_pool", ("pool",))),
    "kv_too_small": (
        ("logs.kv_too_small_bytes", ("tokens", "needed", "pool")),
        ("logs.kv_too_small_tokens", ("tokens", "fitting")),
    ),
    "free_below_budget": (
        ("logs.free_below_budget_cpu", ("processor", "free", "total", "budget", "gpu_memory_utilization")),
        ("logs.free_below_budget_by", ("free", "total", "budget", "gpu_memory_utilization")),
    ),
    "oom_weights": (("logs.oom_weights_by", ("asked", "free_then", "total")),),
    "oom_profiling": (("logs.oom_profiling_by", ("asked", "free_then")),),
    "oom_cache": (("logs.oom_cache_by", ("asked",)),),
    "oom_graphs": (("logs.oom_graphs_by", ("asked", "free_then")),),
    "oom_sampler": (("logs.oom_sampler_of", ("max_num_seqs",)),),
    "oom_running": (("logs.oom_running_by", ("asked", "free_then")),),
    "oom_compute": (("logs.oom_compute_by", ("asked",)),),
    "oom_load": (("logs.oom_load_by", ("asked", "free_then", "total")),),
    "mamba_blocks": (("logs.mamba_blocks_of", ("max_num_seqs", "blocks")),),
    "block_too_long": (("logs.block_too_long_of", ("block_tokens", "max_num_batched_tokens")),),
    "tp_heads": (("logs.tp_heads_of", ("heads", "tp")),),
    "too_few_gpus": (("logs.too_few_gpus_of", ("ranks", "gpus")),),
    "context_too_long": (("logs.context_too_long_of", ("max_model_len", "allowed")),),
    "bf16_unsupported": (("logs.bf16_unsupported_by", ("card", "capability")),),
    "format_unsupported": (
        ("logs.format_unsupported_of", ("format", "least", "capability")),
        ("logs.format_unsupported_by", ("least", "capability")),
    ),
    "architecture": (("logs.architecture_of", ("name",)),),
    "host_memory": (("logs.host_memory_by", ("needed_bytes", "available_bytes")),),
}
"""By kind, sentences with what they need, the fullest first; ``logs.<kind>`` where nothing is known."""
