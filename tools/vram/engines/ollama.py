"""Ollama: llama.cpp's arithmetic with Ollama's defaults (context by version and card, sequences, cache type)."""

from __future__ import annotations

import re
from dataclasses import replace

from tools.domain import Band, Deployment, Footprint, Gpu, note
from tools.units import GIB
from tools.vram.engines import llamacpp

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
NEWEST = (99, 0, 0)

CONTEXT_BEFORE = ((0, 6, 0), 2048)
"""Version before which the default context was 2,048 tokens (``envconfig/config.go``); then 4,096."""

BY_CARD_SINCE = (0, 15, 5)
"""Version from which the default context follows the memory of all cards (documentation, "Context length")."""

ONE_SEQUENCE_SINCE = (0, 11, 0)
"""Version from which ``OLLAMA_NUM_PARALLEL`` is 1 by default; before, 4 where they fit."""

FLASH_SINCE = (0, 12, 0)
"""Version from about which flash attention is used where a model allows it; before, only with
``OLLAMA_FLASH_ATTENTION=1``."""


def version_of(text: str | None) -> tuple[int, int, int]:
    """Read ``0.12.3``; what can't be read is taken as the newest."""
    found = _VERSION.search(text) if text else None
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else NEWEST


def default_context(version: tuple[int, int, int], cards_bytes: int) -> int:
    """Tokens of a sequence where ``num_ctx`` is not said.

    Args:
        version: of Ollama.
        cards_bytes: memory of all its cards, 0 = not known.
    """
    if version < CONTEXT_BEFORE[0]:
        return CONTEXT_BEFORE[1]
    if version < BY_CARD_SINCE or cards_bytes < 23 * GIB:
        return 4096
    return 32768 if cards_bytes < 47 * GIB else 262144


def as_llamacpp(deployment: Deployment, gpu: Gpu | None) -> Deployment:
    """Return the deployment with what Ollama tells llama.cpp: context, sequences, flash attention.

    Args:
        deployment: as it was asked for.
        gpu: the card, on whose memory the default context depends.
    """
    version = version_of(deployment.engine_version)
    cards = deployment.tp * deployment.pp
    users = deployment.max_num_seqs or (1 if version >= ONE_SEQUENCE_SINCE else 4)
    default = default_context(version, gpu.cuda_total_bytes * cards if gpu else 0)
    length = deployment.max_model_len or min(default, deployment.model.max_context)
    options = deployment.options
    flash = version >= FLASH_SINCE if options.flash_attention is None else options.flash_attention
    return replace(
        deployment,
        engine_version=None,
        max_num_seqs=users,
        max_model_len=length,
        options=replace(options, flash_attention=flash, unified=False if options.unified is None else options.unified),
    )


def footprint(deployment: Deployment, gpu: Gpu | None) -> Footprint:
    """Predict what Ollama takes on its fullest card.

    Raises:
        NotYetExact: the format or a layer is not covered.
        BadValue: a flag is absurd.
    """
    asked = as_llamacpp(deployment, gpu)
    found = llamacpp.footprint(asked, gpu)
    band = found.activation_bytes
    return replace(
        found,
        deployment=deployment,
        activation_bytes=Band(band.low, band.value, band.high * 1.5),
        assumptions=(*found.assumptions, note("engines.ollama")),
    )
