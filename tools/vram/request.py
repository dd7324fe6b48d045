"""From the words of ``rigfit estimate`` (options or a batch row) to a Deployment and a card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tools.domain import Checkpoint, Deployment, EngineOptions, Gpu, Measured, ModelSpec, Note, note
from tools.errors import BadValue, RigfitError, UnknownGpu
from tools.vram.engines.rules import version_of
from tools.vram.engines.words import engine_name, read_engine_flags
from tools.vram.flags import PREFETCH, read_flags
from tools.vram.model_flags import as_asked

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue, GpuMatch
    from tools.specs.models import ModelCatalogue

FIELDS = frozenset(
    {
        "id",
        "model",
        "config",
        "precision",
        "dtype",
        "gpu",
        "gpu_count",
        "gpu_total_bytes",
        "vram",
        "tp",
        "pp",
        "dp",
        "ep",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "kv_cache_dtype",
        "enforce_eager",
        "engine",
        "engine_version",
        "engine_generation",
        "extra_flags",
    }
)


@dataclass(frozen=True, slots=True)
class EstimateRequest:
    """A batch row or the command's options, resolved.

    Attributes:
        deployment: what runs.
        gpu: the card, or None where none is said.
        assumptions: how the words were understood.
        id: the batch row's, as it was given.
    """

    deployment: Deployment
    gpu: Gpu | None
    assumptions: tuple[Note, ...]
    id: object


def deployment_from_request(fields: Mapping[str, Any], models: ModelCatalogue, gpus: GpuCatalogue) -> EstimateRequest:
    """Resolve the fields of one request.

    Args:
        fields: option names of ``rigfit estimate`` to values; None is the same as absent.
        models: where names are looked up.
        gpus: where cards are looked up.

    Raises:
        BadValue: a field is unknown or its value is not allowed.
        UnknownModel: the catalogue has no such model.
        UnknownGpu: the catalogue has no such card.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            raise BadValue("errors_vram.unknown_field", field=str(name)[:60], allowed=", ".join(sorted(FIELDS)))
    given = _counted(given)
    spec, checkpoint, notes = _model(given, models)
    gpu, gpu_notes, devices = _gpu(given, gpus)
    engine = engine_name(given.get("engine"))
    options, hint = EngineOptions(), given.get("extra_flags")
    said: dict[str, Any] = {}
    if engine != "vllm":
        options, said, hint = read_engine_flags(engine, hint)
    flags, flag_notes = read_flags(hint)
    merged = flags | said | given
    tp, tp_notes = _ranks(merged, devices)
    spec = as_asked(spec, merged)
    settings: dict[str, Any] = _settings(merged) | {
        "draft": _draft(merged, spec),
        "cache_groups": _cache_groups(merged),
    }
    deployment = Deployment(model=spec, checkpoint=checkpoint, engine=engine, tp=tp, options=options, **settings)
    return EstimateRequest(deployment, gpu, (*notes, *gpu_notes, *tp_notes, *flag_notes), given.get("id"))


_WHOLES = ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "kv_cache_memory_bytes", "block_size")
_YES_OR_NO = ("ep", "enforce_eager", "sleep_mode", "text_only")


def _settings(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Read what was said of a deployment beside its model and cards, by the names of ``Deployment``'s fields."""
    return {
        **{name: _whole(merged, name) for name in _WHOLES},
        **{name: _whole(merged, name) or 1 for name in ("dp", "dcp")},
        **{name: bool(merged.get(name)) for name in _YES_OR_NO},
        "prefix_caching": merged.get("prefix_caching"),
        **{name: _text(merged, name) for name in ("engine_version", "engine_generation")},
        "kv_dtype": str(merged.get("kv_cache_dtype", "auto")),
        "pp": _whole(merged, "pp") or len(merged.get("pp_layers", ())) or 1,
        "pp_layers": merged.get("pp_layers", ()),
        "gpu_memory_utilization": _share(merged),
        "cpu_offload_bytes": int(merged.get("cpu_offload_bytes", 0)),
        "offload_experts": "experts" in str(merged.get("offload_params", "")),
        "prefetch": _prefetch(merged),
        "weights_elsewhere": merged.get("load_format") == "ipc_cache",
        "draft_tokens": _whole(merged, "draft_tokens") or 0,
    }


def _draft(merged: Mapping[str, Any], spec: ModelSpec) -> str | None:
    """What drafts tokens; where only their number is said, the model's own head if it has one."""
    kind = _text(merged, "draft")
    if kind == "any":
        return "mtp" if spec.draft else None
    return None if kind == "none" else kind


CONNECTORS_KEEP_GROUPS = (0, 22, 0)
"""First version in which a connector that moves caches may leave groups of layers on; LMCache's does not (0.32).

Source: ``config/vllm.py`` (``need_disable_hybrid_kv_cache_manager``) of 0.11, 0.19, 0.21, 0.22 and 0.32.
"""


def _cache_groups(merged: Mapping[str, Any]) -> bool | None:
    """Whether layers form groups: as said, else not where a connector moves caches that can't do with them."""
    said, connector = merged.get("cache_groups"), merged.get("connector")
    if said is not None or connector is None:
        return said
    is_new = version_of(_text(merged, "engine_version")) >= CONNECTORS_KEEP_GROUPS
    return None if is_new and connector != "lmcache" else False


def answer_request(
    fields: Mapping[str, Any],
    models: ModelCatalogue,
    gpus: GpuCatalogue,
    language: str = "en",
    measured: Sequence[Measured] = (),
) -> dict[str, Any]:
    """Answer one batch row: the object of ``rigfit estimate``, with ``ok: false`` where it can't be answered.

    Where only the card is not known, what does not depend on it is still answered. ``measured`` is what the user's own
    starts measured.
    """
    from tools.vram.estimate import estimate
    from tools.vram.report import footprint_json, refusal_json

    request_id = fields.get("id")
    request: EstimateRequest | None = None
    try:
        request = deployment_from_request(fields, models, gpus)
        footprint = estimate(request.deployment, _own(request.gpu, measured))
    except UnknownGpu as error:
        without = {name: value for name, value in fields.items() if name not in {"gpu", "vram", "gpu_total_bytes"}}
        refusal = refusal_json(error, request_id=request_id, language=language)
        return answer_request(without, models, gpus, language, measured) | {"ok": False, "error": refusal["error"]}
    except RigfitError as error:
        return refusal_json(
            error, request_id=request_id, deployment=request.deployment if request else None, language=language
        )
    return footprint_json(footprint, request_id=request_id, assumptions=request.assumptions, language=language)


def _own(gpu: Gpu | None, measured: Sequence[Measured]) -> Gpu | None:
    """The card with what was measured on the user's own."""
    if gpu is None or not measured:
        return gpu
    from tools.vram.calibration import with_measured

    return with_measured([gpu], measured)[0]


def _model(given: Mapping[str, Any], models: ModelCatalogue) -> tuple[ModelSpec, Checkpoint, tuple[Note, ...]]:
    """Find the model and the checkpoint of the asked precision."""
    from tools.specs.checkpoints import checkpoints_for, parse_model_ref

    if "config" in given:
        spec = spec_from_folder(str(given["config"]))
        return spec, _dtype(spec.checkpoints[0], given), ()
    if "model" not in given:
        raise BadValue("errors_vram.missing_field", field="model")
    reference = parse_model_ref(str(given["model"]))
    match = models.find(reference.name)
    precision = given.get("precision") or reference.precision
    if precision is None:
        return match.spec, _dtype(_said_or_native(match.spec, reference.name), given), match.notes
    found = checkpoints_for(match.spec, str(precision))
    if not found:
        raise BadValue("errors_vram.no_checkpoint", model=match.spec.name, precision=str(precision))
    exact = [one for one in found if one.repo == reference.name]
    return match.spec, _dtype((exact or list(found))[0], given), match.notes


def _said_or_native(spec: ModelSpec, name: str) -> Checkpoint:
    """The checkpoint whose repository was named, else the model's native one."""
    return next((one for one in spec.checkpoints if one.repo.lower() == name.lower()), spec.checkpoints[0])


def _dtype(checkpoint: Checkpoint, given: Mapping[str, Any]) -> Checkpoint:
    words = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
    asked = given.get("dtype")
    if asked in (None, "auto"):
        return checkpoint
    dtype = words.get(str(asked), str(asked))
    if dtype not in {"bfloat16", "float16", "float32"}:
        raise BadValue("errors_vram.bad_dtype", value=dtype[:40], allowed="auto, bfloat16, float16, float32")
    return replace(checkpoint, dtype=dtype)


def spec_from_folder(folder: str) -> ModelSpec:
    """Read ``config.json`` (and ``hf_quant_config.json``) of a folder.

    Raises:
        BadValue: there is no readable ``config.json``, or a field is absurd.
    """
    from tools.vram.architecture import spec_from_config

    path = Path(folder)
    config = read_object(path / "config.json")
    quant = path / "hf_quant_config.json"
    return spec_from_config(
        config, name=path.resolve().name, quant_config=read_object(quant) if quant.is_file() else None
    )


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        BadValue: it can't be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BadValue("errors_vram.bad_config", path=str(path)) from None
    if not isinstance(value, dict):
        raise BadValue("errors_vram.bad_config", path=str(path))
    return cast("dict[str, Any]", value)


def _counted(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``2xRTX 3090`` as the card and its count; a ``gpu_count`` of its own goes before."""
    from tools.specs.gpus import split_count

    count, name = split_count(str(given["gpu"])) if "gpu" in given else (None, None)
    return {**({} if count is None else {"gpu_count": count}), **given, **({"gpu": name} if name else {})}


def _gpu(given: Mapping[str, Any], gpus: GpuCatalogue) -> tuple[Gpu | None, tuple[Note, ...], int]:
    """Find the card by its name, its memory or both, and how many devices one is to the engine.

    A stated total is what the engine sees.
    """
    total = _whole(given, "gpu_total_bytes")
    if "gpu" not in given and "vram" not in given:
        return (None if total is None else _unnamed("card", total)), (), 1
    try:
        match = _match(given, gpus)
    except UnknownGpu:
        if total is None:
            raise
        return _unnamed(str(given["gpu"])[:80], total), (), 1
    if total is None:
        return match.gpu, match.notes, match.devices
    return replace(match.gpu, cuda_total_bytes=total, total_provenance="measured"), match.notes, match.devices


def _match(given: Mapping[str, Any], gpus: GpuCatalogue) -> GpuMatch:
    """Look a card up; a memory said apart tells which of several cards of a name is meant."""
    if "vram" not in given:
        return gpus.find(str(given["gpu"]))
    size = str(given["vram"]).strip()[:40]
    alone = gpus.by_memory(size)
    return gpus.find(f"{given['gpu']} {size}{'GB' if size.isdigit() else ''}") if "gpu" in given else alone


def _unnamed(name: str, total: int) -> Gpu:
    return Gpu(name, "", total, total, "measured")


def _ranks(merged: Mapping[str, Any], devices: int) -> tuple[int, tuple[Note, ...]]:
    """Tensor-parallel ranks: as said, else all cards' devices over pipeline stages and data-parallel ranks."""
    tp = _whole(merged, "tp")
    if tp is not None:
        return tp, ()
    count = (_whole(merged, "gpu_count") or 0) * devices or 1
    ranks = max(1, count // ((_whole(merged, "pp") or 1) * (_whole(merged, "dp") or 1)))
    return ranks, (note("vram.assume_tp", ranks=ranks),) if ranks > 1 else ()


def _prefetch(merged: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Read layers a group, fetched ones and those ahead; vLLM's defaults are one and one."""
    group, fetched, ahead = (_whole(merged, name) for name in PREFETCH)
    if group is None:
        return None
    if (fetched or 1) > group:
        raise BadValue("errors_vram.bad_field", field="offload-num-in-group", value=str(fetched))
    return group, fetched or 1, ahead or 1


def _whole(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 or not 0 < value <= 1 << 50:
        raise BadValue("errors_vram.bad_field", field=name, value=repr(value)[:80])
    return int(value)


def _share(given: Mapping[str, Any]) -> float | None:
    value = given.get("gpu_memory_utilization")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise BadValue("errors_vram.bad_field", field="gpu_memory_utilization", value=repr(value)[:80])
    return float(value)


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return None if value is None else str(value)
