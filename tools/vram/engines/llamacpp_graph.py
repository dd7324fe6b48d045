"""llama.cpp's compute buffer on one card: the largest moment of the graph that is reserved at start.

The graph of one microbatch is laid out once; what is alive at its largest moment is one of three: all scores of a layer
(without flash attention), a feed-forward block, or the logits. Inputs (the mask, embeddings) stay throughout. Sources:
``src/llama-context.cpp`` (``graph_reserve``), ``src/llama-graph.cpp``; logs of builds b4036 to b5866 on CUDA, ROCm,
Vulkan, SYCL, Metal and CANN; and a build of October 2026 run on generated models of five architectures.
"""

from __future__ import annotations

from dataclasses import dataclass

from tools.domain import Attention, Band, DenseMlp, Deployment, Layer, MlaAttention, MoeMlp
from tools.vram.engines.llamacpp_cache import Cache, uses_flash

FUSED_SINCE = 5_900
"""From about this build a gated block keeps gate, up and their product; the mask is of 16 bits with flash attention."""

FEW_OUTPUTS_SINCE = 9_000
"""From about this build logits are reserved for one row a sequence, not for each token of the microbatch."""

FEW_OUTPUTS_SEEN = 10_000
"""A build of which it is known; between the two both are within the band."""

FLOAT = 4


@dataclass(frozen=True, slots=True)
class _Widths:
    """Elements of a token: hidden, queries, keys and values, heads of scores, feed-forward width, experts' outputs."""

    hidden: int
    queries: int
    pair: int
    heads: int
    block: int
    spread: int


def compute_buffer(
    deployment: Deployment, layers: tuple[int, ...], cache: Cache, build: int, *, output: bool, copies: int = 1
) -> Band:
    """Estimate the buffer of a card that runs some layers and perhaps the output.

    Worked example: Qwen2-1.5B, 4,096 cells, microbatch 512, build 4406: logits 151,936 x 512 x 4 B and as many rows of
    1,536 are 299.75 MiB, more than a layer's 12 heads of scores (96 MiB) with the rest. SmolLM2-135M, 2,048 cells,
    October 2026 with flash attention: mask 2 MiB, block 3 x 3 MiB, hidden rows 5 x 1.125 MiB: 16.63 MiB.

    Args:
        deployment: its ``max_model_len`` and ``max_num_seqs`` are set.
        layers: numbers of the layers on the card.
        cache: of these layers.
        build: of llama.cpp.
        output: the card computes logits.
        copies: of inputs and handed-over rows where cards work in a pipeline.
    """
    if not layers and not output:
        return Band(0, 0, 0)
    model, batch = deployment.model, deployment.max_num_batched_tokens or 512
    wide = _widths(deployment, layers)
    flash = uses_flash(deployment, build)
    new = build >= FUSED_SINCE
    mask = _mask(cache, batch, short=flash and new) if wide.heads else 0
    passed = copies * batch * wide.hidden * FLOAT + (copies - 1) * mask if copies > 1 else 0
    alive = (5 if new else 2) * wide.hidden + max((3 if new else 2) * wide.block, wide.spread)
    if not deployment.options.cache_in_ram:
        alive = max(alive, _attention(wide, cache, flash=flash, new=new))
    layered = FLOAT * batch * alive + mask + (0 if new or not flash else mask // 2)
    few, all_rows = _logits(deployment, batch) if output else (0, 0)
    rows = few if build >= FEW_OUTPUTS_SINCE else all_rows
    value = max(layered, rows + FLOAT * batch * model.hidden_size) + passed
    doubt = 0.05 if copies == 1 else 0.12
    low, high = value * (1 - doubt), value * (1 + doubt)
    if FUSED_SINCE + 1_500 <= build < FEW_OUTPUTS_SEEN:
        low = min(low, layered * (1 - doubt))
        high = max(high, (all_rows + FLOAT * batch * model.hidden_size + passed) * (1 + doubt))
    if any(isinstance(model.layers[index].mlp, MoeMlp) for index in layers):
        high *= 1.35
    return Band(low, value, high)


def _logits(deployment: Deployment, batch: int) -> tuple[int, int]:
    """Bytes of logits of one row a sequence, and of a row a token."""
    row = FLOAT * deployment.model.vocab_size * (0 if deployment.model.pools else 1)
    return row * min(batch, deployment.max_num_seqs or 1), row * batch


def _mask(cache: Cache, batch: int, *, short: bool) -> int:
    """Bytes of the masks of full and of sliding layers: of each token, the cells of its own stream."""
    return (2 if short else FLOAT) * (cache.cells_seen + cache.window_cells) * batch


def _attention(wide: _Widths, cache: Cache, *, flash: bool, new: bool) -> int:
    """Elements a token alive in attention: scores of all heads without flash attention, queries and hidden rows."""
    scores = 0 if flash else wide.heads * cache.cells_seen
    if not new:
        return scores + 2 * wide.hidden + 2 * wide.queries
    if flash:
        return 3 * wide.hidden + 2 * wide.queries
    return scores + 3 * wide.hidden + 3 * max(wide.hidden, wide.queries) + wide.pair


def _widths(deployment: Deployment, layers: tuple[int, ...]) -> _Widths:
    model = deployment.model
    found = {id(model.layers[index]): model.layers[index] for index in layers}.values()
    queries, pair, heads, block, spread = 0, 0, 0, 0, 0
    for layer in found:
        for mixer in layer.mixers:
            if isinstance(mixer, Attention):
                queries = max(queries, mixer.heads * mixer.head_dim)
                pair = max(pair, 2 * mixer.kv_heads * mixer.head_dim)
                heads = max(heads, mixer.heads)
            elif isinstance(mixer, MlaAttention):
                queries = max(queries, mixer.heads * (mixer.nope_head_dim + mixer.rope_head_dim))
                heads = max(heads, mixer.heads)
        width, active = _block(layer)
        block, spread = max(block, width), max(spread, active * model.hidden_size)
    return _Widths(model.hidden_size, queries, pair, heads, block, spread)


def _block(layer: Layer) -> tuple[int, int]:
    """Width of a layer's feed-forward block, and how many experts a token has."""
    if isinstance(layer.mlp, DenseMlp):
        return layer.mlp.intermediate, 0
    if isinstance(layer.mlp, MoeMlp):
        return layer.mlp.active * layer.mlp.intermediate + layer.mlp.shared_intermediate, layer.mlp.active
    return 0, 0
