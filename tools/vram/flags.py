"""Engine flags in free text (``extra_flags``): what is understood, as fields of a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, cast

from tools.domain import Note, note
from tools.units import GIB
from tools.vram.phrases import read_phrases


def _gibibytes(text: str) -> int:
    return round(float(text) * GIB)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _human(text: str) -> int:
    """Read a count as vLLM does: ``24G`` is binary, ``24g`` decimal (``engine/arg_utils.py:human_readable_int``)."""
    unit = text[-1:] if text[-1:].isalpha() else ""
    if unit not in _UNITS:
        raise ValueError(text)
    return round(float(text.removesuffix(unit)) * _UNITS[unit])


_FLAGS: dict[str, tuple[str, Callable[[str], int | float | str]]] = {
    "tensor-parallel-size": ("tp", int),
    "tp": ("tp", int),
    "pipeline-parallel-size": ("pp", int),
    "data-parallel-size": ("dp", int),
    "dp": ("dp", int),
    "max-num-seqs": ("max_num_seqs", int),
    "max-model-len": ("max_model_len", int),
    "max-num-batched-tokens": ("max_num_batched_tokens", int),
    "gpu-memory-utilization": ("gpu_memory_utilization", float),
    "kv-cache-dtype": ("kv_cache_dtype", str),
    "cpu-offload-gb": ("cpu_offload_bytes", _gibibytes),
    "cpu-offload-params": ("offload_params", str),
    "offload-params": ("offload_params", str),
    "offload-group-size": ("offload_group", int),
    "offload-num-in-group": ("offload_in_group", int),
    "offload-prefetch-step": ("offload_ahead", int),
    "load-format": ("load_format", str),
    "block-size": ("block_size", int),
    "num-speculative-tokens": ("draft_tokens", int),
    "decode-context-parallel-size": ("dcp", int),
    "dcp": ("dcp", int),
    "kv-cache-memory-bytes": ("kv_cache_memory_bytes", _human),
    "kv-cache-memory": ("kv_cache_memory_bytes", _human),
    "mm-encoder-tp-mode": ("encoder_mode", str),
    "mamba-ssm-cache-dtype": ("state_dtype", str),
}
MAX_HINT = 4000
"""Characters of a hint that are read."""
PREFETCH = ("offload_group", "offload_in_group", "offload_ahead")
_SWITCHES: dict[str, tuple[str, bool]] = {
    "enforce-eager": ("enforce_eager", True),
    "enable-expert-parallel": ("ep", True),
    "enable-sleep-mode": ("sleep_mode", True),
    "enable-prefix-caching": ("prefix_caching", True),
    "no-enable-prefix-caching": ("prefix_caching", False),
    "language-model-only": ("text_only", True),
    "disable-hybrid-kv-cache-manager": ("cache_groups", False),
    "no-disable-hybrid-kv-cache-manager": ("cache_groups", True),
}


def read_flags(text: object) -> tuple[dict[str, Any], tuple[Note, ...]]:
    """Use what is understood of a free-text hint of flags; list the rest.

    Args:
        text: e.g. ``"--enforce-eager --max-num-seqs 8 (spec decode)"``, or a list of such.

    Returns:
        Request fields, and a note with what was not used.
    """
    if text is None:
        return {}, ()
    hint = " ".join(map(str, cast("Iterable[Any]", text))) if isinstance(text, list | tuple) else str(text)
    found, hint = read_phrases(hint[:MAX_HINT])
    words = re.split(r"[\s=,;]+", hint)
    unused: list[str] = []
    index = 0
    while index < len(words):
        name = words[index].lstrip("-").replace("_", "-")
        if name in _SWITCHES:
            switch, value = _SWITCHES[name]
            found[switch] = value
        elif name in _FLAGS and index + 1 < len(words):
            index += _flag_value(name, words[index + 1], found, unused)
        elif words[index]:
            unused.append(words[index])
        index += 1
    return found, (note("vram.flags_unused", flags=" ".join(unused)[:200]),) if unused else ()


def _flag_value(name: str, word: str, found: dict[str, Any], unused: list[str]) -> int:
    """Read a flag's value into ``found``; returns how many words it took."""
    field, kind = _FLAGS[name]
    try:
        found[field] = kind(word)
    except (ValueError, OverflowError):
        unused.append(name)
        return 0
    return 1
