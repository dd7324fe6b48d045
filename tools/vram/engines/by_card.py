"""What each card holds, and each layer takes, of an engine that places whole layers on cards."""

from __future__ import annotations

import math
from dataclasses import replace

from tools.domain import Deployment, Gpu
from tools.units import GIB
from tools.vram.engines import llamacpp, ollama
from tools.vram.engines.dispatch import engine_footprint
from tools.vram.engines.llamacpp_cache import cache_of


def bytes_by_card(deployment: Deployment, gpu: Gpu | None) -> tuple[int, ...]:
    """Return everything a process takes of each of its cards; the largest is its footprint's total.

    Args:
        deployment: as for the engine's footprint.
        gpu: the card, where the engine's defaults depend on it.

    Raises:
        NotYetExact: the architecture or the format is not covered.
        BadValue: a flag is absurd.
    """
    asked = as_llamacpp(deployment, gpu)
    if asked is None:
        total = engine_footprint(deployment)(deployment, gpu).total_bytes
        return (total,) * (deployment.tp * deployment.pp)
    context = llamacpp.CONTEXT_GIB[1] * GIB
    cards = llamacpp.cards_of(asked, llamacpp.file_parts(asked))
    return tuple(math.ceil(card.total + (context if card.weights or card.cache.bytes else 0.0)) for card in cards)


def slot_bytes(deployment: Deployment, gpu: Gpu | None) -> tuple[int, ...]:
    """Return what each slot on cards takes, in order: layers that are not in RAM with their cache, then the output.

    Args:
        deployment: of llama.cpp or an engine that follows it.
        gpu: the card, where the engine's defaults depend on it.

    Raises:
        NotYetExact: the architecture or the format is not covered.
    """
    asked = as_llamacpp(deployment, gpu) or deployment
    model, options = asked.model, asked.options
    parts = llamacpp.file_parts(asked)
    count = len(model.layers)
    first = 0 if options.gpu_layers is None else max(0, count + 1 - options.gpu_layers)
    on_cards = tuple(range(first, count))
    cache = cache_of(asked, on_cards, llamacpp.build_of(asked.engine_version)).bytes // max(1, len(on_cards))
    kept = [parts.layers[i] - (parts.experts[i] if i < options.experts_in_ram else 0) + cache for i in on_cards]
    return (*kept, parts.output + (parts.table if model.tied_embeddings else 0))


def as_llamacpp(deployment: Deployment, gpu: Gpu | None) -> Deployment | None:
    """Return the deployment with llama.cpp's own settings; None where the engine does not follow llama.cpp."""
    if deployment.engine == "ollama":
        deployment = ollama.as_llamacpp(deployment, gpu)
    elif deployment.engine == "text-generation-webui" and deployment.checkpoint.quantization.method == "gguf":
        deployment = replace(deployment, engine_version=None)
    elif deployment.engine not in {"llama.cpp", "lm studio"}:
        return None
    return llamacpp.settled(deployment)
