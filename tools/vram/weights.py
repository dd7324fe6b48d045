"""What a rank registers: every tensor of a model, sharded as vLLM shards it, in the checkpoint's storage format.

A layer is a list of matrices and a count of plain vector elements; a model's bytes are the sum over its layers plus
embeddings, head, last norm and towers. Sharding follows vLLM 0.32 ``model_executor/layers/linear.py``
(``QKVParallelLinear`` replicates KV heads when there are more ranks than heads), ``fused_moe/layer.py`` and
``vocab_parallel_embedding.py`` (vocabulary padded to a multiple of 64, then divided).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tools.domain import Checkpoint, DenseMlp, Layer, ModelSpec, MoeMlp, Quantization
from tools.errors import BadValue, NotYetExact
from tools.vram import mixers
from tools.vram.sharding import Vectors, divide, on_rank
from tools.vram.storage import Matrix, is_excluded, matrix_bytes, scale_bytes

VOCAB_PADDING = 64
"""Vocabulary rows are padded to a multiple of this (vLLM ``vocab_parallel_embedding.DEFAULT_VOCAB_PADDING_SIZE``)."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer on one rank: matrices a format may quantise, and vectors that stay as they are."""

    matrices: tuple[Matrix, ...]
    vectors: Vectors


def layer_weights(layer: Layer, hidden: int, tp: int) -> LayerWeights:
    """Expand a layer into its tensors on one rank.

    Args:
        layer: what the config declares.
        hidden: the model's hidden size.
        tp: tensor-parallel ranks.
    """
    matrices = [matrix for mixer in layer.mixers for matrix in mixers.matrices(mixer, hidden, tp)]
    matrices += _mlp_matrices(layer.mlp, hidden, tp)
    matrices += [on_rank(extra, tp) for extra in layer.extras for _ in range(extra.times)]
    found = [mixers.vectors(mixer, hidden, tp) for mixer in layer.mixers]
    elements = layer.norms * hidden + layer.extra_elements + sum(one.elements for one in found)
    wide = sum(one.float32 for one in found)
    if isinstance(layer.mlp, MoeMlp):
        elements += hidden * layer.mlp.shared_gate
        wide += (layer.mlp.experts + layer.mlp.idle) * layer.mlp.score_bias
    return LayerWeights(tuple(matrices), Vectors(elements, wide))


def _mlp_matrices(mlp: DenseMlp | MoeMlp | None, hidden: int, tp: int) -> list[Matrix]:
    if mlp is None:
        return []
    if isinstance(mlp, DenseMlp):
        return _dense_matrices(mlp, hidden, tp, "mlp")
    inner = divide(mlp.intermediate, tp, "moe_intermediate_size")
    up = (inner, inner) if mlp.gated else (inner,)
    bias = (sum(up), hidden) if mlp.expert_bias else (0, 0)
    found = [
        _router(mlp, hidden),
        Matrix("mlp.experts.w13", up, hidden, bias=bias[0], experts=mlp.experts, split="out", ranks=tp),
        Matrix("mlp.experts.w2", (hidden,), inner, bias=bias[1], experts=mlp.experts, split="in", ranks=tp),
    ]
    if mlp.shared_intermediate:
        found += _dense_matrices(DenseMlp(mlp.shared_intermediate, mlp.gated), hidden, tp, f"mlp.{mlp.shared_name}")
    return found


def _dense_matrices(mlp: DenseMlp, hidden: int, tp: int, name: str) -> list[Matrix]:
    inner = divide(mlp.intermediate, tp, "intermediate_size")
    up = (inner, inner) if mlp.gated else (inner,)
    up_name = f"{name}.{'gate_up_proj' if mlp.gated else 'up_proj'}"
    return [
        Matrix(up_name, up, hidden, bias=sum(up) if mlp.bias else 0, split="out", ranks=tp),
        Matrix(f"{name}.down_proj", (hidden,), inner, bias=hidden if mlp.bias else 0, split="in", ranks=tp),
    ]


def _router(mlp: MoeMlp, hidden: int) -> Matrix:
    """The projection that scores experts: on every rank, and of the engine's own type unless it may be quantised."""
    scored = mlp.experts + mlp.idle
    bias = scored if mlp.router_bias else 0
    return Matrix(
        "mlp.gate",
        (scored,),
        hidden,
        bias=bias,
        element_bytes=mlp.router_bytes if mlp.router_bytes > 2 else 0,
        plain=not mlp.router_quantised,
    )


def parameter_bytes(model: ModelSpec, checkpoint: Checkpoint, tp: int = 1, pp: int = 1) -> int:
    """Sum what vLLM's model code registers on one rank of the fullest pipeline stage, in bytes.

    Worked example: Qwen3-30B-A3B in bfloat16 on one GPU is 61,064,245,248 B; in two ranks 30,544,916,480 B each.

    Raises:
        NotYetExact: the model's architecture or the checkpoint's format is not covered.
        BadValue: the sizes do not divide among ``tp`` ranks, or there are more stages than layers.
    """
    if not model.layers:
        raise not_exact(model)
    quantization, width = checkpoint.quantization, element_bytes(checkpoint.dtype)
    if pp > 1:
        return max(_stage_bytes(model, checkpoint, tp, stage) for stage in stages(model, pp))
    total = outer_bytes(model, tp, width)
    for layer, first, times in _grouped(model.layers, quantization):
        total += times * _layer_bytes(layer, first, model.hidden_size, quantization, tp, width)
    return total


def _layer_bytes(layer: Layer, index: int, hidden: int, quantization: Quantization, tp: int, width: int) -> int:
    weights = layer_weights(layer, hidden, tp)
    total = weights.vectors.bytes(width) + scale_bytes(quantization) * len(layer.mixers)
    for matrix in weights.matrices:
        kept = matrix.plain or is_excluded(quantization, index, matrix.name)
        total += matrix_bytes(matrix, None if kept else quantization, width)
    return total


def matrices_of(model: ModelSpec, checkpoint: Checkpoint, tp: int, pp: int = 1) -> Iterator[tuple[Matrix, int]]:
    """Yield every matrix of a rank that is stored in the checkpoint's format, and how often there is one like it.

    With a pipeline these are the matrices of as many layers as the fullest stage has.
    """
    quantization = checkpoint.quantization
    for layer, first, times in _grouped(fullest_layers(model, pp), quantization):
        for matrix in layer_weights(layer, model.hidden_size, tp).matrices:
            if not matrix.plain and not is_excluded(quantization, first, matrix.name):
                yield matrix, times


@dataclass(frozen=True, slots=True)
class Stage:
    """Layers ``start`` to ``end`` (not included) of a pipeline; the first has the embeddings, the last the head."""

    start: int
    end: int
    is_first: bool
    is_last: bool


def stages(model: ModelSpec, pp: int) -> tuple[Stage, ...]:
    """Split layers into pipeline stages as vLLM does: equally, the rest to the stages before the last ones.

    Source: ``vllm/distributed/utils.py:get_pp_indices``: with ``r`` layers left over, the stages from ``pp - r - 1`` up
    to the last but one get one more each.

    Raises:
        BadValue: there are more stages than layers.
    """
    count = len(model.layers)
    if pp > count:
        raise BadValue("errors_vram.does_not_divide", what="num_hidden_layers", size=count, ranks=pp)
    sizes, left = [count // pp] * pp, count % pp
    for index in range(2, left + 2):
        sizes[-index] += 1
    ends = [sum(sizes[: i + 1]) for i in range(pp)]
    return tuple(
        Stage(end - size, end, i == 0, i == pp - 1) for i, (end, size) in enumerate(zip(ends, sizes, strict=True))
    )


def fullest_layers(model: ModelSpec, pp: int) -> tuple[Layer, ...]:
    """Return the layers of the pipeline stage that has most of them (all layers without a pipeline)."""
    if pp == 1:
        return model.layers
    stage = max(stages(model, pp), key=lambda stage: stage.end - stage.start)
    return model.layers[stage.start : stage.end]


def _stage_bytes(model: ModelSpec, checkpoint: Checkpoint, tp: int, stage: Stage) -> int:
    """Bytes of one stage; the table of tied embeddings is on the first and on the last."""
    width = element_bytes(checkpoint.dtype)
    rows = divide(padded_vocab(model), tp, "vocab_size")
    elements = model.hidden_size * rows * (stage.is_first + stage.is_last)
    if stage.is_last and model.final_norm:
        elements += model.hidden_size * (2 if model.final_norm_bias else 1)
    if stage.is_last and model.head_bias:
        elements += rows
    if stage.is_first:
        elements += model.outer_elements + -(-model.tower_params // tp)
    total = width * elements + _outer_linears(model, tp, width, (stage.is_first, stage.is_last))
    for layer, first, times in _grouped(model.layers[stage.start : stage.end], checkpoint.quantization):
        total += times * _layer_bytes(layer, stage.start + first, model.hidden_size, checkpoint.quantization, tp, width)
    return total


def padded_vocab(model: ModelSpec) -> int:
    """Vocabulary rounded up to what vLLM allocates."""
    return -(-model.vocab_size // VOCAB_PADDING) * VOCAB_PADDING


def _grouped(layers: tuple[Layer, ...], quantization: Quantization) -> Iterator[tuple[Layer, int, int]]:
    """Yield (layer, its first index, how often): equal layers once, unless exclusions name single layers."""
    if any(".layers." in name or "re:" in name for name in quantization.excluded):
        yield from ((layer, index, 1) for index, layer in enumerate(layers))
        return
    counts, first = Counter(map(id, layers)), dict[int, tuple[Layer, int]]()
    for index, layer in enumerate(layers):
        first.setdefault(id(layer), (layer, index))
    yield from ((layer, index, counts[key]) for key, (layer, index) in first.items())


def outer_bytes(model: ModelSpec, tp: int, width: int) -> int:
    """Bytes outside the layers: embeddings, head, last norm, towers (shared among ranks); none of them quantised."""
    rows = divide(padded_vocab(model), tp, "vocab_size")
    tables = 1 if model.tied_embeddings else 2
    elements = tables * rows * model.hidden_size + (rows if model.head_bias else 0)
    if model.final_norm:
        elements += model.hidden_size * (2 if model.final_norm_bias else 1)
    elements += model.outer_elements + -(-model.tower_params // tp)
    return width * elements + _outer_linears(model, tp, width, (True, True))


def _outer_linears(model: ModelSpec, tp: int, width: int, ends: tuple[bool, bool]) -> int:
    """Bytes of the projections outside the layers that are on the first or the last stage."""
    kept = (linear for linear in model.outer if ends[linear.is_last])
    return sum(linear.times * matrix_bytes(on_rank(linear, tp), None, width) for linear in kept)


def parameter_count(model: ModelSpec) -> int:
    """Count a model's parameters as published: unpadded vocabulary, packed formats never counted."""
    elements = model.vocab_size * model.hidden_size * (1 if model.tied_embeddings else 2) + model.tower_params
    elements += (model.vocab_size if model.head_bias else 0) + model.outer_elements
    elements += sum(linear.times * on_rank(linear, 1).elements for linear in model.outer)
    if model.final_norm:
        elements += model.hidden_size * (2 if model.final_norm_bias else 1)
    for layer, _, times in _grouped(model.layers, Quantization()):
        elements += times * _layer_count(layer, model.hidden_size)
    return elements


def _layer_count(layer: Layer, hidden: int) -> int:
    weights = layer_weights(layer, hidden, 1)
    return sum(weights.vectors) + sum(matrix.elements for matrix in weights.matrices)


def element_bytes(dtype: str) -> int:
    """Bytes of an unquantised element. vLLM loads float32 checkpoints in 16 bits unless told otherwise."""
    return 4 if dtype == "float32" else 2


def not_exact(model: ModelSpec) -> NotYetExact:
    """Say why a model has no layers, as an error to raise."""
    reason = model.not_exact
    if reason is None:
        return NotYetExact("errors_vram.unknown_architecture", architecture=model.architecture)
    return NotYetExact(reason.code, **reason.params)
