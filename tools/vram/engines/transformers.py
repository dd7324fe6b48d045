"""Transformers with bitsandbytes, and ExLlamaV3: the loaders of text-generation-webui beside llama.cpp.

Transformers puts whole layers on cards (``device_map="auto"``), quantises the layers' projections while loading where
asked and lets the cache grow with the tokens. Sources: transformers 5 ``integrations/bitsandbytes.py`` (embeddings and
head stay in 16 bits), bitsandbytes ``functional.py`` (blocks of 64 with a float32 maximum each; with double
quantisation one byte each, and 256 of them share a float32), exllamav3 ``cache/quant.py``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from tools.domain import (
    Attention,
    Band,
    Checkpoint,
    DenseMlp,
    Deployment,
    Footprint,
    Gpu,
    Layer,
    Mixer,
    MlaAttention,
    ModelSpec,
    MoeMlp,
    Note,
    Provenance,
    Quantization,
    Ranks,
    note,
)
from tools.errors import NotYetExact
from tools.units import GIB
from tools.vram.engines import llamacpp
from tools.vram.engines.llamacpp_cache import state_elements
from tools.vram.loaded import registered_bytes
from tools.vram.weights import element_bytes, layer_weights, parameter_bytes

CONTEXT_GIB = (0.3, 0.5, 0.9)
"""CUDA context, kernels and cuBLAS work space of a PyTorch process on a card."""

NF4_BLOCK, NESTED_BLOCK = 64, 256
"""Weights that share a maximum, and maxima that share a scale with double quantisation."""

_BITS = {4: "bnb_nf4", 8: "bnb_int8"}
_CACHE_PAGE = 256
"""ExLlamaV3's cache holds whole pages of so many tokens."""


def quantised_bytes(elements: int, rows: int, method: str, *, double: bool = True) -> int:
    """Bytes that bitsandbytes makes of a matrix.

    Worked example: 4,096 x 4,096 weights in NF4: 8,388,608 B + 262,144 maxima of a byte + 1,024 scales of 4 B, 0.516 B
    a weight; without double quantisation 0.5625; in 8 bits a byte each and a float32 a row.

    Args:
        elements: weights of the matrix.
        rows: its outputs.
        method: ``bnb_nf4`` or ``bnb_int8``.
        double: maxima are quantised too (``bnb_4bit_use_double_quant``).
    """
    if method == "bnb_int8":
        return elements + 4 * rows
    blocks = -(-elements // NF4_BLOCK)
    return -(-elements // 2) + (blocks + 4 * -(-blocks // NESTED_BLOCK) if double else 4 * blocks)


def footprint(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what Transformers takes on its fullest card at full context.

    Raises:
        NotYetExact: the architecture or the format is not covered.
    """
    deployment = _asked(deployment)
    method = deployment.checkpoint.quantization.method
    if method in {"gguf", "exl2", "exl3", "mlx"}:
        raise NotYetExact("engines.needs_other", precision=deployment.checkpoint.precision)
    cards = deployment.tp * deployment.pp
    weights = _weights(deployment, cards)
    length, users = deployment.max_model_len or deployment.model.max_context, deployment.max_num_seqs or 1
    cache, token = _cache(deployment, length, users, cards)
    return _answer(deployment, gpu, weights, cache, token, note("engines.grows"), backend=_BACKENDS.get(method, method))


_BACKENDS = {"none": "unquantised", "bnb_nf4": "bitsandbytes NF4", "bnb_int8": "bitsandbytes INT8"}


def exllama_footprint(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what ExLlamaV3 takes on its fullest card; its cache is reserved at start, in 16 bits or quantised.

    Raises:
        NotYetExact: the checkpoint is in another format, or a layer's cache is not known.
    """
    checkpoint = deployment.checkpoint
    if checkpoint.quantization.method not in {"exl2", "exl3"}:
        raise NotYetExact("engines.needs_exl", precision=checkpoint.precision)
    cards = deployment.tp * deployment.pp
    weights = max(registered_bytes(deployment))
    length, users = deployment.max_model_len or deployment.model.max_context, deployment.max_num_seqs or 1
    total = -(-length * users // _CACHE_PAGE) * _CACHE_PAGE
    bits = _CACHE_BITS.get(deployment.kv_dtype.lower(), 16.0)
    cache, token = _cache(replace(deployment, kv_dtype="auto"), total // users, users, cards)
    cache, token = math.ceil(cache * bits / 16), None if token is None else math.ceil(token * bits / 16)
    kind = checkpoint.quantization.method.upper()
    return _answer(deployment, gpu, weights, cache, token, note("engines.by_layers"), backend=kind)


_CACHE_BITS = {"q8": 8.5, "q6": 6.5, "q5": 5.5, "q4": 4.5, "q3": 3.5, "q2": 2.5, "fp8": 8.0}
"""Bits of a cached element: 32 share a scale of 16 bits."""


def webui_footprint(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what text-generation-webui takes: llama.cpp for GGUF, ExLlamaV3 for EXL, else Transformers.

    Raises:
        NotYetExact: the architecture or the format is not covered.
    """
    method = deployment.checkpoint.quantization.method
    if method == "gguf":  # the version is the page's, not llama.cpp's
        return llamacpp.footprint(replace(deployment, engine_version=None), gpu)
    return (exllama_footprint if method.startswith("exl") else footprint)(deployment, gpu)


def _asked(deployment: Deployment) -> Deployment:
    """Apply ``--load-in-4bit`` and ``--load-in-8bit`` to 16-bit weights."""
    method = _BITS.get(deployment.options.load_bits or 0)
    if method is None or deployment.checkpoint.quantization.method != "none":
        return deployment
    made = replace(deployment.checkpoint, quantization=Quantization(method), precision=method, in_flight=True)
    return replace(deployment, checkpoint=made)


def _weights(deployment: Deployment, cards: int) -> int:
    """Bytes of the fullest card: tables and its share of whole layers."""
    model, checkpoint = deployment.model, deployment.checkpoint
    plain = replace(checkpoint, quantization=Quantization())
    saved = 0
    if checkpoint.quantization.method.startswith("bnb"):
        saved = sum(times * _saved(layer, model, checkpoint) for layer, times in _grouped(model))
        total = parameter_bytes(model, plain) - saved
    else:
        total = parameter_bytes(model, checkpoint)
    if cards == 1:
        return total
    tables = model.vocab_size * model.hidden_size * element_bytes(checkpoint.dtype)
    layers = max(1, len(model.layers))
    return math.ceil(max(0, total - tables) * -(-layers // cards) / layers) + tables


def _grouped(model: ModelSpec) -> list[tuple[Layer, int]]:
    """Different layers and how many there are of each."""
    counts, layers = Counter(map(id, model.layers)), {id(layer): layer for layer in model.layers}
    return [(layers[key], times) for key, times in counts.items()]


def _saved(layer: Layer, model: ModelSpec, checkpoint: Checkpoint) -> int:
    """Bytes that quantising a layer's projections saves."""
    if isinstance(layer.mlp, MoeMlp):
        raise NotYetExact("engines.experts_not_quantised")
    width = element_bytes(checkpoint.dtype)
    method = checkpoint.quantization.method
    saved = 0
    for matrix in layer_weights(layer, model.hidden_size, Ranks()).matrices:
        if not matrix.plain:
            elements = matrix.rows * matrix.inputs
            saved += width * elements - quantised_bytes(elements, matrix.rows, method)
    return saved


def _cache(deployment: Deployment, length: int, users: int, cards: int) -> tuple[int, int | None]:
    """Bytes of the cache on a card, and of a token; None where layers keep windows or states."""
    width = element_bytes(deployment.checkpoint.dtype)
    total, token, several = 0, 0, False
    for layer, times in _grouped(deployment.model):
        for mixer in layer.mixers:
            state, size = state_elements(mixer), width * _token(mixer)
            window = mixer.window if isinstance(mixer, Attention) else None
            total += times * users * (size * min(length, window or length) + width * state)
            token += times * size
            several = several or bool(state) or bool(window and window < length)
    layers = max(1, len(deployment.model.layers))
    share = -(-layers // cards) / layers
    return math.ceil(total * share), None if several else math.ceil(token * share)


def _token(mixer: Mixer) -> int:
    """Elements of a token; Transformers caches heads of latent attention expanded."""
    if isinstance(mixer, Attention):
        return 0 if mixer.shares_kv else mixer.kv_heads * (mixer.head_dim + (mixer.v_head_dim or mixer.head_dim))
    if isinstance(mixer, MlaAttention) and mixer.indexer is None and not mixer.sparse:
        return mixer.heads * (mixer.nope_head_dim + mixer.rope_head_dim + mixer.v_head_dim)
    if state_elements(mixer):
        return 0
    raise NotYetExact("engines.cache_unknown", kind=type(mixer).__name__)


def _activation(deployment: Deployment, length: int, users: int) -> Band:
    """A prompt is read at once: rows of the hidden state and of the widest block, for every token of it."""
    model = deployment.model
    layers = {id(layer): layer for layer in model.layers}.values()
    block = max((_block(layer) for layer in layers), default=0)
    rows = 2 * min(length, 1 << 20) * users
    value = rows * (6 * model.hidden_size + 3 * block) + 4 * users * model.vocab_size
    return Band(0.05 * value, value, 2.5 * value)


def _block(layer: Layer) -> int:
    if isinstance(layer.mlp, DenseMlp):
        return layer.mlp.intermediate
    return layer.mlp.active * layer.mlp.intermediate if isinstance(layer.mlp, MoeMlp) else 0


def _answer(
    deployment: Deployment, gpu: Gpu | None, weights: int, cache: int, token: int | None, said: Note, *, backend: str
) -> Footprint:
    length, users = deployment.max_model_len or deployment.model.max_context, deployment.max_num_seqs or 1
    chunk = length if deployment.checkpoint.quantization.method[:3] != "exl" else min(length, 2048)
    active = _activation(deployment, chunk, 1 if chunk != length else users)
    context = Band(*(gib * GIB for gib in CONTEXT_GIB))
    total = math.ceil(weights + cache + active.value + context.value)
    room = gpu.cuda_total_bytes - gpu.reserved_bytes if gpu else 0
    estimated: Provenance = "estimated"
    counted: Provenance = "computed"
    by_bits = deployment.checkpoint.quantization.method.startswith("exl")
    notes = (said, note("engines.sequences", users=users, tokens=length))
    return Footprint(
        deployment=deployment,
        parameter_bytes=weights,
        weights_bytes=weights,
        backend=backend,
        kv_bytes_per_token=token,
        kv_needed_bytes=cache,
        kv_pool_bytes=Band(cache, cache, cache),
        kv_pool_tokens=length * users,
        max_concurrency=float(users),
        activation_bytes=active,
        cuda_graph_bytes=Band(0, 0, 0),
        context_bytes=context,
        total_bytes=total,
        verdict=None if gpu is None else "fits" if total <= room else "does_not_fit",
        provenance={
            **dict.fromkeys(("parameter_bytes", "weights_bytes"), estimated if by_bits else counted),
            **dict.fromkeys(("kv_bytes_per_token", "kv_needed_bytes", "kv_pool_bytes", "kv_pool_tokens"), counted),
            **dict.fromkeys(("max_concurrency", "activation_bytes", "cuda_graph_bytes", "context_bytes"), estimated),
        },
        assumptions=notes,
    )
