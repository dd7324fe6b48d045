"""What has to be asked before a question can be answered, and what kind of answer it expects."""

from __future__ import annotations

import re

from agent.reader.lexicon import Lexicon
from tools.domain import ModelAsk, Reading

_NEEDS_GPU = frozenset(
    {
        "fit",
        "max_context",
        "max_users",
        "max_copies",
        "which_quant",
        "which_model",
        "throughput",
        "config",
        "explain_error",
    }
)
_NEEDS_MODEL = frozenset(
    {
        "fit",
        "memory_needed",
        "hardware_needed",
        "how_many_gpus",
        "max_context",
        "max_users",
        "max_copies",
        "which_quant",
        "throughput",
        "config",
    }
)


def must_ask(reading: Reading, lexicon: Lexicon, *, no_gpu: bool, from_disk: bool, unclear: bool) -> tuple[str, ...]:
    """Return what is missing, most important first.

    Args:
        reading: what was said.
        lexicon: which families have one size only.
        no_gpu: the asker has no card, so it is not asked for.
        from_disk: weights are to come from disk, so RAM decides, not the card.
        unclear: nothing in the text tells what is wanted.
    """
    asks: list[str] = []
    gpu_known = any(g.name or g.memory_gb for g in reading.gpus)
    concept = reading.intent in {"compare", "other", "which_model"}
    if not reading.models and _model_is_needed(reading, gpu_known):
        asks.append("model")
    elif (
        reading.models
        and any(_size_is_open(m, lexicon) for m in reading.models)
        and not concept
        and not (reading.intent == "explain_error" and gpu_known)
    ):
        asks.append("model_size")
    if unclear:
        asks.append("task")
    if reading.intent in _NEEDS_GPU and not gpu_known and not no_gpu and not reading.wants_this_machine:
        if from_disk:
            asks += ["ram"] if reading.ram_gb is None else []
        elif not reading.ram_gb and not _counted(reading):
            asks.append("gpu")
    if reading.intent in {"throughput", "fit"} and any(g.count is None for g in reading.gpus) and gpu_known:
        asks.append("count")
    return tuple(asks)


def _counted(reading: Reading) -> bool:
    """Unnamed cards by the dozen in an error about their number need no name."""
    return reading.intent == "explain_error" and any((g.count or 0) > 2 for g in reading.gpus)


def _model_is_needed(reading: Reading, gpu_known: bool) -> bool:
    if reading.intent == "explain_error":
        return not reading.gpus
    if reading.intent == "config" and len(reading.gpus) > 1:
        return False
    return reading.intent in _NEEDS_MODEL


def _size_is_open(model: ModelAsk, lexicon: Lexicon) -> bool:
    name = model.name or ""
    if (
        model.size_b is not None
        or " model" in name
        or name.startswith("model")
        or re.search(r"\d+x\d+B|A\d+B|E\dB", model.variant or "")
    ):
        return False
    rules = lexicon.names["rules"]
    return name.split("-")[0].split(" ")[0].rstrip("0123456789.") in _sized(lexicon) and not any(
        name.startswith(one) for one in rules["one_size"]
    )


def _sized(lexicon: Lexicon) -> frozenset[str]:
    return frozenset(family.split("-")[0] for family in lexicon.names["rules"]["versions"])
