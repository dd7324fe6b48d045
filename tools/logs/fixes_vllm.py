"""vLLM: what to change when memory runs out, cheapest first, with the calculator's figure for that model and card.

What is freed inside the budget goes to the cache pool. So it helps where the pool is too small, and does not where
something outside the budget (graphs, the sampler's buffers, a peak while serving) finds no room: that needs a smaller
share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from tools.domain import note
from tools.logs.facts import EngineLog
from tools.logs.whatif import Fix, WhatIf, is_enough
from tools.plan.kernels import fp8_cache_runs, support
from tools.specs.checkpoints import checkpoints_for
from tools.units import GIB, MIB, gib
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES, sequences_of, utilization_of

HIGHEST_SHARE = 0.98
"""The engine's own context is taken before it checks; a larger share can hardly start on any card."""
USUAL_SHARE = 0.92
"""vLLM's default from 0.27 on: what a card that serves one engine alone can give."""
SPARE_BYTES = 256 * MIB
"""Left free beside what is missing when a share is lowered: boots of one deployment differ by about this much."""
_SEQUENCES = (256, 64, 16)
_SMALLER = ("fp8", "int4")
_IN_FLIGHT = {"fp8-online": "--quantization fp8", "bnb-4bit": "--quantization bitsandbytes"}
"""Formats made while loading, by the flag that asks for them."""

Maker = Callable[[EngineLog, WhatIf | None, int | None], Iterator[Fix]]


def vllm_fixes(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Yield the changes for a failure of memory; ``missing`` is what lacks, if known."""
    failure = log.failure
    for maker in _BY_KIND.get(failure.kind if failure else "", ()):
        yield from maker(log, what_if, missing)


def _share_of(log: EngineLog, what_if: WhatIf | None) -> float | None:
    share = log.arguments.get("gpu_memory_utilization")
    return share or (utilization_of(what_if.deployment) if what_if else None)


def _total(log: EngineLog, what_if: WhatIf | None) -> int | None:
    return log.memory.total_bytes or (what_if.gpu.cuda_total_bytes if what_if and what_if.gpu else None)


def _raise_share(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """A larger share of the card, as far as it is free."""
    share, total = _share_of(log, what_if), _total(log, what_if)
    if share and not total and share < USUAL_SHARE:
        change = note("logs.fix_raise_share", before=f"{share:g}", after=f"{USUAL_SHARE:g}")
        yield Fix(change, None, f"--gpu-memory-utilization {USUAL_SHARE:g}")
    if not share or not total:
        return
    free = log.memory.free_bytes if log.memory.free_bytes is not None else total - CUDA_CONTEXT_BYTES
    highest = min(HIGHEST_SHARE, math.floor(free / total * 1000) / 1000)
    if highest <= share + 0.004:
        return
    gain = round((highest - share) * total)
    wanted = highest
    if missing is not None and gain > missing + SPARE_BYTES:
        wanted = min(highest, math.ceil((share + (missing + SPARE_BYTES) / total) * 100) / 100)
    effect = round((wanted - share) * total)
    yield Fix(
        note("logs.fix_raise_share", before=f"{share:g}", after=f"{wanted:g}"),
        effect,
        f"--gpu-memory-utilization {wanted:g}",
        is_enough(effect, missing),
    )


def _lower_share(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """A smaller share, so that what is outside the budget has room; the cache pays."""
    share, total = _share_of(log, what_if), _total(log, what_if)
    if not share or not total:
        return
    by = (missing if missing is not None else 0) + SPARE_BYTES
    wanted = math.floor((share - by / total) * 100) / 100
    effect = round((share - wanted) * total)
    pool = log.memory.kv_bytes
    needed = what_if.one_sequence_bytes() if what_if else None
    if wanted <= 0.05 or (pool is not None and needed is not None and pool - effect < needed):
        return
    yield Fix(
        note("logs.fix_lower_share", before=f"{share:g}", after=f"{wanted:g}"),
        effect,
        f"--gpu-memory-utilization {wanted:g}",
        None if missing is None else True,
    )


def _share_that_is_free(log: EngineLog, what_if: WhatIf | None, _: int | None) -> Iterator[Fix]:
    """The largest share that passes the start's check, and whether the model still fits into it."""
    memory, share = log.memory, _share_of(log, what_if)
    if memory.free_bytes is None or not memory.total_bytes or not share:
        return
    wanted = math.floor(memory.free_bytes / memory.total_bytes * 100) / 100
    if wanted <= 0.01:
        return
    after = what_if.changed(gpu_memory_utilization=wanted) if what_if and what_if.gpu else None
    fits = None if after is None else after.verdict == "fits"
    yield Fix(
        note(
            "logs.fix_share_too_small" if fits is False else "logs.fix_share_that_is_free",
            before=f"{share:g}",
            after=f"{wanted:g}",
        ),
        round((share - wanted) * memory.total_bytes),
        f"--gpu-memory-utilization {wanted:g}",
        fits,
    )


def _free_the_card(log: EngineLog, _: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Stop who else holds memory: what the log names, else what was not free at start."""
    memory = log.memory
    held = memory.neighbours_bytes or sum(log.neighbours.values())
    names = ", ".join(list(log.neighbours)[:4])
    if not held and memory.total_bytes and memory.free_bytes is not None:
        held = memory.total_bytes - memory.free_bytes - CUDA_CONTEXT_BYTES
    if held < GIB // 4:
        return
    change = note("logs.fix_stop_named", names=names) if names else note("logs.fix_stop_others")
    on_cpu = log.failure is not None and log.failure.params.get("processor") is not None
    yield Fix(change, held, "free -g" if on_cpu else "nvidia-smi", is_enough(held, missing))


def _fewer_sequences(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Fewer sequences at once: the profiling run's sampler and the graphs are made for all of them."""
    if what_if is None:
        return
    now = log.arguments.get("max_num_seqs") or sequences_of(what_if.deployment, what_if.gpu)
    for wanted in _SEQUENCES:
        if wanted >= now:
            continue
        effect = what_if.freed_bytes(max_num_seqs=wanted)
        if effect is None or effect < 50 * MIB:
            continue
        if log.memory.activation_bytes is not None:
            effect = min(effect, log.memory.activation_bytes)
        yield Fix(
            note("logs.fix_fewer_sequences", before=now, after=wanted),
            effect,
            f"--max-num-seqs {wanted}",
            is_enough(effect, missing),
        )
        return


def _smaller_steps(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Fewer tokens a step: the forward pass of the profiling run is that long."""
    now = log.arguments.get("max_num_batched_tokens")
    if what_if is None or not now or now <= 2048:
        return
    effect = what_if.freed_bytes(max_num_batched_tokens=2048)
    if effect is not None and effect >= 50 * MIB:
        yield Fix(
            note("logs.fix_smaller_steps", before=now, after=2048),
            effect,
            "--max-num-batched-tokens 2048",
            is_enough(effect, missing),
        )


def _fp8_cache(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Half the bytes a cached token, where the card can."""
    if what_if is None or what_if.deployment.kv_dtype != "auto":
        return
    if what_if.gpu is not None and what_if.gpu.compute_capability and not fp8_cache_runs(what_if.gpu):
        return
    before, after = what_if.one_sequence_bytes(), what_if.one_sequence_bytes(kv_dtype="fp8")
    if before is None or after is None or after >= before:
        return
    saved = before - after
    yield Fix(note("logs.fix_fp8_cache"), saved, "--kv-cache-dtype fp8", is_enough(saved, missing))


def _shorter(log: EngineLog, what_if: WhatIf | None, _: int | None) -> Iterator[Fix]:
    """The longest context that the pool holds: as the engine says, else by the calculator."""
    length = log.arguments.get("max_model_len") or (what_if.deployment.max_model_len if what_if else None)
    length = length or (what_if.deployment.model.max_context if what_if else None)
    needed = log.memory.kv_needed_bytes or (what_if.one_sequence_bytes(max_model_len=length) if what_if else None)
    wanted = log.memory.fitting_tokens or _fitting(log, what_if) or _in_proportion(log, needed, length)
    if not wanted or not length or wanted >= length:
        return
    wanted = wanted // 16 * 16 or wanted
    after = what_if.one_sequence_bytes(max_model_len=wanted) if what_if else None
    if after is None and needed is not None:
        after = round(needed * wanted / length)
    effect = needed - after if needed is not None and after is not None else None
    enough = True if log.memory.fitting_tokens or what_if else None
    yield Fix(note("logs.fix_shorter", before=length, after=wanted), effect, f"--max-model-len {wanted}", enough)


def _in_proportion(log: EngineLog, needed: int | None, length: int | None) -> int | None:
    """The context that fits where a token costs the same anywhere; of an unknown model, and so not sure."""
    pool = log.memory.kv_bytes
    if not needed or not length or not pool or not 0 < pool < needed:
        return None
    return int(length * pool / needed)


def _fitting(log: EngineLog, what_if: WhatIf | None) -> int | None:
    """The longest context whose cache fits into the pool that is left, by halving; None below 256 tokens."""
    if what_if is None:
        return None
    pool = log.memory.kv_bytes
    if pool is None and what_if.footprint.kv_pool_bytes:
        pool = round(what_if.footprint.kv_pool_bytes.value)
    low, high = 0, log.arguments.get("max_model_len") or what_if.deployment.model.max_context
    if pool is None or pool <= 0:
        return None
    while high - low > 64:
        middle = (low + high) // 2
        needed = what_if.one_sequence_bytes(max_model_len=middle)
        if needed is None:
            return None
        low, high = (middle, high) if needed <= pool else (low, middle)
    return low if low >= 256 else None


def _eager(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """No CUDA graphs: their memory comes back, decoding gets slower."""
    if log.arguments.get("enforce_eager"):
        return
    memory = log.memory
    graphs = memory.graphs_estimated_bytes or memory.graphs_bytes
    if graphs is None and what_if is not None:
        graphs = round(what_if.footprint.cuda_graph_bytes.value)
    enough = True if log.failure and log.failure.kind == "oom_graphs" else is_enough(graphs, missing)
    yield Fix(note("logs.fix_eager"), graphs, "--enforce-eager", enough)


def _smaller_format(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """The model in FP8 or in 4 bits, where a checkpoint exists and runs on the card."""
    if what_if is None:
        return
    for word in _SMALLER:
        found = [c for c in checkpoints_for(what_if.deployment.model, word) if _runs(what_if, c) and not c.hypothetical]
        if not found:
            continue
        effect = what_if.freed_bytes(checkpoint=found[0])
        if effect is None or effect < GIB // 4:
            continue
        name = found[0].precision if found[0].in_flight else found[0].repo
        yield Fix(
            note("logs.fix_smaller_format", name=name),
            effect,
            _IN_FLIGHT.get(found[0].precision) or f"--model {found[0].repo}",
            is_enough(effect, missing),
        )


def _runs(what_if: WhatIf, checkpoint: object) -> bool:
    gpu = what_if.gpu
    if gpu is None or not gpu.compute_capability:
        return True
    return support(gpu, checkpoint).runs  # type: ignore[arg-type]


def _more_ranks(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Twice the cards: each holds half of the weights and, while there are heads to share, of the cache."""
    if what_if is None:
        return
    ranks = 2 * what_if.deployment.tp
    effect = what_if.freed_bytes(tp=ranks)
    if effect is None or effect < GIB // 4:
        return
    yield Fix(
        note("logs.fix_more_ranks", ranks=ranks), effect, f"--tensor-parallel-size {ranks}", is_enough(effect, missing)
    )


def _offload(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """A part of the weights in the machine's memory, read over PCIe at each step: slow."""
    if missing is None or what_if is None or missing > what_if.footprint.weights_bytes // 2:
        return
    amount = math.ceil((missing + SPARE_BYTES) / GIB)
    yield Fix(note("logs.fix_offload", amount=amount), amount * GIB, f"--cpu-offload-gb {amount}", True)


def _unused(log: EngineLog, _: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Memory that PyTorch holds and can't use because it lies in pieces."""
    unused = log.memory.unused_bytes
    if unused is None or unused < 200 * MIB or (missing is not None and unused < missing):
        return
    command = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
    yield Fix(note("logs.fix_unused", unused=gib(unused, 2)), unused, command, None)


def _one_after_another(log: EngineLog, _: WhatIf | None, __: int | None) -> Iterator[Fix]:
    """Start when nobody else takes or gives back memory; a pool of fixed size needs no such measurement."""
    yield Fix(note("logs.fix_one_after_another"))
    pool = log.memory.kv_bytes
    if pool and pool > 0:
        yield Fix(note("logs.fix_fixed_pool", pool=gib(pool, 2)), None, f"--kv-cache-memory-bytes {pool}")


_CACHE: tuple[Maker, ...] = (
    _raise_share, _fewer_sequences, _shorter, _fp8_cache, _smaller_format, _more_ranks, _eager, _smaller_steps,
    _free_the_card,
)  # fmt: skip
_BY_KIND: Mapping[str, tuple[Maker, ...]] = {
    "kv_too_small": _CACHE,
    "kv_no_memory": (
        _free_the_card, _raise_share, _fewer_sequences, _smaller_format, _more_ranks, _eager, _smaller_steps,
    ),
    "free_below_budget": (_share_that_is_free, _free_the_card),
    "profiling_disturbed": (_one_after_another,),
    "oom_weights": (_free_the_card, _smaller_format, _more_ranks, _offload),
    "oom_profiling": (_free_the_card, _fewer_sequences, _smaller_steps, _smaller_format, _more_ranks),
    "oom_cache": (_free_the_card, _lower_share),
    "oom_graphs": (_free_the_card, _lower_share, _eager, _unused),
    "oom_sampler": (_fewer_sequences, _lower_share, _free_the_card),
    "oom_running": (_free_the_card, _lower_share, _unused),
    "mamba_blocks": (_raise_share,),
}  # fmt: skip
