"""From rows of ``rigfit estimate`` to exact answers: all rows of a batch are put to vLLM together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.domain import Deployment, Footprint, Measured
from tools.errors import BadValue, RigfitError
from tools.vram.exact import Exact, Question
from tools.vram.report import footprint_json, refusal_json
from tools.vram.request import EstimateRequest, deployment_from_request, read_object

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue

ONLINE = {"fp8-online": "fp8"}
"""Formats made while loading that vLLM's own code can be asked about, by its flag."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that was understood, and the question it puts to vLLM."""

    request: EstimateRequest
    question: Question


def asked(
    fields: Mapping[str, Any], models: ModelCatalogue, gpus: GpuCatalogue, measured: Sequence[Measured] = ()
) -> Asked:
    """Understand a row and find its checkpoint's own config.

    Raises:
        RequestError: the row can't be read or names something unknown, or no config is known.
    """
    from tools.vram.calibration import with_measured

    request = deployment_from_request(fields, models, gpus)
    gpu = with_measured([request.gpu], measured)[0] if request.gpu else None
    config, quant_config = _own_config(fields, request.deployment, models)
    return Asked(request, Question(request.deployment, gpu, config, quant_config, _online(request.deployment)))


def exact_one(found: Asked, exact: Exact) -> Footprint:
    """Answer one question.

    Raises:
        EngineRefuses: with vLLM's reason.
        ExactUnavailable: vLLM can't be asked.
    """
    (said,) = exact.footprints([found.question])
    if isinstance(said, RigfitError):
        raise said
    return said


def exact_rows(
    rows: Sequence[Mapping[str, Any] | RigfitError],
    catalogues: tuple[ModelCatalogue, GpuCatalogue],
    exact: Exact,
    language: str = "en",
    measured: Sequence[Measured] = (),
) -> list[dict[str, Any]]:
    """Answer the rows of a batch, each as ``rigfit estimate`` does; what can't be answered has ``ok: false``."""
    understood: list[Asked | RigfitError] = []
    for row in rows:
        try:
            understood.append(row if isinstance(row, RigfitError) else asked(row, *catalogues, measured))
        except RigfitError as error:
            understood.append(error)
    questions = [one.question for one in understood if isinstance(one, Asked)]
    answers = iter(exact.footprints(questions))
    made: list[dict[str, Any]] = []
    for row, one in zip(rows, understood, strict=True):
        request_id = None if isinstance(row, RigfitError) else row.get("id")
        said = next(answers) if isinstance(one, Asked) else one
        if isinstance(one, Asked) and isinstance(said, Footprint):
            assumptions = one.request.assumptions
            made.append(footprint_json(said, request_id=request_id, assumptions=assumptions, language=language))
        else:
            deployment = one.request.deployment if isinstance(one, Asked) else None
            error = said if isinstance(said, RigfitError) else BadValue("errors_ui.row_failed")
            made.append(refusal_json(error, request_id=request_id, deployment=deployment, language=language))
    return made


def _own_config(
    fields: Mapping[str, Any], deployment: Deployment, models: ModelCatalogue
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return a checkpoint's ``config.json`` and, where there is one, its ``hf_quant_config.json``.

    Raises:
        BadValue: neither the request, the catalogue nor the hub has it; or it is made while loading.
    """
    if deployment.engine != "vllm":
        raise BadValue("errors_exact.engine", engine=deployment.engine)
    if fields.get("config") is not None:
        folder = Path(str(fields["config"]))
        quant = folder / "hf_quant_config.json"
        return read_object(folder / "config.json"), read_object(quant) if quant.is_file() else None
    checkpoint = deployment.checkpoint
    if checkpoint.in_flight and checkpoint.precision not in ONLINE:
        raise BadValue("errors_exact.in_flight", precision=checkpoint.precision)
    found = None if checkpoint.hypothetical else models.own_config(checkpoint.repo)
    if found is None:
        raise BadValue("errors_exact.no_config", repo=checkpoint.repo or deployment.model.name)
    return found


def _online(deployment: Deployment) -> str | None:
    checkpoint = deployment.checkpoint
    return ONLINE[checkpoint.precision] if checkpoint.in_flight else None
