"""What a rank registers: every tensor of a model, sharded as vLLM shards it, in the checkpoint's storage format.

A layer is a list of matrices and a count of plain vector elements; a model's bytes are the sum over its layers plus
embeddings, head, last norm and towers. Sharding follows vLLM 0.32 ``model_executor/layers/linear.py``
(``QKVParallelLinear`` replicates KV heads when there are more ranks than heads), ``fused_moe/layer.py`` and
``vocab_parallel_embedding.py`` (vocabulary padded to a multiple of 64, then divided).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace

from tools.domain import Attention, Checkpoint, Draft, Layer, Mixer, ModelSpec, MoeMlp, Quantization, Ranks
from tools.errors import NotYetExact
from tools.vram import feedforward, mixers
from tools.vram.dialects import PLAIN_HEADS
from tools.vram.overrides import as_stored
from tools.vram.remembered import remembered
from tools.vram.sharding import Vectors, divide, on_rank
from tools.vram.stages import Stage, stages
from tools.vram.storage import Formats, Matrix, assumes_groups, formats_of, matrix_bytes, settled

VOCAB_PADDING = 64
"""Vocabulary rows are padded to a multiple of this (vLLM ``vocab_parallel_embedding.DEFAULT_VOCAB_PADDING_SIZE``)."""


Stored = tuple[Matrix, Quantization | None, int]
"""A matrix of a rank, its format (None = the model's type), and how often there is one."""


KEPT = 256
"""Answers kept: a plan or a batch asks about the same model on the same ranks again and again."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What a rank registers: bytes of all of it, and the matrices among it."""

    bytes: int
    matrices: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer on one rank: matrices a format may quantise, and vectors that stay as they are."""

    matrices: tuple[Matrix, ...]
    vectors: Vectors


@remembered(KEPT, by_identity=1)
def layer_weights(layer: Layer, hidden: int, ranks: Ranks) -> LayerWeights:
    """Expand a layer into its tensors on the fullest rank.

    Args:
        layer: what the config declares.
        hidden: the model's hidden size.
        ranks: that hold it together.
    """
    tp = ranks.tp
    matrices = [matrix for mixer in layer.mixers for matrix in mixers.matrices(mixer, hidden, tp)]
    matrices += feedforward.matrices(layer.mlp, hidden, ranks)
    matrices += [on_rank(extra, tp) for extra in layer.extras if not extra.in_ram for _ in range(extra.times)]
    found = [mixers.vectors(mixer, hidden, tp) for mixer in layer.mixers]
    elements = layer.norms * hidden + layer.extra_elements + sum(one.elements for one in found)
    wide = sum(one.float32 for one in found)
    if isinstance(layer.mlp, MoeMlp):
        elements += hidden * layer.mlp.shared_gate
        wide += (layer.mlp.experts + layer.mlp.idle) * layer.mlp.score_bias
    return LayerWeights(tuple(matrices), Vectors(elements, wide))


def parameter_bytes(
    model: ModelSpec, checkpoint: Checkpoint, tp: int = 1, pp: int = 1, dp: int = 1, *, ep: bool = False
) -> int:
    """Sum what vLLM's model code registers on one rank of the fullest pipeline stage, in bytes.

    Worked example: Qwen3-30B-A3B in bfloat16 on one GPU is 61,064,245,248 B; in two ranks 30,544,916,480 B each.

    Args:
        model: its structure.
        checkpoint: its storage formats.
        tp: tensor-parallel ranks.
        pp: pipeline stages.
        dp: data-parallel ranks.
        ep: experts are spread whole over the tensor- and data-parallel ranks.

    Raises:
        NotYetExact: the model's architecture or the checkpoint's format is not covered.
        BadValue: the sizes do not divide among the ranks, or there are more stages than layers.
    """
    if not model.layers:
        raise not_exact(model)
    return max(stage_bytes(model, checkpoint, Ranks(tp, dp, ep, pp), stages(model, pp)))


def stage_bytes(model: ModelSpec, checkpoint: Checkpoint, ranks: Ranks, split: tuple[Stage, ...]) -> tuple[int, ...]:
    """Sum what one rank of each pipeline stage registers, in bytes.

    Raises:
        NotYetExact: the checkpoint's format is not covered.
        BadValue: the sizes do not divide among the ranks.
    """
    return tuple(registered(model, checkpoint, ranks, stage).bytes for stage in split)


def draft_bytes(model: ModelSpec, checkpoint: Checkpoint, ranks: Ranks) -> int:
    """Sum what one rank of the last stage registers for the model's own draft head, in bytes.

    The head uses the model's embeddings where they are on that stage, that is, without a pipeline.

    Raises:
        NotYetExact: the checkpoint's format is not covered.
        BadValue: the sizes do not divide among the ranks.
    """
    return _registered_draft(model, checkpoint, ranks).bytes


def draft_matrices(model: ModelSpec, checkpoint: Checkpoint, ranks: Ranks) -> tuple[Stored, ...]:
    """List every matrix of the draft head's layers on a rank, as ``matrices_of`` does."""
    return _registered_draft(model, checkpoint, ranks).matrices


@remembered(KEPT, by_identity=2)
def _registered_draft(model: ModelSpec, checkpoint: Checkpoint, ranks: Ranks) -> Registered:
    """What a rank registers for the draft head: all bytes, and the matrices of its layers."""
    draft = model.draft
    if draft is None:
        return Registered(0, ())
    formats, width = _draft_formats(model, draft, checkpoint), element_bytes(checkpoint.dtype)
    table = divide(padded_vocab(model), ranks.tp, "vocab_size") if ranks.pp > 1 else 0
    found = (on_rank(linear, ranks.tp) for linear in draft.outer)
    outer = sum(matrix_bytes(matrix, formats.of(matrix), width) for matrix in found)
    inside = _inside(draft.layers, model.hidden_size, formats, ranks, width, draft.first)
    return Registered(width * model.hidden_size * (draft.norms + table) + outer + inside.bytes, inside.matrices)


def _draft_formats(model: ModelSpec, draft: Draft, checkpoint: Checkpoint) -> Formats:
    quantization = checkpoint.quantization
    if draft.plain:
        quantization = replace(quantization, excluded=(*quantization.excluded, *draft.plain))
    return _formats(replace(model, prefix=draft.prefix), replace(checkpoint, quantization=quantization))


def _formats(model: ModelSpec, checkpoint: Checkpoint) -> Formats:
    """Make a checkpoint's formats ready to be asked; groups of assumed size are made to divide the model's widths."""
    quantization = checkpoint.quantization
    if assumes_groups(quantization):
        layers = {id(layer): layer for layer in model.layers}.values()
        found = (matrix for layer in layers for matrix in layer_weights(layer, model.hidden_size, Ranks()).matrices)
        quantization = settled(quantization, {matrix.inputs for matrix in found if not matrix.plain})
    return formats_of(quantization, model.prefix)


def _kv_heads(mixer: Mixer, tp: int) -> int:
    return max(1, mixer.kv_heads // tp) if isinstance(mixer, Attention) else 0


def matrices_of(model: ModelSpec, checkpoint: Checkpoint, ranks: Ranks, stage: Stage) -> tuple[Stored, ...]:
    """List every matrix of a rank, its format (None = the model's type), and how often there is one.

    Args:
        model: its structure.
        checkpoint: its storage formats.
        ranks: that hold a stage together.
        stage: of the pipeline.
    """
    return registered(model, checkpoint, ranks, stage).matrices


@remembered(KEPT, by_identity=2)
def registered(model: ModelSpec, checkpoint: Checkpoint, ranks: Ranks, stage: Stage) -> Registered:
    """What one rank of a pipeline stage registers.

    Raises:
        NotYetExact: the checkpoint's format is not covered.
        BadValue: the sizes do not divide among the ranks.
    """
    model = as_stored(model, checkpoint)
    formats, width = _formats(model, checkpoint), element_bytes(checkpoint.dtype)
    vectors = width * _outer_elements(model, ranks.tp, stage)
    outer = tuple(_outer_matrices(model, formats, ranks.tp, stage))
    matrices = sum(times * matrix_bytes(matrix, stored, width) for matrix, stored, times in outer)
    layers = model.layers[stage.start : stage.end]
    inside = _inside(layers, model.hidden_size, formats, ranks, width, stage.start)
    found = (*inside.matrices, *outer)
    plain = math.ceil(plain_share(model, checkpoint) * quantised(found) * (width - NF4_BYTES))
    return Registered(vectors + matrices + inside.bytes + plain, found)


NF4_BYTES = 1 / 2 + 4 / 64
"""Bytes of a weight in NF4: half of one, and a float32 maximum a block of 64."""


def quantised(matrices: Iterable[Stored]) -> int:
    """Count the weights that a format stores."""
    return sum(times * matrix.elements for matrix, stored, times in matrices if stored)


@remembered(KEPT, by_identity=2)
def plain_share(model: ModelSpec, checkpoint: Checkpoint) -> float:
    """Share of the layers' weights that a bitsandbytes checkpoint leaves as they are, where only their number is known.

    Worked example: Mistral-Small-24B has 22.23 billion weights in its layers' projections; Unsloth's dynamic copy
    quantises 21.73 of them and leaves 2.2 %.
    """
    known = checkpoint.quantization.extra.get("weights")
    if checkpoint.quantization.method != "bnb_nf4" or not isinstance(known, int) or not model.layers:
        return 0.0
    formats = _formats(model, checkpoint)
    found = _inside(model.layers, model.hidden_size, formats, Ranks(), element_bytes(checkpoint.dtype), 0).matrices
    return max(0.0, 1 - known / max(1, quantised(found)))


def _inside(
    layers: tuple[Layer, ...], hidden: int, formats: Formats, ranks: Ranks, width: int, start: int
) -> Registered:
    """What a rank registers in some layers, the first of which has number ``start``."""
    total, found = 0, list[Stored]()
    for layer, first, times in _grouped(layers, formats, start):
        weights = layer_weights(layer, hidden, ranks)
        scales = (formats.cache_scale_bytes(one, first, _kv_heads(one, ranks.tp), width) for one in layer.mixers)
        each = weights.vectors.bytes(width) + sum(scales)
        for matrix in map(formats.held, weights.matrices):
            stored = formats.of(matrix, first)
            each += matrix_bytes(matrix, stored, width)
            found.append((matrix, stored, times))
        total += times * each
    return Registered(total, tuple(found))


def _outer_elements(model: ModelSpec, tp: int, stage: Stage) -> int:
    """Elements outside the layers that are no matrix: the last norm, the head's bias, vectors and towers."""
    every, elements = model.every_stage, 0
    if (stage.is_last or "norm" in every) and model.final_norm:
        elements += model.hidden_size * (2 if model.final_norm_bias else 1)
    if (stage.is_last or "head" in every) and model.head_bias:
        elements += divide(padded_vocab(model), tp, "vocab_size")
    if stage.is_first:
        elements += model.outer_elements + -(-model.tower_params // tp)
    return elements


def _outer_matrices(model: ModelSpec, formats: Formats, tp: int, stage: Stage) -> Iterator[Stored]:
    """Yield the matrices outside the layers; the table of tied embeddings is on the first stage and on the last."""
    every, head = model.every_stage, _head(model, tp)
    has_head = stage.is_last or "head" in every
    if stage.is_first or "embeddings" in every or (model.tied_embeddings and has_head):
        yield replace(head, name="embed_tokens", plain=True), None, 1
    for linear in model.outer:
        if stage.is_last if linear.is_last else stage.is_first:
            matrix = on_rank(linear, tp)
            yield matrix, formats.of(matrix), linear.times
    if has_head and not model.tied_embeddings:
        yield head, _head_format(model, formats), 1


def _head_format(model: ModelSpec, formats: Formats) -> Quantization | None:
    return None if model.model_type in PLAIN_HEADS else formats.of_head()


def _head(model: ModelSpec, tp: int) -> Matrix:
    rows = divide(padded_vocab(model), tp, "vocab_size")
    return Matrix("lm_head", (rows,), model.table_width or model.hidden_size, split="out", ranks=tp)


def padded_vocab(model: ModelSpec) -> int:
    """Vocabulary rounded up to what vLLM allocates."""
    return -(-model.vocab_size // VOCAB_PADDING) * VOCAB_PADDING


def _grouped(layers: tuple[Layer, ...], formats: Formats, start: int = 0) -> Iterator[tuple[Layer, int, int]]:
    """Yield (layer, the number of its first, how often): once for layers that are equal and stored alike."""
    keys: list[Hashable] = list(map(id, layers))
    if formats.by_layer:
        keys = [(key, formats.signature(index)) for index, key in enumerate(keys, start)]
    counts, last = Counter(keys), len(layers) - 1
    first = dict(zip(reversed(keys), range(last, -1, -1), strict=True))
    yield from ((layers[index], start + index, counts[key]) for key, index in first.items())


def parameter_count(model: ModelSpec) -> int:
    """Count a model's parameters as published: unpadded vocabulary, packed formats never counted."""
    width = model.table_width or model.hidden_size
    elements = model.vocab_size * width * (1 if model.tied_embeddings else 2) + model.tower_params
    elements += (model.vocab_size if model.head_bias else 0) + model.outer_elements
    elements += sum(linear.times * on_rank(linear, 1).elements for linear in model.outer)
    if model.final_norm:
        elements += model.hidden_size * (2 if model.final_norm_bias else 1)
    for layer, _, times in _grouped(model.layers, formats_of(Quantization())):
        elements += times * _layer_count(layer, model.hidden_size)
    return elements


def _layer_count(layer: Layer, hidden: int) -> int:
    weights = layer_weights(layer, hidden, Ranks())
    twice = sum(
        mixer.kv_heads * mixer.head_dim * hidden
        for mixer in layer.mixers
        if isinstance(mixer, Attention) and mixer.k_is_v and not mixer.shares_kv
    )
    return sum(weights.vectors) + sum(matrix.elements for matrix in weights.matrices) - twice


def element_bytes(dtype: str) -> int:
    """Bytes of an unquantised element. vLLM loads float32 checkpoints in 16 bits unless told otherwise."""
    return 4 if dtype == "float32" else 2


def not_exact(model: ModelSpec) -> NotYetExact:
    """Say why a model has no layers, as an error to raise."""
    reason = model.not_exact
    if reason is None:
        return NotYetExact("errors_vram.unknown_architecture", architecture=model.architecture)
    return NotYetExact(reason.code, **reason.params)
