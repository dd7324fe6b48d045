"""A plan as the JSON of ``rigfit plan``, and back: a file is only asked what was asked, and planned again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import prompts
from tools.domain import (
    Band,
    Costs,
    Gpu,
    InstancePlan,
    InstanceRequest,
    ModelSpec,
    Note,
    Option,
    Placement,
    Plan,
    PlanRequest,
    Rig,
)
from tools.errors import BadValue, UnknownModel
from tools.plan import limits
from tools.plan.planner import make_plan
from tools.specs.checkpoints import native

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue

MAX_TEXT = 400
"""Longest name or word read from a plan's file."""


def plan_json(plan: Plan, language: str = "en") -> dict[str, Any]:
    """Return the object of ``rigfit plan --json``.

    Args:
        plan: what was planned.
        language: of its sentences.
    """
    return {
        "verdict": plan.verdict,
        "rig": _rig_json(plan.request.rig),
        "asked": _asked_json(plan.request),
        "assumptions": [say(note, language) for note in plan.assumptions],
        "as_asked": _placement_json(plan.as_asked, plan.request.rig.gpus, language),
        "options": [_option_json(option, plan.request.rig.gpus, language) for option in plan.options],
        "recommended": plan.recommended,
        "reason": say(plan.reason, language),
    }


def plan_from_json(data: Mapping[str, Any], models: ModelCatalogue, gpus: GpuCatalogue) -> Plan:
    """Make the plan of a file again from what was asked in it; none of its figures are trusted.

    Args:
        data: what ``plan_json`` returned, perhaps edited or damaged.
        models: where its models are looked up.
        gpus: for a rig that names cards only.

    Raises:
        RequestError: the file is not a plan, or asks for something unknown or out of bounds.
    """
    del gpus  # a plan carries its cards' own figures
    asked, rig = _object(data, "asked"), _rig(data)
    rows = asked.get("models")
    if not isinstance(rows, list) or not 1 <= len(cast("list[Any]", rows)) <= limits.MAX_INSTANCES:
        raise BadValue("errors_plan.bad_file", field="asked.models")
    instances = tuple(_instance(row, models) for row in cast("list[Any]", rows))
    same_model = asked.get("same_model")
    if same_model not in (None, True, False):
        raise BadValue("errors_plan.bad_file", field="asked.same_model")
    engine = limits.engine_of(_text(asked, "engine"))[0]
    request = PlanRequest(
        instances=instances,
        rig=rig,
        engine=engine,
        kv_dtype=limits.kv_dtype_of(_text(asked, "kv_dtype"), engine),
        residency=limits.residency_of(_text(asked, "residency")),
        same_model=same_model,
        stated=_stated(asked),
    )
    return make_plan(request)


def say(note: Note, language: str) -> str:
    """Render a note as a sentence."""
    return prompts.text(language, note.code, **note.params)


# --- writing ---------------------------------------------------------------------------------------------------------


def _rig_json(rig: Rig) -> dict[str, Any]:
    from tools.specs.detect import rig_json

    return rig_json(rig)


def _asked_json(request: PlanRequest) -> dict[str, Any]:
    return {
        "models": [
            {
                "model": native(instance.model).repo,
                "said": instance.said,
                "precision": instance.precision,
                "context": instance.context,
                "users": instance.users,
            }
            for instance in request.instances
        ],
        "engine": request.engine,
        "kv_dtype": request.kv_dtype,
        "residency": request.residency,
        "same_model": request.same_model,
        "near_misses": {said: list(names) for said, names in request.near_misses.items()},
        "stated": sorted(request.stated),
    }


def _placement_json(placement: Placement, gpus: Sequence[Gpu], language: str) -> dict[str, Any]:
    return {
        "verdict": placement.verdict,
        "deficit_bytes": placement.deficit_bytes,
        "footprints": [_instance_json(instance, placement, gpus, language) for instance in placement.instances],
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "total_bytes": gpu.total_bytes,
                "reserved_bytes": gpu.reserved_bytes,
                "used_bytes": gpu.used_bytes,
                "free_bytes": gpu.free_bytes,
            }
            for gpu in placement.gpus
        ],
    }


def _instance_json(instance: InstancePlan, placement: Placement, gpus: Sequence[Gpu], language: str) -> dict[str, Any]:
    from tools.launch.argv import engine_flags, own_cards
    from tools.vram.report import footprint_json

    checkpoint = instance.deployment.checkpoint
    return {
        **footprint_json(instance.footprint, request_id=instance.name, language=language),
        "instance": instance.name,
        "served_names": list(instance.served_names),
        "precision": checkpoint.precision,
        "checkpoint": checkpoint.repo,
        "engine": instance.deployment.engine,
        "engine_version": instance.deployment.engine_version,
        "hypothetical": checkpoint.hypothetical,
        "gpu_indices": list(instance.gpu_indices),
        "bytes_by_gpu": [instance.bytes_on(card) for card in instance.gpu_indices],
        "start_order": instance.start_order,
        "awake": instance.awake,
        "flags": dict(engine_flags(instance, own_cards(instance, placement, gpus))),
    }


def _option_json(option: Option, gpus: Sequence[Gpu], language: str) -> dict[str, Any]:
    return {
        "id": option.id,
        "title": say(option.title, language),
        "kind": option.kind,
        **_placement_json(option.placement, gpus, language),
        "needs": [say(note, language) for note in option.needs],
        "costs": _costs_json(option.costs, language),
    }


def _costs_json(costs: Costs, language: str) -> dict[str, Any]:
    return {
        "quality": say(costs.quality, language) if costs.quality else None,
        "context_tokens": costs.context_tokens,
        "decode_tokens_per_s": _band_json(costs.decode_tokens_per_s),
        "throughput_tokens_per_s": _band_json(costs.throughput_tokens_per_s),
        "prefill_tokens_per_s": _band_json(costs.prefill_tokens_per_s),
        "wake_s": _band_json(costs.wake_s),
        "ram_bytes": costs.ram_bytes,
        "download_bytes": costs.download_bytes,
    }


def _band_json(band: Band | None) -> dict[str, float] | None:
    return None if band is None else {"low": band.low, "value": band.value, "high": band.high}


# --- reading ---------------------------------------------------------------------------------------------------------


def _object(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name) if isinstance(data, Mapping) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if not isinstance(value, dict):
        raise BadValue("errors_plan.bad_file", field=name)
    return cast("dict[str, Any]", value)


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise BadValue("errors_plan.bad_file", field=name)
    return value


def _whole(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue("errors_plan.bad_file", field=name)
    return value


def _rig(data: Mapping[str, Any]) -> Rig:
    from tools.specs.detect import rig_from_json

    rig = rig_from_json(_object(data, "rig"))
    limits.within("gpus", len(rig.gpus), 1, limits.MAX_GPUS)
    for gpu in rig.gpus:
        _check_card(gpu)
    return rig


def _check_card(gpu: Gpu) -> None:
    if not 0 < gpu.cuda_total_bytes <= limits.MAX_SIZE or not 0 <= gpu.reserved_bytes <= limits.MAX_SIZE:
        raise BadValue("errors_plan.bad_file", field="rig.gpus")


def _instance(row: object, models: ModelCatalogue) -> InstanceRequest:
    if not isinstance(row, dict):
        raise BadValue("errors_plan.bad_file", field="asked.models")
    fields = cast("dict[str, Any]", row)
    name, said = _text(fields, "model"), _text(fields, "said") or ""
    if not name:
        raise BadValue("errors_plan.bad_file", field="model")
    model = _model(name, said, models)
    return InstanceRequest(
        model=model,
        precision=_precision(fields),
        context=limits.context_of(model, _whole(fields, "context"))[0],
        users=limits.users_of(_whole(fields, "users")),
        said=said,
    )


def _model(name: str, said: str, models: ModelCatalogue) -> ModelSpec:
    """The catalogue's model, or the one of the folder that was named when the plan was made."""
    try:
        return models.find(name).spec
    except UnknownModel:
        from tools.vram.request import spec_from_folder

        try:
            return spec_from_folder(said)
        except BadValue:
            pass
        raise


def _precision(fields: Mapping[str, Any]) -> str:
    from tools.specs.formats import precision_word

    return precision_word(_text(fields, "precision") or "any")


def _stated(asked: Mapping[str, Any]) -> frozenset[str]:
    words = cast("Sequence[Any]", asked.get("stated") or ())
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return frozenset()
    return frozenset(str(word) for word in words[:20])
