"""llama.cpp: what to change when a buffer can't be allocated; effects follow from the buffers that the log prints."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tools.domain import note
from tools.logs.facts import EngineLog
from tools.logs.whatif import Fix, WhatIf, is_enough
from tools.units import MIB

_USUAL_STEP = 512
"""``--ubatch-size`` where it is not set."""


def llamacpp_fixes(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Yield the changes: a smaller or shared-out cache, smaller steps, fewer layers on the card."""
    yield from _smaller_cache(log, missing)
    yield from _smaller_compute(log, missing)
    yield from _fewer_layers(log, missing)


def _cache_bytes(log: EngineLog) -> int | None:
    """The cache as allocated, or what its allocation asked for."""
    if log.memory.kv_bytes:
        return log.memory.kv_bytes
    return log.memory.asked_bytes if log.failure and log.failure.kind == "oom_cache" else None


def _smaller_cache(log: EngineLog, missing: int | None) -> Iterator[Fix]:
    held, length = _cache_bytes(log), log.arguments.get("max_model_len")
    kind = str(log.arguments.get("kv_cache_dtype") or "f16")
    if length:
        wanted = length // 2
        if held and missing is not None and 0 < missing < held:
            wanted = int(length * (1 - 1.02 * missing / held)) // 1024 * 1024 or wanted
        effect = round(held * (1 - wanted / length)) if held else None
        yield Fix(
            note("logs.fix_shorter", before=length, after=wanted), effect, f"-c {wanted}", is_enough(effect, missing)
        )
    if kind in {"f16", "bf16"}:
        effect = round(held * (1 - 8.5 / 16)) if held else None
        yield Fix(note("logs.fix_q8_cache"), effect, "-fa on -ctk q8_0 -ctv q8_0", is_enough(effect, missing))
    if held:
        yield Fix(note("logs.fix_cache_in_ram"), held, "-nkvo", is_enough(held, missing))


def _smaller_compute(log: EngineLog, missing: int | None) -> Iterator[Fix]:
    held = log.memory.compute_bytes
    if held is None and log.failure and log.failure.kind == "oom_compute":
        held = log.memory.asked_bytes
    step = log.arguments.get("max_num_batched_tokens") or _USUAL_STEP
    if held and held > 200 * MIB and step >= 256:
        effect = held // 2
        yield Fix(
            note("logs.fix_smaller_steps", before=step, after=step // 2),
            effect,
            f"-ub {step // 2}",
            is_enough(effect, missing),
        )


def _fewer_layers(log: EngineLog, missing: int | None) -> Iterator[Fix]:
    """Leave so many layers in the machine's memory that the rest fits; a layer takes its cache with it."""
    placed, layers, held = log.arguments.get("gpu_layers"), log.arguments.get("layers"), log.memory.weights_bytes
    if not held and log.failure and log.failure.kind == "oom_weights":
        held = log.memory.asked_bytes
    if not placed or not layers or not held:
        if log.failure and log.failure.kind == "oom_weights":
            yield Fix(note("logs.fix_fewer_layers_unknown"), None, "-ngl 20")
        return
    placed = min(placed, layers)
    each = held / placed + (_cache_bytes(log) or 0) / layers
    fewer = math.ceil(((missing or each) + 128 * MIB) / each)
    if 0 < fewer < placed:
        effect = round(fewer * each)
        yield Fix(
            note("logs.fix_fewer_layers", before=placed, after=placed - fewer, layers=layers),
            effect,
            f"-ngl {placed - fewer}",
            is_enough(effect, missing),
        )
