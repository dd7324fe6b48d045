"""The one builder of llama-server's flags.

Flag names and meanings: ``llama-server --help`` of build 11434, whose parser ``tools/launch/data`` records
(``common/arg.cpp``). A flag's last value wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tools.domain import Checkpoint, Deployment, InstancePlan
from tools.errors import BadValue
from tools.launch.argv.vllm_context import stretch_of
from tools.launch.argv.words import FlagValue, checked_port, checked_word
from tools.vram.engines.llamacpp_cache import CACHE_TYPES

BATCH = 2048
"""Tokens of a prompt that are taken at once where ``-b`` is not said; a microbatch is never larger."""

VERBOSITY = 4
"""Level at which the log says what each buffer takes ("trace"; one less says only that the model is loaded)."""

MADE = "models/"
"""Folder of the files that are converted beforehand, beside the scripts."""

_CACHE_WORDS = {"fp16": "f16", "float16": "f16", "bfloat16": "bf16", "q8": "q8_0", "q4": "q4_0", "q5": "q5_0"}


def llamacpp_flags(instance: InstancePlan) -> dict[str, FlagValue]:
    """Return the engine flags of an instance, by long name without dashes, in a fixed order.

    Address and port are the launcher's business and not among them. Flags left at the engine's default are absent;
    what the engine would otherwise fit to the card by itself is said (``fit`` is off), so that it starts as planned.

    Args:
        instance: an engine process of a plan.

    Returns:
        For ``--ctx-size 32768 --parallel 4``: ``{"ctx-size": 32768, "parallel": 4}``.

    Raises:
        BadValue: a name that the command line cannot carry, a cache type that the engine has not.
    """
    deployment, options = instance.deployment, instance.deployment.options
    users = deployment.max_num_seqs or 1
    batch = deployment.max_num_batched_tokens
    wanted: dict[str, FlagValue | None] = {
        **source(deployment.checkpoint),
        "alias": aliases(instance),
        "ctx-size": options.context_total or (deployment.max_model_len or 0) * users or None,
        "parallel": users,
        **_reach(deployment),
        "kv-unified": options.unified or None,
        "gpu-layers": "all" if options.gpu_layers is None else options.gpu_layers,
        "n-cpu-moe": options.experts_in_ram or None,
        **_cards(instance),
        **_cache(deployment),
        "batch-size": batch if batch and batch > BATCH else None,
        "ubatch-size": batch,
        "fit": "off",
        **_images(deployment),
        "verbosity": VERBOSITY,
    }
    return {name: value for name, value in wanted.items() if value is not None} | _extra(deployment.extra_flags)


def llamacpp_argv(instance: InstancePlan, *, host: str | None = None, port: int | str | None = None) -> list[str]:
    """Return the whole command that starts an instance: ``["llama-server", "--hf-repo", "REPO:TYPE", ...]``.

    Args:
        instance: an engine process of a plan.
        host: address to listen on (``None`` = the engine's default, 127.0.0.1).
        port: TCP port to listen on (``None`` = 8080), or a launcher's own placeholder such as ``${PORT}``.

    Returns:
        Words for ``exec``; quote them with ``shlex.join`` before a shell sees them.

    Raises:
        BadValue: as ``llamacpp_flags``; or a port outside 1-65535.
    """
    flags = llamacpp_flags(instance)
    if host is not None:
        flags["host"] = checked_word(host)
    if port is not None:
        flags["port"] = checked_port(port) if isinstance(port, int) else port
    words = ["llama-server"]
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def source(checkpoint: Checkpoint) -> dict[str, FlagValue | None]:
    """Say where the weights come from: ``REPO:TYPE`` on the hub, or a file that is made beforehand.

    The engine finds the file of a type in a repository by itself, all its parts too (``common/download.cpp``), and
    keeps it where the hub's own tools do.
    """
    if is_made(checkpoint):
        return {"model": MADE + made_name(checkpoint)}
    return {"hf-repo": hub_name(checkpoint)}


def is_made(checkpoint: Checkpoint) -> bool:
    """Whether no GGUF file of the checkpoint is known, so that one has to be converted from its repository."""
    return checkpoint.hypothetical or checkpoint.quantization.method != "gguf"


def gguf_type(checkpoint: Checkpoint) -> str:
    """Return the type of the GGUF file: ``Q4_K_M``; 16-bit weights are converted as they are.

    Raises:
        BadValue: the checkpoint is in a format that nobody converts to GGUF.
    """
    quantization = checkpoint.quantization
    kind = str(quantization.extra.get("type") or "") if quantization.method == "gguf" else _FLOATS.get(checkpoint.dtype)
    if quantization.method not in {"gguf", "none"} or not kind or not _TYPE.fullmatch(kind):
        raise BadValue("launch_local.no_gguf", repo=checkpoint.repo, precision=checkpoint.precision)
    return kind


_FLOATS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_TYPE = re.compile(r"[A-Z0-9_]{2,16}")


def hub_name(checkpoint: Checkpoint) -> str:
    """Return ``OWNER/NAME:TYPE``.

    Raises:
        BadValue: the repository's name is none that llama.cpp takes (``is_valid_repo_id``, ``common/hf-cache.cpp``).
    """
    if len(checkpoint.repo) > 256 or not _REPO.fullmatch(checkpoint.repo):
        raise BadValue("launch_local.bad_repository", repo=checkpoint.repo)
    return f"{checkpoint.repo}:{gguf_type(checkpoint)}"


_PART = r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*"
_REPO = re.compile(f"{_PART}/{_PART}")


def made_name(checkpoint: Checkpoint) -> str:
    """Return the name of a converted file: letters, digits, dots and dashes of the repository's name and the type."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", checkpoint.repo.replace("/", "-")).strip("-.")[:150] or "model"
    return f"{stem}-{gguf_type(checkpoint)}.gguf"


def aliases(instance: InstancePlan) -> str | None:
    """Return the names that clients may use, as one value.

    Raises:
        BadValue: a name holds a comma, which separates names, or ends in space, which the engine cuts off.
    """
    for name in instance.served_names:
        if "," in checked_word(name) or name != name.strip():
            raise BadValue("launch_local.bad_alias", name=name)
    return ",".join(instance.served_names) or None


def cache_type(word: str) -> str | None:
    """Return the engine's word for a type of cache; None = its default (f16).

    Raises:
        BadValue: it has no such type.
    """
    kind = _CACHE_WORDS.get(word.lower(), word.lower())
    if kind == "auto":
        return None
    if kind not in CACHE_TYPES:
        raise BadValue("errors_vram.bad_kv_dtype", value=word[:40], allowed=", ".join(CACHE_TYPES))
    return kind


def _reach(deployment: Deployment) -> dict[str, FlagValue | None]:
    """A context beyond the model's own, by YaRN; without it a sequence is cut to what the model was trained on.

    With these three the engine takes ``yarn-orig-ctx`` times ``rope-scale`` for the model's context
    (``llama_init_from_model``, ``src/llama-context.cpp``).

    Raises:
        BadValue: no known way leads to that context.
    """
    stretched = stretch_of(deployment)
    if stretched is None:
        return {}
    yarn, factor = stretched
    return {"rope-scaling": "yarn", "rope-scale": f"{factor:g}", "yarn-orig-ctx": yarn.trained}


def _cache(deployment: Deployment) -> dict[str, FlagValue | None]:
    """Types of keys and values. Quantised values need flash attention.

    "quantized V cache requires flash_attn to be enabled" (``src/llama-context.cpp``)
    """
    options = deployment.options
    keys = cache_type(deployment.kv_dtype)
    values = cache_type(options.value_dtype) if options.value_dtype else keys
    flash = options.flash_attention
    if flash is None and values not in {None, "f32", "f16", "bf16"}:
        flash = True
    return {
        "cache-type-k": keys,
        "cache-type-v": values,
        "flash-attn": None if flash is None else "on" if flash else "off",
        "no-kv-offload": options.cache_in_ram or None,
        "swa-full": options.full_windows or None,
    }


def _cards(instance: InstancePlan) -> dict[str, FlagValue | None]:
    """Shares of several cards: the engine would go by what is free when it starts, the plan does not."""
    count, options = len(instance.gpu_indices), instance.deployment.options
    if count < 2:
        return {}
    shares = (options.split + (0.0,) * count)[:count] if options.split else (1.0,) * count
    return {
        "split-mode": "row" if options.by_rows else "layer",
        "tensor-split": ",".join(f"{share:.6g}" for share in shares),
    }


def sees(deployment: Deployment) -> bool:
    """Whether a model takes images (or sound) that it is to be given."""
    return bool(deployment.model.encoder or deployment.model.tower_params) and not deployment.text_only


def _images(deployment: Deployment) -> dict[str, FlagValue | None]:
    """A repository's vision file is fetched by itself; the plan does not count it on the card, so it stays in RAM."""
    if is_made(deployment.checkpoint):
        return {}
    return {"no-mmproj": True} if deployment.text_only else {"no-mmproj-offload": sees(deployment) or None}


def _extra(words: Sequence[str]) -> dict[str, FlagValue]:
    """Read ``("-ub", "1024", "--metrics")`` as flags, by their long names; they override what the plan sets."""
    if not words:
        return {}
    from tools.launch.checks.llamacpp import flag_table

    found: dict[str, FlagValue] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        row = flag_table().get(word)
        if row is None or row["nargs"] > 1 or (row["nargs"] and not rest):
            raise BadValue("errors_launch.bad_word", value=word)
        found[str(row["long"]).removeprefix("--")] = rest.pop(0) if row["nargs"] else True
    return found


def device_environment(vendor: str, devices: Sequence[int]) -> Mapping[str, str]:
    """Return the variables that show an engine some cards of a machine only.

    CUDA and ROCm (``HIP_VISIBLE_DEVICES``) by index; SYCL by ``ONEAPI_DEVICE_SELECTOR`` (llama.cpp
    ``docs/backend/SYCL.md``); other makers' backends see one device.
    """
    listed = ",".join(map(str, devices))
    if vendor == "nvidia":
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": listed}
    if vendor == "amd":
        return {"HIP_VISIBLE_DEVICES": listed}
    if vendor == "intel":
        return {"ONEAPI_DEVICE_SELECTOR": ";".join(f"level_zero:{device}" for device in devices)}
    return {}
