"""The one builder of vLLM's flags.

Flag names and meanings: ``vllm serve --help`` of vLLM 0.32.0, whose parser ``tools/launch/data`` records.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from tools.domain import Checkpoint, Deployment, Gpu, InstancePlan
from tools.errors import BadValue
from tools.launch.argv.vllm_context import overrides_for
from tools.launch.argv.vllm_parsers import parsers_for
from tools.launch.argv.words import FlagValue, checked_port, checked_word
from tools.launch.recorded import recorded
from tools.plan.kernel_data import NO_HALF
from tools.plan.kernels import BF16_MINIMUM, capability, fp8_cache_runs
from tools.units import GIB

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}

_REMOTE_TOKENIZERS = frozenset({"kimi_k2", "kimi_k25", "kimi_linear", "kimi_vl"})
"""Types of models whose tokenizer is code in the repository (vllm-project/recipes, models/moonshotai)."""

IN_FLIGHT = {
    # "--quantization fp8 is deprecated for online quantization; use --quantization fp8_per_tensor instead",
    # model_executor/model_loader/weight_utils.py, vLLM 0.32.0
    "fp8_online": "fp8_per_tensor",
    # offered by the package vllm-bnb-plugin; in the engine itself until vLLM 0.27 (vllm-project/vllm#43529)
    "bnb_nf4": "bitsandbytes",
}
"""``--quantization`` by the storage method of a checkpoint that the engine quantises while it loads."""

CPU_CACHE_BYTES = GIB
"""The cache of an engine on the processor: it would take a share of the machine's RAM (v1/worker/cpu_worker.py)."""

CPU_BLOCK_TOKENS = 128
"""Tokens a block of the cache has on the processor (``CpuPlatform.check_and_update_config``, vLLM 0.32.0)."""

_Flags = dict[str, FlagValue | tuple[str, ...]]


def vllm_flags(instance: InstancePlan, *, gpus: Sequence[Gpu] = (), cpu: bool = False) -> dict[str, FlagValue]:
    """Return the engine flags of an instance, by name without dashes, in a fixed order.

    Address and port are the launcher's business and not among them. Flags left at the engine's default are absent.
    Which kernels compute a quantised checkpoint (Marlin, Machete, CUTLASS ...) is the engine's own choice.

    Args:
        instance: an engine process of a plan.
        gpus: its cards, where they are known: on those before Ampere 16-bit parts must be float16.
        cpu: for the processor instead of cards: bfloat16, no compiling, a small cache.

    Returns:
        For ``--gpu-memory-utilization 0.45 --enforce-eager``:
        ``{"gpu-memory-utilization": 0.45, "enforce-eager": True}``. Several served names are joined by a space.

    Raises:
        BadValue: a name that a command line cannot carry; a context beyond the model's that no known way reaches; a
            draft without its model.
    """
    flags = _flags(instance, gpus, cpu=cpu)
    return {name: " ".join(value) if isinstance(value, tuple) else value for name, value in flags.items()}


def vllm_argv(
    instance: InstancePlan,
    *,
    host: str | None = None,
    port: int | None = None,
    middleware: str | None = None,
    gpus: Sequence[Gpu] = (),
    cpu: bool = False,
) -> list[str]:
    """Return the whole command that starts an instance: ``["vllm", "serve", REPO, "--served-model-name", ...]``.

    Args:
        instance: an engine process of a plan.
        host: address to listen on (``None`` = the engine's default, every address).
        port: TCP port to listen on (``None`` = 8000).
        middleware: a class that sees every request first, as ``module.Class`` on the engine's path.
        gpus: as ``vllm_flags``.
        cpu: as ``vllm_flags``.

    Returns:
        Words for ``exec``; quote them with ``shlex.join`` before a shell sees them.

    Raises:
        BadValue: as ``vllm_flags``; or a port outside 1-65535.
    """
    flags = _flags(instance, gpus, cpu=cpu)
    if host is not None:
        flags["host"] = checked_word(host)
    if port is not None:
        flags["port"] = checked_port(port)
    if middleware is not None:
        flags["middleware"] = checked_word(middleware)
    return ["vllm", "serve", checked_word(instance.deployment.checkpoint.repo), *flag_words(flags)]


def preload_argv(instance: InstancePlan, *, health_port: int, gpus: Sequence[Gpu] = ()) -> list[str]:
    """Return the command of the daemon that holds an instance's weights for several engines (``vllm preload``).

    What decides the weights must be said to the daemon as to the engines (``WeightCacheKey``, vLLM 0.32.0,
    model_executor/model_loader/weight_cache/protocol.py).

    Args:
        instance: one of the engines that will map the weights.
        health_port: where ``GET /health`` answers 200 once the weights are there.
        gpus: as ``vllm_flags``.

    Raises:
        BadValue: as ``vllm_argv``.
    """
    flags = {name: value for name, value in _flags(instance, gpus, cpu=False).items() if name in _OF_WEIGHTS}
    flags |= {"weight-cache-health-host": "127.0.0.1", "weight-cache-health-port": checked_port(health_port)}
    repo = checked_word(instance.deployment.checkpoint.repo)
    return ["vllm", "preload", "--model", repo, *flag_words(flags)]


_OF_WEIGHTS = (
    "revision",
    "trust-remote-code",
    "dtype",
    "quantization",
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "data-parallel-size",
    "enable-expert-parallel",
    "max-model-len",
    "language-model-only",
    "speculative-config",
    "hf-overrides",
)


def _flags(instance: InstancePlan, gpus: Sequence[Gpu], *, cpu: bool) -> _Flags:
    deployment, checkpoint = instance.deployment, instance.deployment.checkpoint
    parsers = parsers_for(deployment)
    wanted: dict[str, FlagValue | tuple[str, ...] | None] = {
        "served-model-name": tuple(checked_word(name) for name in instance.served_names) or None,
        "revision": checked_word(checkpoint.revision) if checkpoint.revision else None,
        "trust-remote-code": needs_remote_code(deployment) or None,
        "dtype": _dtype(deployment, gpus, cpu=cpu),
        "quantization": _quantization(checkpoint),
        **(_on_cpu(instance) if cpu else _on_cards(deployment)),
        "language-model-only": deployment.text_only or None,
        "speculative-config": _draft(deployment),
        "hf-overrides": overrides_for(deployment),
        "reasoning-parser": parsers.reasoning or None,
        "enable-auto-tool-choice": bool(parsers.tools) or None,
        "tool-call-parser": parsers.tools or None,
    }
    return {name: value for name, value in wanted.items() if value is not None} | _extra(deployment.extra_flags)


def _on_cards(deployment: Deployment) -> dict[str, FlagValue | tuple[str, ...] | None]:
    grouped = deployment.cache_groups
    return {
        "tensor-parallel-size": deployment.tp if deployment.tp > 1 else None,
        "pipeline-parallel-size": deployment.pp if deployment.pp > 1 else None,
        "data-parallel-size": deployment.dp if deployment.dp > 1 else None,
        "decode-context-parallel-size": deployment.dcp if deployment.dcp > 1 else None,
        "enable-expert-parallel": deployment.ep or None,
        **_load(deployment),
        "gpu-memory-utilization": deployment.gpu_memory_utilization,
        "kv-cache-memory-bytes": deployment.kv_cache_memory_bytes,
        "kv-cache-dtype": deployment.kv_dtype if deployment.kv_dtype != "auto" else None,
        "block-size": deployment.block_size,
        **_switch("enable-prefix-caching", deployment.prefix_caching),
        **_switch("disable-hybrid-kv-cache-manager", None if grouped is None else not grouped),
        **_offload(deployment),
        "enable-sleep-mode": deployment.sleep_mode or None,
        "load-format": "ipc_cache" if deployment.weights_elsewhere else None,
        # wait for the daemon instead of loading a second copy (docs/features/preload.md)
        "model-loader-extra-config": '{"fallback": false}' if deployment.weights_elsewhere else None,
        "enforce-eager": deployment.enforce_eager or None,
    }


def cpu_cache_bytes(instance: InstancePlan) -> int:
    """Return the cache of an engine on the processor: small, but enough for one sequence of the full length."""
    deployment, footprint = instance.deployment, instance.footprint
    planned = deployment.kv_cache_memory_bytes or CPU_CACHE_BYTES
    last_block = (footprint.kv_bytes_per_token or 0) * CPU_BLOCK_TOKENS
    one = math.ceil(footprint.kv_needed_bytes / (deployment.max_num_seqs or 1)) + last_block
    if deployment.kv_dtype != "auto":
        one *= 2  # there the cache has the model's 16-bit type
    return max(min(planned, CPU_CACHE_BYTES), one)


def _on_cpu(instance: InstancePlan) -> dict[str, FlagValue | tuple[str, ...] | None]:
    """One rank; what the processor has no kernels for, or no need of, is left out."""
    return {
        **_load(instance.deployment),
        "kv-cache-memory-bytes": cpu_cache_bytes(instance),
        # compiling took 70-90 s for a model of 135M parameters on two cores, and it starts at once without
        "enforce-eager": True,
    }


def _load(deployment: Deployment) -> dict[str, FlagValue | tuple[str, ...] | None]:
    return {
        "max-model-len": deployment.max_model_len,
        "max-num-seqs": deployment.max_num_seqs,
        "max-num-batched-tokens": deployment.max_num_batched_tokens,
    }


def _switch(name: str, value: bool | None) -> dict[str, FlagValue]:
    return {} if value is None else {name if value else f"no-{name}": True}


def needs_remote_code(deployment: Deployment) -> bool:
    """Tell whether the engine must run code from the model's repository to read its configuration or its text."""
    kind = deployment.model.model_type
    return kind in _REMOTE_TOKENIZERS or kind in recorded()["remote_code_types"]


def _dtype(deployment: Deployment, gpus: Sequence[Gpu], *, cpu: bool) -> str | None:
    """16-bit weights say their type; a quantised repository's own config decides its compute type."""
    checkpoint = deployment.checkpoint
    if cpu:
        return "bfloat16"
    if _without_bfloat16(gpus):
        return "float16"
    if checkpoint.quantization.method != "none" and not checkpoint.in_flight:
        return None
    return _DTYPES.get(checkpoint.dtype, checkpoint.dtype)


def _without_bfloat16(gpus: Sequence[Gpu]) -> Gpu | None:
    return next((gpu for gpu in gpus if (capability(gpu) or BF16_MINIMUM) < BF16_MINIMUM), None)


def check_cards(deployment: Deployment, gpus: Sequence[Gpu]) -> None:
    """Refuse what vLLM would not start on these cards.

    Raises:
        BadValue: the model can't be computed in the cards' 16-bit type; the cache's type has no kernel there.
    """
    old = _without_bfloat16(gpus)
    if old and deployment.model.model_type in NO_HALF:
        raise BadValue("errors_launch.no_half", name=deployment.model.name, card=old.name)
    unable = next((gpu for gpu in gpus if deployment.kv_dtype != "auto" and not fp8_cache_runs(gpu)), None)
    if unable:
        raise BadValue("errors_launch.no_fp8_cache", card=unable.name)


def _quantization(checkpoint: Checkpoint) -> str | None:
    """A quantised repository is recognised from its config; only quantisation in flight needs the flag."""
    return IN_FLIGHT.get(checkpoint.quantization.method) if checkpoint.in_flight else None


def _offload(deployment: Deployment) -> dict[str, FlagValue | tuple[str, ...] | None]:
    """Weights in RAM: GiB per GPU, rounded up to a hundredth, or groups of layers (config/offload.py, vLLM 0.32.0)."""
    only = ("experts",) if deployment.offload_experts else None
    if deployment.prefetch:
        group, held, ahead = deployment.prefetch
        return {
            "offload-group-size": group,
            "offload-num-in-group": held,
            "offload-prefetch-step": ahead,
            "offload-params": only,
        }
    size = math.ceil(deployment.cpu_offload_bytes / GIB * 100) / 100
    return {"cpu-offload-gb": size, "cpu-offload-params": only} if size else {}


def _draft(deployment: Deployment) -> str | None:
    """A layer of the model's own needs no repository (config/speculative.py, vLLM 0.32.0); another draft does."""
    if not deployment.draft_tokens or not deployment.draft:
        return None
    if deployment.draft != "mtp":
        raise BadValue("errors_launch.no_draft", draft=deployment.draft)
    return json.dumps({"method": "mtp", "num_speculative_tokens": deployment.draft_tokens})


def _extra(words: tuple[str, ...]) -> _Flags:
    """Read ``("--a", "1", "--b=2", "--c")`` as flags; they override what the plan sets."""
    values: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in words:
        checked_word(f"={word}")  # a value may be empty or begin with a dash
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not _FLAG.fullmatch(name):
                raise BadValue("errors_launch.bad_word", value=word)
            current = values[name] = [value] if equals else []
        elif current is None:
            raise BadValue("errors_launch.bad_word", value=word)
        else:
            current.append(word)
    return {
        name: True if not found else found[0] if len(found) == 1 else tuple(found) for name, found in values.items()
    }


_FLAG = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names of flags; dotted ones set a field of a JSON value (``--speculative-config.method``)."""


def flag_words(flags: _Flags) -> list[str]:
    """Return flags as words: ``{"a": 1, "b": True, "c": ("x", "y")}`` as ``["--a", "1", "--b", "--c", "x", "y"]``."""
    words: list[str] = []
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, tuple):
            words += [f"--{name}", *value]
        else:
            text = str(value)
            words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return words
