"""What an engine was started with: the dictionary it prints, its configuration's line, or the command itself.

The names that come out are those of ``rigfit estimate``'s options (``max_model_len``, ``tp``, ...) and a few more.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tools.errors import BadValue
from tools.units import GIB, parse_size

NAMES = {
    "model": "model", "model_tag": "model", "model_path": "model", "hf_repo": "model",
    "served_model_name": "served_model_name", "tensor_parallel_size": "tp", "tp_size": "tp", "tp": "tp",
    "pipeline_parallel_size": "pp", "pp_size": "pp", "pp": "pp", "data_parallel_size": "dp", "dp_size": "dp",
    "max_model_len": "max_model_len", "max_seq_len": "max_model_len", "context_length": "max_model_len",
    "ctx_size": "max_model_len", "max_num_seqs": "max_num_seqs", "max_running_requests": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens", "gpu_memory_utilization": "gpu_memory_utilization",
    "device_memory_utilization": "gpu_memory_utilization",
    "kv_cache_memory_bytes": "kv_cache_memory_bytes", "kv_cache_memory": "kv_cache_memory_bytes",
    "kv_cache_dtype": "kv_cache_dtype", "cache_type_k": "kv_cache_dtype", "dtype": "dtype",
    "enforce_eager": "enforce_eager", "disable_cuda_graph": "enforce_eager",
    "enable_expert_parallel": "ep", "quantization": "quantization", "cpu_offload_gb": "cpu_offload_gb",
    "enable_sleep_mode": "sleep_mode", "speculative_config": "speculative_config",
    "speculative_algorithm": "speculative_config", "mem_fraction_static": "mem_fraction_static",
    "n_gpu_layers": "gpu_layers", "gpu_layers": "gpu_layers", "port": "port", "enable_lora": "enable_lora",
    "block_size": "block_size", "enable_prefix_caching": "prefix_caching", "load_format": "load_format",
    "disable_hybrid_kv_cache_manager": "one_cache", "language_model_only": "text_only",
    "decode_context_parallel_size": "dcp", "cpu_offload_params": "cpu_offload_params",
    "offload_group_size": "offload_group_size", "offload_num_in_group": "offload_num_in_group",
    "offload_prefetch_step": "offload_prefetch_step",
}  # fmt: skip
"""An engine's word (dashes as underscores) to ours. Others are passed over."""
_SHORT = {
    "-tp": "tp", "-pp": "pp", "-dp": "dp", "-c": "max_model_len", "-ngl": "gpu_layers", "-np": "max_num_seqs",
    "-m": "model", "-hf": "model", "-ctk": "kv_cache_dtype", "-q": "quantization", "-ub": "max_num_batched_tokens",
}  # fmt: skip
_SWITCHES = frozenset({"enforce_eager", "ep", "sleep_mode", "enable_lora", "prefix_caching", "one_cache", "text_only"})
_DRAFT = re.compile(r"['\"]?method['\"]?\s?[:=]\s?['\"]?(\w{2,30})")
_DRAFT_TOKENS = re.compile(r"['\"]?num_spec(?:ulative)?_tokens['\"]?\s?[:=]\s?(\d{1,3})")
_DRAFT_CHARS = 400
_PAIR = re.compile(
    r"(?:'(\w{2,40})': |(?<![\w.])(\w{2,40})=)"
    r"('[^']{0,300}'|\"[^\"]{0,300}\"|-?\d{1,15}(?:\.\d{1,9})?(?:e-?\d{1,2})?|True|False|None|torch\.\w{2,20}|[\w.:/-]{1,120}"
    r"|\[[^\[\]]{0,300}\]|(?:SpeculativeConfig)?[({])"
)
_COMMAND = re.compile(
    r"vllm[./]entrypoints|\bvllm serve\b|api_server\b|sglang[.-]launch|sglang serve|llama-server|llama-cli|server\.py"
)
_SERVED = re.compile(r"(?:vllm|sglang) serve (?!-)(\S{1,200})")
_MAX_PAIRS = 2000
_FLAG_LINE = re.compile(r"(?:- )?[\"']?(--[a-z]|-(?:tp|pp|c|ngl|np|m|hf|ctk) )")


def printed(text: str) -> dict[str, Any]:
    """Read ``{'model': 'x', 'max_model_len': 8192}``, ``Namespace(model='x', ...)`` or ``model='x', dtype=...``."""
    found: dict[str, Any] = {}
    for number, match in enumerate(_PAIR.finditer(text)):
        if number >= _MAX_PAIRS:
            break
        name = NAMES.get(match.group(1) or match.group(2))
        if name and name not in found:
            value = _value(name, match.group(3).strip("'\""))
            if name == "speculative_config" and value is not None:
                value = _draft(text[match.start() : match.start() + _DRAFT_CHARS])
            if value is not None:
                found[name] = value
    return found


def _draft(text: str) -> str:
    """Read how tokens are drafted: ``mtp n=3`` (of ``deepseek_mtp`` as well); ``draft`` where it is not said."""
    method, tokens = _DRAFT.search(text), _DRAFT_TOKENS.search(text)
    said = method.group(1).lower() if method else "draft"
    word = "mtp" if "mtp" in said else said
    return f"{word} n={tokens.group(1)}" if tokens else word


def is_command(text: str) -> bool:
    """Whether a line starts an engine, or is a line of flags of such a command (a shell's, or a YAML list's)."""
    return _COMMAND.search(text) is not None or _FLAG_LINE.match(text) is not None


def commanded(text: str) -> dict[str, Any]:
    """Read the flags of a command line: ``vllm serve Qwen/Qwen3-8B --max-model-len 8192 -tp 2``."""
    found: dict[str, Any] = {}
    served = _SERVED.search(text)
    if served:
        found["model"] = served.group(1).strip("'\"\\")
    words = list(_words(text))
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        name = _SHORT.get(flag) if not flag.startswith("--") else NAMES.get(flag[2:].replace("-", "_"))
        if not name or (name in found and name != "model"):
            continue
        after = words[place + 1] if place + 1 < len(words) else ""
        said = value or ("" if after.startswith("-") and not after[1:2].isdigit() else after)
        read = True if name in _SWITCHES and said.lower() not in {"false", "0"} else _value(name, said)
        if read not in (None, ""):
            found[name] = read
    return found


def _words(text: str) -> Iterator[str]:
    """Split a command as a shell does; where its quotes don't match, at white space."""
    try:
        words = shlex.split(text[:8000], comments=False)
    except ValueError:
        words = text[:8000].split()
    for word in words:
        bare = word.strip('",[]\\').rstrip("?!;.")
        if bare and bare != "-":
            yield bare


def _value(name: str, text: str) -> Any:
    """Read a value of a named argument; None where it says nothing or can't be one."""
    if text in {"None", "", "auto", "null"}:
        return None
    try:
        return _READERS.get(name, str)(text)
    except (ValueError, OverflowError, BadValue):
        return None


def _count(text: str) -> int:
    """Read ``32768``, ``32k`` (32,000) and ``32K`` (32,768), as vLLM's flags do."""
    factor = {"k": 1000, "K": 1024, "m": 10**6, "M": 1 << 20}.get(text[-1:], 1)
    value = float(text[:-1] if factor > 1 else text)
    if not 0 < value * factor <= 1 << 40:
        raise ValueError(text)
    return round(value * factor)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError(text)
    return value


def _bytes(text: str) -> int:
    return parse_size(text)


def _bool(text: str) -> bool:
    return text.lower() in {"true", "1", "yes"}


def _kind(text: str) -> str:
    """Read ``fp8``, ``torch.bfloat16``, ``q8_0``: a kind is named by a word, so a number is none."""
    kind = text.removeprefix("torch.")
    if not kind[:1].isalpha():
        raise ValueError(text)
    return kind


def _gibibytes(text: str) -> float:
    value = float(text)
    if not 0 < value * GIB < 1 << 50:
        raise ValueError(text)
    return value


_READERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("tp", "pp", "dp", "gpu_layers", "port", "block_size", "dcp"), _count),
    **dict.fromkeys(("max_model_len", "max_num_seqs", "max_num_batched_tokens"), _count),
    "gpu_memory_utilization": _share, "mem_fraction_static": _share, "kv_cache_memory_bytes": _bytes,
    **dict.fromkeys(_SWITCHES, _bool),
    **dict.fromkeys(("dtype", "kv_cache_dtype", "quantization", "load_format"), _kind),
    "cpu_offload_gb": _gibibytes,
}  # fmt: skip
