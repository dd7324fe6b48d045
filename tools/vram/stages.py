"""Pipeline stages: which layers each holds, and what models keep on every stage beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tools.domain import Deployment, Layer, ModelSpec
from tools.errors import BadValue
from tools.vram.engines.rules import version_of

Part = Literal["embeddings", "norm", "head"]

_ALL: tuple[Part, ...] = ("embeddings", "norm", "head")
_WITHOUT_HEAD: tuple[Part, ...] = ("embeddings", "norm")
_WITHOUT_NORM: tuple[Part, ...] = ("embeddings", "head")

EVERY_STAGE: dict[str, tuple[Part, ...]] = {
    **dict.fromkeys(("gemma", "gemma3_text", "gemma4_text", "gpt_oss", "granitemoe", "granitemoehybrid"), _ALL),
    **dict.fromkeys(("granitemoeshared", "hy_v3", "jamba", "minicpm", "minicpm3", "mixtral", "muse_glimmer"), _ALL),
    **dict.fromkeys(("olmo_hybrid", "olmoe", "orion", "phimoe", "plamo3", "qwen2_moe", "qwen3_moe"), _ALL),
    **dict.fromkeys(("internlm2", "stablelm", "zamba2"), _ALL),
    **dict.fromkeys(("cohere", "cohere2", "cohere2_moe", "gemma2", "gemma3n_text"), _WITHOUT_HEAD),
    **dict.fromkeys(("dbrx", "falcon", "gpt2", "nemotron_h", "qwen3_next"), _WITHOUT_NORM),
    **dict.fromkeys(("exaone", "lfm2", "lfm2_moe", "qwen3_5", "qwen3_5_moe"), ("embeddings",)),
}
"""What the engine's code of a family makes on each stage, not only on the first or the last, by ``model_type``.

Source: vLLM 0.32 ``model_executor/models/``: the code that does not ask for ``get_pp_group().is_first_rank`` or
``is_last_rank``. Qwen3-235B-A22B in bfloat16 keeps 2.3 GiB of tables on every stage so.
"""


EVEN_SPLIT = (0, 8, 0)
"""First version that spreads layers left over; DeepSeek-V3 on two stages of 0.6.6 logged 18.9 and 21.4 GiB."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Layers ``start`` to ``end`` (not included) of a pipeline; the first has the embeddings, the last the head."""

    start: int
    end: int
    is_first: bool
    is_last: bool


def stages(model: ModelSpec, pp: int, partition: tuple[int, ...] = (), *, rest_last: bool = False) -> tuple[Stage, ...]:
    """Split layers into pipeline stages as vLLM does: equally, the rest to the stages before the last ones.

    Source: ``vllm/distributed/utils.py:get_pp_indices``: with ``r`` layers left over, the stages from ``pp - r - 1`` up
    to the last but one get one more each. DeepSeek-V3's 61 layers on four stages: 15, 15, 16, 15.

    Args:
        model: whose layers.
        pp: stages.
        partition: layers of each stage where they were set (``VLLM_PP_LAYER_PARTITION``).
        rest_last: the last stage gets all that is left over, as before 0.8 (vllm#13839).

    Raises:
        BadValue: there are more stages than layers, or the set partition does not sum up to the layers.
    """
    count = len(model.layers)
    if pp > count:
        raise BadValue("errors_vram.does_not_divide", what="num_hidden_layers", size=count, ranks=pp)
    sizes, left = [count // pp] * pp, count % pp
    if rest_last:
        sizes[-1] += left
    else:
        sizes = [size + (pp - left - 1 <= i < pp - 1) for i, size in enumerate(sizes)]
    if partition:
        if len(partition) != pp or sum(partition) != count:
            stated = ",".join(map(str, partition))[:80]
            raise BadValue("errors_vram.bad_partition", value=stated, stages=pp, layers=count)
        sizes = list(partition)
    ends = [sum(sizes[: i + 1]) for i in range(pp)]
    return tuple(
        Stage(end - size, end, i == 0, i == pp - 1) for i, (end, size) in enumerate(zip(ends, sizes, strict=True))
    )


def stages_of(deployment: Deployment) -> tuple[Stage, ...]:
    """Split a deployment's layers into its pipeline stages.

    Raises:
        BadValue: there are more stages than layers, or the set partition does not sum up to the layers.
    """
    is_old = version_of(deployment.engine_version) < EVEN_SPLIT
    return stages(deployment.model, deployment.pp, deployment.pp_layers, rest_last=is_old)


def fullest_stage(model: ModelSpec, pp: int, partition: tuple[int, ...] = ()) -> Stage:
    """Return the stage that has most layers, the first of such."""
    return max(stages(model, pp, partition), key=lambda stage: stage.end - stage.start)


def fullest_layers(model: ModelSpec, pp: int, partition: tuple[int, ...] = ()) -> tuple[Layer, ...]:
    """Return the layers of the pipeline stage that has most of them (all layers without a pipeline)."""
    stage = fullest_stage(model, pp, partition)
    return model.layers[stage.start : stage.end]
