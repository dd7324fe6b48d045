"""The one builder of vLLM's flags.

Flag names and meanings: ``vllm serve --help`` of vLLM 0.32.0, whose parser ``tools/launch/data`` records.
"""

from __future__ import annotations

import math

from tools.domain import Checkpoint, Deployment, InstancePlan
from tools.errors import BadValue
from tools.launch.argv.words import FlagValue, checked_port, checked_word
from tools.units import GIB

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}

IN_FLIGHT = {
    # "--quantization fp8 is deprecated for online quantization; use --quantization fp8_per_tensor instead",
    # model_executor/model_loader/weight_utils.py, vLLM 0.32.0
    "fp8_online": "fp8_per_tensor",
    # offered by the package vllm-bnb-plugin; in the engine itself until vLLM 0.27 (vllm-project/vllm#43529)
    "bnb_nf4": "bitsandbytes",
}
"""``--quantization`` by the storage method of a checkpoint that the engine quantises while it loads."""


def vllm_flags(instance: InstancePlan) -> dict[str, FlagValue]:
    """Return the engine flags of an instance, by name without dashes, in a fixed order.

    Address and port are the launcher's business and not among them. Flags left at the engine's default are absent.

    Args:
        instance: an engine process of a plan.

    Returns:
        For ``--gpu-memory-utilization 0.45 --enforce-eager``:
        ``{"gpu-memory-utilization": 0.45, "enforce-eager": True}``. Several served names are joined by a space.

    Raises:
        BadValue: a name that a command line cannot carry.
    """
    return {name: " ".join(value) if isinstance(value, tuple) else value for name, value in _flags(instance).items()}


def vllm_argv(instance: InstancePlan, *, host: str | None = None, port: int | None = None) -> list[str]:
    """Return the whole command that starts an instance: ``["vllm", "serve", REPO, "--served-model-name", ...]``.

    Args:
        instance: an engine process of a plan.
        host: address to listen on (``None`` = the engine's default, every address).
        port: TCP port to listen on (``None`` = 8000).

    Returns:
        Words for ``exec``; quote them with ``shlex.join`` before a shell sees them.

    Raises:
        BadValue: as ``vllm_flags``; or a port outside 1-65535.
    """
    flags = _flags(instance)
    if host is not None:
        flags["host"] = checked_word(host)
    if port is not None:
        flags["port"] = checked_port(port)
    words = ["vllm", "serve", checked_word(instance.deployment.checkpoint.repo)]
    for name, value in flags.items():
        words += _words(name, value)
    return words


def _flags(instance: InstancePlan) -> dict[str, FlagValue | tuple[str, ...]]:
    deployment = instance.deployment
    checkpoint = deployment.checkpoint
    wanted: dict[str, FlagValue | tuple[str, ...] | None] = {
        "served-model-name": tuple(checked_word(name) for name in instance.served_names) or None,
        "revision": checked_word(checkpoint.revision) if checkpoint.revision else None,
        "dtype": _dtype(checkpoint),
        "quantization": _quantization(checkpoint),
        "tensor-parallel-size": deployment.tp if deployment.tp > 1 else None,
        "pipeline-parallel-size": deployment.pp if deployment.pp > 1 else None,
        "enable-expert-parallel": deployment.ep or None,
        "max-model-len": deployment.max_model_len,
        "max-num-seqs": deployment.max_num_seqs,
        "max-num-batched-tokens": deployment.max_num_batched_tokens,
        "gpu-memory-utilization": deployment.gpu_memory_utilization,
        "kv-cache-memory-bytes": deployment.kv_cache_memory_bytes,
        "kv-cache-dtype": deployment.kv_dtype if deployment.kv_dtype != "auto" else None,
        "cpu-offload-gb": _offload_gib(deployment),
        "enable-sleep-mode": deployment.sleep_mode or None,
        "enforce-eager": deployment.enforce_eager or None,
    }
    flags = {name: value for name, value in wanted.items() if value is not None}
    return flags | _extra(deployment.extra_flags)


def _dtype(checkpoint: Checkpoint) -> str | None:
    """16-bit weights say their type; a quantised repository's own config decides its compute type."""
    if checkpoint.quantization.method != "none" and not checkpoint.in_flight:
        return None
    return _DTYPES.get(checkpoint.dtype, checkpoint.dtype)


def _quantization(checkpoint: Checkpoint) -> str | None:
    """A quantised repository is recognised from its config; only quantisation in flight needs the flag."""
    return IN_FLIGHT.get(checkpoint.quantization.method) if checkpoint.in_flight else None


def _offload_gib(deployment: Deployment) -> float | None:
    """GiB per GPU (``config/offload.py``, vLLM 0.32.0), rounded up to a hundredth."""
    return math.ceil(deployment.cpu_offload_bytes / GIB * 100) / 100 or None


def _extra(words: tuple[str, ...]) -> dict[str, FlagValue | tuple[str, ...]]:
    """Read ``("--a", "1", "--b=2", "--c")`` as flags; they override what the plan sets."""
    values: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            current = values[name] = [value] if equals else []
        elif current is None:
            raise BadValue("errors_launch.bad_word", value=word)
        else:
            current.append(word)
    return {
        name: True if not found else found[0] if len(found) == 1 else tuple(found) for name, found in values.items()
    }


def _words(name: str, value: FlagValue | tuple[str, ...]) -> list[str]:
    if value is True:
        return [f"--{name}"]
    if isinstance(value, tuple):
        return [f"--{name}", *value]
    text = str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
