"""Pipeline stages: which layers each holds."""

from __future__ import annotations

from dataclasses import dataclass

from tools.domain import Layer, ModelSpec
from tools.errors import BadValue


@dataclass(frozen=True, slots=True)
class Stage:
    """Layers ``start`` to ``end`` (not included) of a pipeline; the first has the embeddings, the last the head."""

    start: int
    end: int
    is_first: bool
    is_last: bool


def stages(model: ModelSpec, pp: int, partition: tuple[int, ...] = ()) -> tuple[Stage, ...]:
    """Split layers into pipeline stages as vLLM does: equally, the rest to the stages before the last ones.

    Source: ``vllm/distributed/utils.py:get_pp_indices``: with ``r`` layers left over, the stages from ``pp - r - 1`` up
    to the last but one get one more each. DeepSeek-V3's 61 layers on four stages: 15, 15, 16, 15.

    Args:
        model: whose layers.
        pp: stages.
        partition: layers of each stage where they were set (``VLLM_PP_LAYER_PARTITION``).

    Raises:
        BadValue: there are more stages than layers, or the set partition does not sum up to the layers.
    """
    count = len(model.layers)
    if pp > count:
        raise BadValue("errors_vram.does_not_divide", what="num_hidden_layers", size=count, ranks=pp)
    sizes, left = [count // pp] * pp, count % pp
    for index in range(2, left + 2):
        sizes[-index] += 1
    if partition:
        if len(partition) != pp or sum(partition) != count:
            stated = ",".join(map(str, partition))[:80]
            raise BadValue("errors_vram.bad_partition", value=stated, stages=pp, layers=count)
        sizes = list(partition)
    ends = [sum(sizes[: i + 1]) for i in range(pp)]
    return tuple(
        Stage(end - size, end, i == 0, i == pp - 1) for i, (end, size) in enumerate(zip(ends, sizes, strict=True))
    )


def fullest_stage(model: ModelSpec, pp: int, partition: tuple[int, ...] = ()) -> Stage:
    """Return the stage that has most layers, the first of such."""
    return max(stages(model, pp, partition), key=lambda stage: stage.end - stage.start)


def fullest_layers(model: ModelSpec, pp: int, partition: tuple[int, ...] = ()) -> tuple[Layer, ...]:
    """Return the layers of the pipeline stage that has most of them (all layers without a pipeline)."""
    stage = fullest_stage(model, pp, partition)
    return model.layers[stage.start : stage.end]
