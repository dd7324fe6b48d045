"""The one builder of SGLang's flags.

Flag names and meanings: ``python3 -m sglang.launch_server --help`` of SGLang 0.5.23, whose parser ``tools/launch/data``
records. It serves one name and answers to any other too (``entrypoints/openai/serving_base.py``).
"""

from __future__ import annotations

import math

from tools.domain import Checkpoint, InstancePlan
from tools.errors import BadValue
from tools.launch.argv.words import FlagValue, checked_port, checked_word
from tools.units import GIB

_DTYPES = {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32"}

IN_FLIGHT = {"fp8_online": "fp8", "bnb_nf4": "bitsandbytes"}
"""``--quantization`` by the storage method of a checkpoint that the engine quantises while it loads."""

_CACHES = {"fp8": "fp8_e4m3", "fp8_e4m3": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2"}


def sglang_flags(instance: InstancePlan) -> dict[str, FlagValue]:
    """Return the engine flags of an instance, by name without dashes, in a fixed order.

    Address and port are the launcher's business and not among them. Flags left at the engine's default are absent.
    Parsers of tool calls and of reasoning are found by the engine from the model's chat template (``auto``).

    Raises:
        BadValue: a name that the command line cannot carry, or a type of cache that the engine has not.
    """
    deployment, checkpoint, options = instance.deployment, instance.deployment.checkpoint, instance.deployment.options
    wanted: dict[str, FlagValue | None] = {
        "model-path": checked_word(checkpoint.repo),
        "served-model-name": _served(instance),
        "revision": checked_word(checkpoint.revision) if checkpoint.revision else None,
        "dtype": _dtype(checkpoint),
        "quantization": IN_FLIGHT.get(checkpoint.quantization.method) if checkpoint.in_flight else None,
        "tp-size": deployment.tp if deployment.tp > 1 else None,
        "pp-size": deployment.pp if deployment.pp > 1 else None,
        "ep-size": deployment.tp if deployment.ep and deployment.tp > 1 else None,
        "context-length": deployment.max_model_len,
        "max-running-requests": deployment.max_num_seqs,
        "chunked-prefill-size": deployment.max_num_batched_tokens,
        "mem-fraction-static": options.static_share or deployment.gpu_memory_utilization,
        "max-total-tokens": options.total_tokens,
        "kv-cache-dtype": _cache(deployment.kv_dtype),
        "cpu-offload-gb": math.ceil(deployment.cpu_offload_bytes / GIB) or None,
        "disable-cuda-graph": deployment.enforce_eager or None,
        "reasoning-parser": "auto" if _chats(instance) else None,
        "tool-call-parser": "auto" if _chats(instance) else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def sglang_argv(instance: InstancePlan, *, host: str | None = None, port: int | None = None) -> list[str]:
    """Return the whole command that starts an instance: ``["python3", "-m", "sglang.launch_server", ...]``.

    Args:
        instance: an engine process of a plan.
        host: address to listen on (``None`` = the engine's default, 127.0.0.1).
        port: TCP port to listen on (``None`` = 30000).

    Raises:
        BadValue: as ``sglang_flags``; or a port outside 1-65535.
    """
    flags = sglang_flags(instance)
    if host is not None:
        flags["host"] = checked_word(host)
    if port is not None:
        flags["port"] = checked_port(port)
    words = ["python3", "-m", "sglang.launch_server"]
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def _served(instance: InstancePlan) -> str | None:
    """The first name; a colon in it would name an adapter (``arg_groups/validation_hook.py``)."""
    if not instance.served_names:
        return None
    name = checked_word(instance.served_names[0])
    if ":" in name:
        raise BadValue("launch_sglang.bad_name", name=name)
    return name


def _dtype(checkpoint: Checkpoint) -> str | None:
    if checkpoint.quantization.method != "none" and not checkpoint.in_flight:
        return None
    return _DTYPES.get(checkpoint.dtype)


def _cache(word: str) -> str | None:
    if word == "auto":
        return None
    if word not in _CACHES:
        raise BadValue("errors_vram.bad_kv_dtype", value=word[:40], allowed=", ".join(_CACHES))
    return _CACHES[word]


def _chats(instance: InstancePlan) -> bool:
    """A base model has no chat template that could name a parser."""
    words = instance.deployment.checkpoint.repo.lower().replace("_", "-").rsplit("/", 1)[-1].split("-")
    return "base" not in words
