"""What the calculator says of the start that a log tells of, and where the log differs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tools.domain import Band, Deployment, Footprint, Gpu, Note, note
from tools.errors import BadValue, RequestError, RigfitError, UnknownGpu, UnknownModel
from tools.logs.facts import EngineLog, Memory
from tools.units import GIB
from tools.vram.engines.vllm import CUDA_CONTEXT_BYTES
from tools.vram.estimate import estimate
from tools.vram.request import deployment_from_request

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue

_REQUEST = (
    "tp", "pp", "dp", "ep", "gpu_memory_utilization", "kv_cache_memory_bytes", "max_model_len", "max_num_seqs",
    "max_num_batched_tokens", "enforce_eager",
)  # fmt: skip
_VERSION = re.compile(r"v?\d{1,4}\.\d{1,4}")
_KV_TYPES = {
    **dict.fromkeys(("fp8_e4m3", "fp8_e5m2", "float8_e4m3fn", "float8_e5m2"), "fp8"),
    **dict.fromkeys(("bfloat16", "float16"), "auto"),
}
_SNAPSHOT = re.compile(r"models--([\w.-]{1,80}?)--([\w.-]{1,80})")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_GGUF = re.compile(r"[-.]((?:UD-)?I?Q\d[\w]{0,8}|[BF](?:16|32|F16)|MXFP4(?:_MOE)?|TQ\d_\d)$", re.IGNORECASE)
_SIXTEEN_BIT = frozenset({"bf16", "fp16", "fp32"})
ROUNDING_BYTES = round(0.01 * GIB)
"""Logs print GiB with two decimals."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One part as logged and as computed; bytes.

    Attributes:
        part: ``weights non_torch activation graphs activation_and_graphs kv_pool``.
        predicted: the calculator's band.
        within: the measured value lies in that band.
    """

    part: str
    measured_bytes: int
    predicted: Band
    within: bool

    @property
    def difference_bytes(self) -> int:
        """Measured less predicted."""
        return round(self.measured_bytes - self.predicted.value)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The calculator's answer for a log's own arguments.

    Attributes:
        footprint: the answer, or None with ``problem``.
        gpu: the card it was made for, or that the log names; None where it is not known.
        assumptions: how the log was understood.
        problem: why there is no answer.
    """

    footprint: Footprint | None = None
    gpu: Gpu | None = None
    assumptions: tuple[Note, ...] = ()
    problem: Note | None = None


def predict(
    log: EngineLog,
    models: ModelCatalogue,
    gpus: GpuCatalogue,
    *,
    model: str | None = None,
    gpu: str | None = None,
    config: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Prediction:
    """Estimate the deployment that a log tells of.

    Args:
        log: what was read.
        models: where models are looked up.
        gpus: where cards are looked up.
        model: its name where the log's is missing or means nothing; it goes before.
        gpu: the card's, likewise.
        config: a folder with the model's ``config.json``, instead of its name.
        changes: arguments to take instead of the log's ("and with 0.85?").

    Returns: the answer, or why there is none; never raises for what a log says.
    """
    said = model or config or log.model
    card = _card(gpu or log.card, gpus)
    if log.arguments.get("runs_on") == "cpu":
        return Prediction(problem=note("logs.on_cpu"))
    if not said:
        return Prediction(gpu=card, problem=note("logs.no_model"))
    problem: RigfitError = UnknownModel("errors_logs.no_model", name="")
    served = "" if model else str(log.arguments.get("served_model_name") or "")
    for name in [said] if config else names_of(said, served):
        try:
            other = {"config": config, "model": None} if config else {}
            return _predicted(log, name, gpu, models, gpus, {**other, **(changes or {})})
        except UnknownModel as error:
            problem = error
        except RequestError as error:
            return Prediction(gpu=card, problem=Note(error.code, error.params))
    return Prediction(gpu=card, problem=Note(problem.code, problem.params))


def _card(name: str | None, gpus: GpuCatalogue) -> Gpu | None:
    try:
        return gpus.find(name).gpu if name else None
    except RequestError:
        return None


def _predicted(
    log: EngineLog,
    name: str,
    gpu: str | None,
    models: ModelCatalogue,
    gpus: GpuCatalogue,
    changes: Mapping[str, Any],
) -> Prediction:
    fields, notes = request_fields(log, name, gpu or log.card)
    try:
        asked = deployment_from_request({**fields, **changes}, models, gpus)
    except UnknownGpu:
        if gpu or "gpu" not in fields:
            raise
        fields.pop("gpu")
        asked = deployment_from_request({**fields, **changes}, models, gpus)
    asked = replace(asked, deployment=_in_flight(asked.deployment, log))
    footprint = estimate(asked.deployment, asked.gpu)
    return Prediction(footprint, asked.gpu, (*notes, *asked.assumptions, *footprint.assumptions))


def request_fields(log: EngineLog, model: str, gpu: str | None) -> tuple[dict[str, Any], tuple[Note, ...]]:
    """Turn a log's arguments into the fields of ``rigfit estimate``; what was inferred is noted."""
    arguments = log.arguments
    fields = {name: arguments[name] for name in _REQUEST if arguments.get(name) is not None}
    fields = {name: value for name, value in fields.items() if value is not False}
    fields |= {"model": model, "engine": log.engine}
    if gpu:
        fields["gpu"] = gpu
    if log.memory.total_bytes and log.engine == "vllm":
        fields["gpu_total_bytes"] = log.memory.total_bytes
    kv = arguments.get("kv_cache_dtype")
    if kv:
        fields["kv_cache_dtype"] = _KV_TYPES.get(str(kv), str(kv))
    if arguments.get("dtype") in {"bfloat16", "float16", "float32", "half", "float"}:
        fields["dtype"] = arguments["dtype"]
    fields["extra_flags"] = _flags(arguments)
    if log.generation:
        fields["engine_generation"] = log.generation
    version, notes = _version(log)
    drafting = str(arguments.get("speculative_config") or "")
    if (drafting or arguments.get("drafter")) and not drafting.startswith("mtp"):
        notes = (*notes, note("logs.drafter"))
    return fields | ({"engine_version": version} if version else {}), notes


_AS_FLAGS = {
    "cpu_offload_gb": "cpu-offload-gb", "cpu_offload_params": "cpu-offload-params", "block_size": "block-size",
    "offload_group_size": "offload-group-size", "offload_num_in_group": "offload-num-in-group",
    "offload_prefetch_step": "offload-prefetch-step", "dcp": "decode-context-parallel-size",
}  # fmt: skip


def _flags(arguments: Mapping[str, Any]) -> str:
    """Write as flags what a request has no field for."""
    flags = [f"--{flag} {arguments[name]}" for name, flag in _AS_FLAGS.items() if arguments.get(name)]
    if arguments.get("prefix_caching") is not None:
        flags.append("--enable-prefix-caching" if arguments["prefix_caching"] else "--no-enable-prefix-caching")
    if arguments.get("load_format") == "ipc_cache":
        flags.append("--load-format ipc_cache")
    for name, flag in (("one_cache", "disable-hybrid-kv-cache-manager"), ("text_only", "language-model-only")):
        flags += [f"--{flag}"] if arguments.get(name) else []
    drafting = str(arguments.get("speculative_config") or "")
    return " ".join([*flags, drafting] if drafting.startswith(("mtp", "eagle")) else flags)


def _version(log: EngineLog) -> tuple[str | None, tuple[Note, ...]]:
    """The version as printed; where it is not, the oldest that words its lines so."""
    if log.version and _VERSION.match(log.version):
        return log.version, ()
    if log.engine != "vllm":
        return None, ()
    memory, inferred = log.memory, None
    if memory.activation_with_graphs:
        inferred = "0.27.0"
    elif log.generation == "V0" or _counts_tokens(log):
        inferred = "0.7.3"
    elif memory.graphs_estimated_bytes is not None:
        inferred = "0.21.0"
    elif memory.non_torch_bytes is not None:
        inferred = "0.11.0"
    return inferred, (note("logs.version_inferred", version=inferred),) if inferred else ()


def _counts_tokens(log: EngineLog) -> bool:
    """Whether the log complains of the pool in tokens, as versions before 0.8 do; later ones give GiB."""
    failure = log.failure
    return failure is not None and failure.kind == "kv_too_small" and "kv_needed_bytes" not in failure.params


def names_of(said: str, served: str = "") -> Iterator[str]:
    """Yield names a model's path may mean: ``/models/Qwen3-8B-AWQ`` is tried whole, then by its last parts.

    Args:
        said: a name, hub id or path as an engine prints it.
        served: the name it is served under, tried last.
    """
    snapshot = _SNAPSHOT.search(said)
    if snapshot:
        yield f"{snapshot.group(1)}/{snapshot.group(2)}"
        return
    path = said.rstrip("/").removesuffix(".gguf")
    path = _SHARD.sub("", path)
    parts = [part for part in re.split(r"[/\\]+", path) if part not in {"", ".", "~"}][-2:]
    candidates = ["/".join(parts), *reversed(parts)] if parts else []
    if served:
        candidates.append(served)
    for name in dict.fromkeys(candidates):
        form = _GGUF.search(name)
        yield f"{name[: form.start()]}@gguf-{form.group(1)}" if form and said.endswith(".gguf") else name


def _in_flight(deployment: Deployment, log: EngineLog) -> Deployment:
    """Take the format that the engine made while loading: ``--quantization fp8`` of a checkpoint in 16 bits."""
    from tools.specs.checkpoints import checkpoints_for

    words = {"fp8": "fp8-online", "bitsandbytes": "bnb-4bit"}
    word = words.get(str(log.arguments.get("quantization")))
    if word is None or deployment.checkpoint.precision not in _SIXTEEN_BIT:
        return deployment
    try:
        found = checkpoints_for(deployment.model, word)
    except BadValue:
        return deployment
    return replace(deployment, checkpoint=found[0]) if found else deployment


def predicted_parts(footprint: Footprint) -> dict[str, Band]:
    """Return the parts of the budget as predicted, by the names that ``differences`` gives them; bytes."""
    weights = footprint.weights_bytes
    found = {
        "weights": Band(0.997 * weights, weights, 1.003 * weights),
        "non_torch": _shift(footprint.context_bytes, -CUDA_CONTEXT_BYTES),
        "activation": footprint.activation_bytes,
        "graphs": footprint.cuda_graph_bytes,
    }
    return found | ({"kv_pool": footprint.kv_pool_bytes} if footprint.kv_pool_bytes else {})


def differences(memory: Memory, footprint: Footprint) -> tuple[Difference, ...]:
    """Set each measured part beside the predicted one, in the order of the budget."""
    parts = predicted_parts(footprint)
    rows: list[tuple[str, int | None, Band | None]] = [
        ("weights", memory.weights_bytes, parts["weights"]),
        ("non_torch", memory.non_torch_bytes, parts["non_torch"]),
    ]
    if memory.weights_bytes is None and memory.consumed_bytes is not None:
        held = _shift(parts["non_torch"], footprint.weights_bytes)
        rows = [("weights_and_non_torch", memory.consumed_bytes, held)]
    rows += _peaks(memory, parts["activation"], parts["graphs"])
    if memory.compute_bytes is not None:
        rows.append(("compute", memory.compute_bytes, footprint.activation_bytes))
    rows.append(("kv_pool", memory.kv_bytes, footprint.kv_pool_bytes))
    return tuple(
        Difference(part, measured, band, band.low - ROUNDING_BYTES <= measured <= band.high + ROUNDING_BYTES)
        for part, measured, band in rows
        if measured is not None and band is not None
    )


def _peaks(memory: Memory, activation: Band, graphs: Band) -> list[tuple[str, int | None, Band | None]]:
    """The activation and the graphs: apart where the log allows, else the sum that it prints."""
    estimated = memory.graphs_estimated_bytes
    measured_graphs = memory.graphs_bytes if estimated is None else estimated
    if not memory.activation_with_graphs:
        return [("activation", memory.activation_bytes, activation), ("graphs", measured_graphs, graphs)]
    if estimated is None or memory.activation_bytes is None:
        both = Band(*(getattr(activation, end) + getattr(graphs, end) for end in ("low", "value", "high")))
        return [("activation_and_graphs", memory.activation_bytes, both)]
    return [("activation", memory.activation_bytes - estimated, activation), ("graphs", estimated, graphs)]


def unexplained_bytes(log: EngineLog) -> int | None:
    """Return what the parts leave of the budget: budget - weights - non-torch - activation - graphs applied - pool.

    0 but for rounding where the engine keeps its own books; None where a part is not printed. The graphs count from
    0.21 on, where an estimate of them is printed.
    """
    memory = log.memory
    budget = budget_of(log)
    consumed = memory.consumed_bytes
    if consumed is None and memory.weights_bytes is not None and memory.non_torch_bytes is not None:
        consumed = memory.weights_bytes + memory.non_torch_bytes
    if budget is None or consumed is None or memory.activation_bytes is None or memory.kv_bytes is None:
        return None
    graphs = 0 if memory.activation_with_graphs else memory.graphs_estimated_bytes or 0
    return budget - consumed - memory.activation_bytes - graphs - memory.kv_bytes


def budget_of(log: EngineLog) -> int | None:
    """The engine's share of the card as printed, or total x utilization."""
    memory, share = log.memory, log.arguments.get("gpu_memory_utilization")
    if memory.budget_bytes is not None:
        return memory.budget_bytes
    return round(memory.total_bytes * share) if memory.total_bytes and share else None


def _shift(band: Band, by: float) -> Band:
    return Band(band.low + by, band.value + by, band.high + by)
