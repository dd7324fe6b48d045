"""Words of engines other than vLLM: their names, and the flags that change memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from tools.domain import EngineOptions
from tools.errors import BadValue

_NAMES = {
    "llamacpp": "llama.cpp",
    "llama-cpp": "llama.cpp",
    "llama-server": "llama.cpp",
    "lmstudio": "lm studio",
    "lm-studio": "lm studio",
    "oobabooga": "text-generation-webui",
    "textgen": "text-generation-webui",
    "exllama": "exllamav3",
    "hf": "transformers",
    "huggingface": "transformers",
}

MAX_WORDS = 400


def engine_name(word: object) -> str:
    """Return an engine's name as it is used here; ``vllm`` where none is said."""
    if word is None:
        return "vllm"
    name = str(word).strip().lower()[:60]
    return _NAMES.get(name, name)


def _flag(text: str) -> bool:
    if text.lower() in {"on", "1", "true", "enabled"}:
        return True
    if text.lower() in {"off", "0", "false", "disabled"}:
        return False
    raise ValueError(text)


def _flash(text: str) -> bool | None:
    return None if text.lower() == "auto" else _flag(text)


def _layers(text: str) -> int | None:
    return None if text.lower() in {"auto", "all", "-1"} else _count(text)


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1 << 40:
        raise ValueError(text)
    return value


def _positive(text: str) -> int | None:
    return _count(text) or None


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError(text)
    return value


def _split(text: str) -> tuple[float, ...]:
    shares = tuple(float(share) for share in re.split(r"[,/]", text)[:64])
    if any(not 0 <= share <= 1e9 for share in shares) or not sum(shares):
        raise ValueError(text)
    return shares


def _by_rows(text: str) -> bool:
    if text not in {"none", "layer", "row", "tensor"}:
        raise ValueError(text)
    return text == "row"


Reader = Callable[[str], Any]

_LLAMA: dict[str, tuple[str, Reader]] = {
    **dict.fromkeys(("ngl", "gpu-layers", "n-gpu-layers", "num-gpu"), ("gpu_layers", _layers)),
    **dict.fromkeys(("c", "ctx-size", "num-ctx", "ollama-context-length"), ("context_total", _positive)),
    **dict.fromkeys(("np", "parallel", "ollama-num-parallel"), ("max_num_seqs", _positive)),
    **dict.fromkeys(("ub", "ubatch-size"), ("max_num_batched_tokens", _positive)),
    **dict.fromkeys(("fa", "flash-attn", "ollama-flash-attention"), ("flash_attention", _flash)),
    **dict.fromkeys(("ctk", "cache-type-k", "cache-type", "ollama-kv-cache-type"), ("kv_cache_dtype", str)),
    **dict.fromkeys(("ctv", "cache-type-v"), ("value_dtype", str)),
    **dict.fromkeys(("ts", "tensor-split"), ("split", _split)),
    **dict.fromkeys(("sm", "split-mode"), ("by_rows", _by_rows)),
    **dict.fromkeys(("ncmoe", "n-cpu-moe"), ("experts_in_ram", _count)),
}
_SGLANG: dict[str, tuple[str, Reader]] = {
    "mem-fraction-static": ("static_share", _share),
    "max-total-tokens": ("total_tokens", _positive),
    "max-running-requests": ("max_num_seqs", _positive),
    "chunked-prefill-size": ("max_num_batched_tokens", _positive),
    "context-length": ("max_model_len", _positive),
}
_LLAMA_SWITCHES: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(("nkvo", "no-kv-offload"), ("cache_in_ram", True)),
    "swa-full": ("full_windows", True),
    **dict.fromkeys(("kvu", "kv-unified"), ("unified", True)),
    "no-kv-unified": ("unified", False),
    **dict.fromkeys(("cmoe", "cpu-moe"), ("experts_in_ram", 1 << 20)),
    **dict.fromkeys(("fa", "flash-attn"), ("flash_attention", True)),
}
_WEBUI_SWITCHES: dict[str, tuple[str, Any]] = {"load-in-4bit": ("load_bits", 4), "load-in-8bit": ("load_bits", 8)}
_LIKE_LLAMA = frozenset({"llama.cpp", "ollama", "lm studio", "text-generation-webui"})


def _vocabulary(engine: str) -> tuple[dict[str, tuple[str, Reader]], dict[str, tuple[str, Any]]]:
    if engine == "sglang":
        return _SGLANG, {}
    switches = _WEBUI_SWITCHES if engine in {"transformers", "text-generation-webui"} else {}
    return (_LLAMA, _LLAMA_SWITCHES | switches) if engine in _LIKE_LLAMA else ({}, switches)


def read_engine_flags(engine: str, text: object) -> tuple[EngineOptions, dict[str, Any], str]:
    """Read the flags of an engine out of a free-text hint.

    Args:
        engine: as ``engine_name`` returns it.
        text: e.g. ``"-ngl 99 -c 32768 -fa on -ctk q8_0"``, or a list of such.

    Returns:
        The engine's own settings, request fields that mean the same for every engine, and the words not read.

    Raises:
        BadValue: a flag's value is not one it can have.
    """
    if text is None:
        return EngineOptions(), {}, ""
    hint = " ".join(map(str, cast("Iterable[Any]", text))) if isinstance(text, list | tuple) else str(text)
    words = [word for word in re.split(r"[\s=;]+", hint[:4000]) if word][:MAX_WORDS]
    valued, switches = _vocabulary(engine)
    options: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    left: list[str] = []
    index = 0
    while index < len(words):
        name = words[index].lstrip("-").replace("_", "-").lower()
        following = words[index + 1] if index + 1 < len(words) else None
        if name in valued and following is not None and not re.fullmatch(r"-{1,2}[a-zA-Z].*", following):
            field, value = _read(name, following, valued[name])
            (options if field in _OPTIONS else fields)[field] = value
            index += 1
        elif name in switches:
            field, value = switches[name]
            options[field] = value
        else:
            left.append(words[index])
        index += 1
    if engine == "ollama" and "context_total" in options:
        fields["max_model_len"] = options.pop("context_total")
    return replace(EngineOptions(), **options), fields, " ".join(left)


_OPTIONS = frozenset(EngineOptions.__slots__)


def _read(name: str, word: str, how: tuple[str, Reader]) -> tuple[str, Any]:
    field, reader = how
    try:
        return field, reader(word)
    except (ValueError, OverflowError):
        raise BadValue("engines.bad_flag", flag=name, value=word[:40]) from None
