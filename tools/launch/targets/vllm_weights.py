"""Experimental: several engines, each with a cache and settings of its own, that map one copy of the weights.

``vllm preload`` loads the weights and hands them out by CUDA IPC; engines with ``--load-format ipc_cache`` map them
(docs.vllm.ai, features/preload; vllm-project/vllm#54921, #56472 for several engines at once).
"""

from __future__ import annotations

import math
from dataclasses import replace

from tools.domain import Band, Footprint
from tools.errors import BadValue
from tools.launch.job import Job, Unit
from tools.units import gib

_WRITERS = {"fp8_block": "fp8", "fp8_tensor": "fp8", "nvfp4": "modelopt"}
"""Who must have written a quantised checkpoint so that its processed weights can be mapped: methods with
``supports_pre_processed_weights`` in vLLM 0.32.0's ``quantization/fp8.py`` and ``modelopt.py`` (NVFP4); those of
compressed-tensors, GPTQ and AWQ have it not. A writer that is not known is taken for another."""


def shares_weights(job: Job) -> bool:
    """Tell whether the job's engines are to map one copy of the weights."""
    return job.choices.share == "weights" and not job.choices.cpu


def with_shared_weights(job: Job) -> Job:
    """Return the job with engines that map one copy of the weights.

    Either its engines load one checkpoint on the same cards as it is: each keeps the cache it has, and the other copies
    of the weights fall away. Or it is one engine of several names: it is taken apart into an engine each, and its
    budget, less the weights and what the daemon itself takes, is divided equally.

    Raises:
        BadValue: there is nothing to share; a format that can't be mapped; too little memory.
    """
    alike = [unit for unit in job.units if _what_is_loaded(unit) == _what_is_loaded(job.units[0])]
    several = len(job.units[0].instance.served_names) > 1
    if len(alike) != len(job.units) or (len(alike) < 2 and not several) or any(map(_moves_weights, alike)):
        raise BadValue("errors_launch.weights_nothing_shared")
    _check_format(alike[0])
    return replace(job, units=tuple(map(_mapping, alike)) if len(alike) > 1 else _apart(alike[0]))


def _what_is_loaded(unit: Unit) -> tuple[object, ...]:
    deployment, checkpoint = unit.instance.deployment, unit.checkpoint
    return (checkpoint.repo, checkpoint.revision, checkpoint.precision, unit.devices, deployment.ranks)


def _moves_weights(unit: Unit) -> bool:
    """Whether an engine takes weights off the card, which are not its own then."""
    deployment = unit.instance.deployment
    return bool(deployment.sleep_mode or deployment.cpu_offload_bytes or deployment.prefetch)


def _check_format(unit: Unit) -> None:
    stored = unit.checkpoint.quantization
    known = stored.method in _WRITERS and stored.extra.get("writer") == _WRITERS[stored.method]
    if (stored.method != "none" and not known) or unit.checkpoint.in_flight:
        raise BadValue("errors_launch.weights_format", precision=unit.checkpoint.precision)


def _mapping(unit: Unit) -> Unit:
    deployment = replace(unit.instance.deployment, weights_elsewhere=True)
    return replace(unit, instance=replace(unit.instance, deployment=deployment))


def _apart(unit: Unit) -> tuple[Unit, ...]:
    names, footprint, deployment = unit.instance.served_names, unit.instance.footprint, unit.instance.deployment
    total = unit.gpus[0].cuda_total_bytes if unit.gpus else 0
    if not total:
        raise BadValue("errors_launch.weights_unknown_card")
    budget = (
        min(total, math.floor(total * deployment.gpu_memory_utilization))
        if (deployment.gpu_memory_utilization)
        else footprint.total_bytes
    )
    own = int(footprint.activation_bytes.value + footprint.cuda_graph_bytes.value + footprint.context_bytes.value)
    each = (budget - footprint.weights_bytes - int(footprint.context_bytes.value)) // len(names)
    sequences = max(1, math.ceil((deployment.max_num_seqs or 1) / len(names)))
    needed = footprint.kv_needed_bytes // (deployment.max_num_seqs or 1)
    if each - own < needed:
        raise BadValue("errors_launch.weights_no_room", needed=gib(needed), each=gib(max(0, each - own)))
    changed = replace(
        deployment,
        weights_elsewhere=True,
        sleep_mode=False,
        max_num_seqs=sequences if deployment.max_num_seqs else None,
        kv_cache_memory_bytes=each - own,
        gpu_memory_utilization=math.floor((footprint.weights_bytes + each) / total * 10_000) / 10_000,
    )
    pool = each - own
    smaller = replace(
        footprint,
        deployment=changed,
        kv_pool_bytes=Band(pool, pool, pool),
        kv_pool_tokens=_scaled(footprint, pool),
        total_bytes=footprint.weights_bytes + each,
    )
    instance = replace(unit.instance, deployment=changed, footprint=smaller)
    return tuple(
        replace(
            unit,
            name=f"{unit.name}-{number}",
            port=unit.port + number - 1,
            instance=replace(instance, served_names=(name,)),
        )
        for number, name in enumerate(names, 1)
    )


def _scaled(footprint: Footprint, pool: int) -> int | None:
    """Tokens of a smaller pool."""
    known, tokens = footprint.kv_pool_bytes, footprint.kv_pool_tokens
    return None if known is None or tokens is None else int(tokens * pool / known.value)
