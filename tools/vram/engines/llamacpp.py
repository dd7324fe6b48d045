"""llama.cpp's memory: the GGUF file by device, caches and states, the graph's buffer. Ollama and LM Studio follow it.

Everything is allocated at start, so the pool is what the context asks for. Facts from llama.cpp: layers are placed by
``src/llama-model.cpp`` (``load_tensors``: one slot a layer and one for the output, shared out by ``--tensor-split``),
caches by ``src/llama-kv-cache.cpp`` and ``llama-kv-cache-iswa.cpp``, states by ``llama-memory-recurrent.cpp``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from tools.domain import Band, Deployment, Footprint, Gpu, ModelSpec, Note, Provenance, note
from tools.errors import BadValue, NotYetExact
from tools.units import GIB
from tools.vram import gguf
from tools.vram.engines.llamacpp_cache import Cache, cache_of
from tools.vram.engines.llamacpp_graph import compute_buffer

NEWEST = 10_400
"""Build that is meant where none is said (October 2026)."""

OUTPUT_COUNTS = 7_500
"""From about this build on ``-ngl`` counts the output first (``i_gpu_start = n_layer + 1 - n_gpu_layers``)."""

CONTEXT_GIB = (0.25, 0.4, 0.7)
"""CUDA context with the kernels and work space of cuBLAS on each card; no part of the buffers that are logged."""

ROUNDING, ANOTHER_FILE = 0.02, 0.15
"""Shares by which a published size may differ from the sum of a file's tensors."""

MOVED_SHARE = 0.37
"""The largest matrix of experts of a layer, as a share of them: a third, or the wider type of projections down."""

_FLOATS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_BUILD = re.compile(r"b?(\d{3,6})\b")


@dataclass(frozen=True, slots=True)
class Placement:
    """Which card holds each layer; the number of cards stands for the CPU."""

    layers: tuple[int, ...]
    output: int

    def of(self, card: int) -> tuple[int, ...]:
        """Numbers of the layers on a card."""
        return tuple(index for index, place in enumerate(self.layers) if place == card)


def build_of(version: str | None) -> int:
    """Read a build number: ``b5605``, ``5605 (5787b5da)``; None = the newest known.

    Raises:
        BadValue: no build number is in it.
    """
    if version is None:
        return NEWEST
    found = _BUILD.match(version.strip().lower())
    if found is None:
        raise BadValue("engines.bad_build", value=version[:40])
    return int(found[1])


def place(
    layers: int, cards: int, gpu_layers: int | None, split: tuple[float, ...] = (), build: int = NEWEST
) -> Placement:
    """Share out a model's layers and its output among cards.

    Worked example: 28 layers on 7 equal cards: 5, 4, 4, 4, 4, 4 and 3 with the output.

    Args:
        layers: of the model.
        cards: how many.
        gpu_layers: ``-ngl``; None = all, the output too.
        split: shares of the cards; empty = equal.
        build: of llama.cpp.
    """
    wanted = layers + 1 if gpu_layers is None else gpu_layers
    start = max(layers + (1 if build >= OUTPUT_COUNTS else 0) - wanted, 0)
    used = min(wanted, layers + 1)
    shares = (split + (0.0,) * cards)[:cards] if split else (1.0,) * cards
    whole = math.fsum(shares) or 1.0
    ends = [math.fsum(shares[: card + 1]) for card in range(cards)]

    places: list[int] = [cards] * (layers + 1)
    card = 0
    for slot in range(start, min(start + used, layers + 1)):
        while card < cards - 1 and (slot - start) * whole >= ends[card] * used:
            card += 1
        places[slot] = card
    return Placement(tuple(places[:-1]), places[-1])


def mixture_of(deployment: Deployment) -> str:
    """Name the GGUF type that a deployment loads: a GGUF's own, or what 16-bit weights convert to.

    Raises:
        NotYetExact: the checkpoint is in a format that llama.cpp does not read.
    """
    checkpoint = deployment.checkpoint
    quantization = checkpoint.quantization
    if quantization.method == "gguf":
        return str(quantization.extra.get("type") or "")
    if quantization.method == "none":
        return _FLOATS.get(checkpoint.dtype, "BF16")
    if quantization.method == "mxfp4":
        return "MXFP4"
    raise NotYetExact("engines.needs_gguf", engine=deployment.engine, precision=checkpoint.precision)


def file_parts(deployment: Deployment) -> gguf.Parts:
    """Bytes of the file by where they go, from its tensors or from its published size.

    Published sizes are rounded: they decide where they differ by more than rounding, and not by so much that another
    file is meant.

    Raises:
        NotYetExact: neither the type nor the size of the file is known.
    """
    model, checkpoint = deployment.model, deployment.checkpoint
    mixture = mixture_of(deployment)
    size = checkpoint.file_bytes if checkpoint.quantization.method == "gguf" else None
    if gguf.is_known(mixture):
        parts = gguf.parts(model, mixture)
        decides = size is not None and ROUNDING < abs(size / parts.total - 1) < ANOTHER_FILE
        return _scaled(parts, size / parts.total) if size and decides else parts
    if not (size or checkpoint.quantization.bits):
        raise NotYetExact("errors_vram.unknown_format", format=checkpoint.precision)
    parts = gguf.parts(model, "Q4_K_M")
    return _scaled(parts, (size or model.params_total * checkpoint.quantization.bits / 8) / parts.total)


def _scaled(parts: gguf.Parts, by: float) -> gguf.Parts:
    return gguf.Parts(
        round(parts.table * by),
        round(parts.output * by),
        tuple(round(size * by) for size in parts.layers),
        tuple(round(size * by) for size in parts.experts),
    )


@dataclass(frozen=True, slots=True)
class Card:
    """What one card holds, bytes."""

    weights: int
    cache: Cache
    compute: Band

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.cache.bytes + self.compute.value


def cards_of(deployment: Deployment, parts: gguf.Parts) -> tuple[Card, ...]:
    """Weights, cache and compute buffer of every card.

    Raises:
        NotYetExact: a layer's cache is not known.
        BadValue: a cache type is not known.
    """
    count, options = deployment.tp * deployment.pp, deployment.options
    build = build_of(deployment.engine_version)
    model = deployment.model
    placed = place(len(model.layers), count, options.gpu_layers, options.split, build)
    on_cards = all(place < count for place in placed.layers) and placed.output < count
    found: list[Card] = []
    for card in range(count):
        mine = placed.of(card)
        with_output = placed.output == card
        weights = sum(parts.layers[index] for index in mine)
        weights -= sum(parts.experts[index] for index in mine if index < options.experts_in_ram)
        if with_output:
            weights += parts.output + (parts.table if model.tied_embeddings else 0)
        cache = cache_of(deployment, mine, build)
        piped = count > 1 and on_cards and not (options.cache_in_ram or options.experts_in_ram or options.by_rows)
        compute = compute_buffer(deployment, mine, cache, build, output=with_output, copies=4 if piped else 1)
        found.append(Card(weights, cache, _plus(compute, 0 if card else _moved(deployment, parts, placed, count))))
    return tuple(found)


def _moved(deployment: Deployment, parts: gguf.Parts, placed: Placement, cpu: int) -> float:
    """Bytes of the largest matrix in RAM: the first card multiplies large batches by it and holds it meanwhile.

    DeepSeek-V3 as Q2_K with 13 layers in RAM: the first card's buffer is 1,604 MiB above the others' (build 4436).
    """
    apart = (
        parts.experts[index] * MOVED_SHARE if parts.experts[index] else parts.layers[index] / 4
        for index, place in enumerate(placed.layers)
        if place == cpu or (parts.experts[index] and index < deployment.options.experts_in_ram)
    )
    return max(apart, default=0.0) if deployment.options.gpu_layers != 0 else 0.0


def _plus(band: Band, more: float) -> Band:
    return Band(band.low + 0.5 * more, band.value + more, band.high + 1.2 * more) if more else band


def footprint(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what llama.cpp takes on its fullest card.

    Args:
        deployment: ``max_num_seqs`` sequences of ``max_model_len`` tokens each; ``tp x pp`` cards share the layers.
        gpu: the card, or None: no verdict.

    Raises:
        NotYetExact: the format or a layer is not covered.
        BadValue: a flag is absurd.
    """
    parts = file_parts(deployment)
    deployment = settled(deployment)
    cards = cards_of(deployment, parts)
    card = max(cards, key=lambda one: one.total)
    length, users = deployment.max_model_len or 1, deployment.max_num_seqs or 1
    context = Band(*(gib * GIB for gib in CONTEXT_GIB)) if card.weights or card.cache.bytes else Band(0, 0, 0)
    total = math.ceil(card.total + context.value)
    size = float(card.cache.bytes)
    return Footprint(
        deployment=deployment,
        parameter_bytes=card.weights,
        weights_bytes=card.weights,
        backend=f"GGUF {mixture_of(deployment)}",
        kv_bytes_per_token=card.cache.token_bytes,
        kv_needed_bytes=card.cache.bytes,
        kv_pool_bytes=Band(size, size, size),
        kv_pool_tokens=card.cache.cells,
        max_concurrency=card.cache.cells / length,
        activation_bytes=card.compute,
        cuda_graph_bytes=Band(0, 0, 0),
        context_bytes=context,
        total_bytes=total,
        verdict=None
        if gpu is None
        else "fits"
        if total <= gpu.cuda_total_bytes - gpu.reserved_bytes
        else "does_not_fit",
        provenance=_provenance(deployment),
        assumptions=(*_notes(deployment, parts, cards), note("engines.sequences", users=users, tokens=length)),
    )


def settled(deployment: Deployment) -> Deployment:
    """Fill in what was not said: one sequence, the model's context, or the share of a stated total."""
    users, options = deployment.max_num_seqs or 1, deployment.options
    length = deployment.max_model_len or deployment.model.max_context
    if options.context_total:
        length = options.context_total if options.unified else max(1, options.context_total // users)
    return replace(deployment, max_model_len=length, max_num_seqs=users)


def _notes(deployment: Deployment, parts: gguf.Parts, cards: tuple[Card, ...]) -> tuple[Note, ...]:
    model, options = deployment.model, deployment.options
    held = sum(card.weights for card in cards)
    ram = parts.total - held + (parts.table if model.tied_embeddings and held else 0)
    found = [note("engines.in_ram", gib=round(max(ram, parts.table) / GIB, 2))]
    if options.gpu_layers is None:
        found.append(note("engines.all_layers"))
    if options.cache_in_ram:
        found.append(note("engines.cache_in_ram"))
    if deployment.checkpoint.quantization.method != "gguf":
        found.append(note("engines.converted", format=mixture_of(deployment)))
    if _has_towers(model):
        found.append(note("engines.towers_apart"))
    return tuple(found)


def _has_towers(model: ModelSpec) -> bool:
    return bool(model.tower_params or model.encoder)


def _provenance(deployment: Deployment) -> dict[str, Provenance]:
    checkpoint = deployment.checkpoint
    stated = checkpoint.quantization.method == "gguf" and checkpoint.file_bytes
    known = gguf.is_known(mixture_of(deployment))
    weights: Provenance = checkpoint.file_provenance if stated else "computed" if known else "estimated"
    return {
        "parameter_bytes": weights,
        "weights_bytes": weights,
        **dict.fromkeys(("kv_bytes_per_token", "kv_needed_bytes", "kv_pool_bytes", "kv_pool_tokens"), "computed"),
        "max_concurrency": "computed",
        **dict.fromkeys(("activation_bytes", "cuda_graph_bytes", "context_bytes"), "estimated"),
    }
