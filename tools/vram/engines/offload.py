"""Weights that vLLM keeps off the card: in RAM, or held by another process.

Two ways to RAM (``config/offload.py``, 0.32): UVA reads up to so many bytes of the decoder layers in place
(``--cpu-offload-gb``, ``--cpu-offload-params``); prefetching fetches whole layers of each group into buffers just
before they run (``--offload-group-size``, ``--offload-num-in-group``, ``--offload-prefetch-step``). With
``--load-format ipc_cache`` a daemon holds the weights of every engine that asks (``vllm preload``).
"""

from __future__ import annotations

from dataclasses import dataclass

from tools.domain import Deployment
from tools.vram.engines.rules import rules_for, runner_of, version_of
from tools.vram.loaded import is_by_size
from tools.vram.stages import Stage, fullest_stage
from tools.vram.storage import matrix_bytes
from tools.vram.weights import element_bytes, matrices_of, stage_bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a rank's weights are: on the card and in RAM, bytes; ``elsewhere`` on the card but in another process."""

    on_card_bytes: int
    in_ram_bytes: int = 0
    elsewhere_bytes: int = 0


def kept(deployment: Deployment, held_bytes: int) -> Kept:
    """Say where the weights of the fullest rank are.

    Worked example: 64 layers of 1 GiB in groups of 8 of which 2 are prefetched one layer ahead: 16 GiB go to RAM and
    one buffer of 1 GiB comes to the card.

    Args:
        deployment: what runs, with its flags.
        held_bytes: weights after loading, were they all on the card.
    """
    if deployment.weights_elsewhere:
        return Kept(0, elsewhere_bytes=held_bytes)
    if is_ignored(deployment):
        return Kept(held_bytes)
    if deployment.prefetch is None:
        outside = min(deployment.cpu_offload_bytes, _eligible(deployment, held_bytes))
        return Kept(held_bytes - outside, outside)
    outside, buffers = _prefetched(deployment, *deployment.prefetch)
    return Kept(max(0, held_bytes - outside) + buffers, outside)


V2_OFFLOADS = (0, 29, 0)
"""First version whose V2 runner sets up offloading (``v1/worker/gpu/model_runner.py``); in 0.26 and 0.27.1 it does not
(vllm#51396), nor does V1's in 0.7 (``v1/worker/gpu_model_runner.py``; from 0.8.0 on the flag asked for V0, then V1 had
it)."""


def is_ignored(deployment: Deployment) -> bool:
    """Whether the version takes the flags for weights in RAM and then loads everything onto the card.

    Qwen2.5-7B with ``--cpu-offload-gb 14`` on 0.7.3 with V1 took 14.2487 GiB, all of its weights.
    """
    if not deployment.cpu_offload_bytes and deployment.prefetch is None:
        return False
    version = version_of(deployment.engine_version)
    rules = rules_for(deployment.engine_version, deployment.engine_generation)
    if runner_of(rules, deployment.model) == "V2":
        return version < V2_OFFLOADS
    return not rules.is_v0 and version < (0, 8, 0)


def _eligible(deployment: Deployment, held_bytes: int) -> int:
    """Bytes that UVA may take: the decoder layers', or only their experts'.

    What a format made while loading no longer holds can't leave either.
    """
    if not deployment.cpu_offload_bytes or is_by_size(deployment.checkpoint.quantization):
        return held_bytes
    stage = fullest_stage(deployment.model, deployment.pp)
    whole, layers = stage_bytes(deployment.model, deployment.checkpoint, deployment.ranks, (stage, _layers_only(stage)))
    eligible = _expert_bytes(deployment, _layers_only(stage)) if deployment.offload_experts else layers
    return min(eligible, held_bytes * eligible // max(1, whole))


def _expert_bytes(deployment: Deployment, stage: Stage) -> int:
    width = element_bytes(deployment.checkpoint.dtype)
    found = matrices_of(deployment.model, deployment.checkpoint, deployment.ranks, stage)
    return sum(times * matrix_bytes(matrix, stored, width) for matrix, stored, times in found if matrix.experts)


def _prefetched(deployment: Deployment, group: int, last: int, ahead: int) -> tuple[int, int]:
    """Bytes of the layers that are fetched when they run, and of the buffers they are fetched into.

    The last layers of each group are; a buffer holds one layer, and layers of different shapes have buffers each
    (``model_executor/offloader/prefetch.py:StaticBufferPool``).
    """
    stage = fullest_stage(deployment.model, deployment.pp)
    model, sizes = deployment.model, dict[int, int]()
    total = 0
    for place, index in enumerate(range(stage.start, stage.end)):
        if place % group < group - last:
            continue
        layer = model.layers[index]
        if id(layer) not in sizes:
            sizes[id(layer)] = _one_layer(deployment, index)
        total += sizes[id(layer)]
    return total, ahead * sum(sizes.values())


def _one_layer(deployment: Deployment, index: int) -> int:
    stage = Stage(index, index + 1, is_first=False, is_last=False)
    if deployment.offload_experts:
        return _expert_bytes(deployment, stage)
    return stage_bytes(deployment.model, deployment.checkpoint, deployment.ranks, (stage,))[0]


def _layers_only(stage: Stage) -> Stage:
    return Stage(stage.start, stage.end, is_first=False, is_last=False)
