"""The output object of ``rigfit estimate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import prompts
from tools.domain import Band, Deployment, Footprint, Note
from tools.errors import RigfitError

_FIELDS = {
    "parameter_bytes": "parameter_bytes_per_gpu",
    "weights_bytes": "weights_bytes_per_gpu",
    "kv_bytes_per_token": "kv_bytes_per_token_per_gpu",
    "kv_pool_bytes": "kv_pool_bytes_per_gpu",
    "total_bytes": "total_bytes_per_gpu",
}
"""Footprint fields whose name in the output says "per GPU"; the others keep theirs."""


def band_json(band: Band | None) -> dict[str, int] | None:
    """Return a band of bytes as whole numbers, or None."""
    if band is None:
        return None
    return {"low": round(band.low), "value": round(band.value), "high": round(band.high)}


def footprint_json(
    footprint: Footprint,
    *,
    request_id: object = None,
    assumptions: Sequence[Note] = (),
    language: str = "en",
) -> dict[str, Any]:
    """Return the object of ``rigfit estimate`` for an answered request.

    Args:
        footprint: the calculator's answer.
        request_id: the batch row's ``id``, handed back as it is.
        assumptions: notes of the request; the footprint's own follow them.
        language: of the assumptions' sentences.
    """
    model, checkpoint = footprint.deployment.model, footprint.deployment.checkpoint
    concurrency = footprint.max_concurrency
    return {
        "id": request_id,
        "ok": True,
        "error": None,
        "model": model.name,
        "checkpoint": checkpoint.repo,
        "precision": checkpoint.precision,
        "params": model.params_total,
        "parameter_bytes_per_gpu": footprint.parameter_bytes,
        "weights_bytes_per_gpu": footprint.weights_bytes,
        "backend": footprint.backend,
        "kv_bytes_per_token_per_gpu": footprint.kv_bytes_per_token,
        "kv_needed_bytes": footprint.kv_needed_bytes,
        "kv_pool_bytes_per_gpu": band_json(footprint.kv_pool_bytes),
        "kv_pool_tokens": footprint.kv_pool_tokens,
        "max_concurrency": None if concurrency is None else round(concurrency, 2),
        "activation_bytes": band_json(footprint.activation_bytes),
        "cuda_graph_bytes": band_json(footprint.cuda_graph_bytes),
        "context_bytes": band_json(footprint.context_bytes),
        "total_bytes_per_gpu": footprint.total_bytes,
        "verdict": footprint.verdict,
        "provenance": {_FIELDS.get(name, name): status for name, status in footprint.provenance.items()},
        "assumptions": notes_json((*assumptions, *footprint.assumptions), language),
    }


def refusal_json(
    error: RigfitError,
    *,
    request_id: object = None,
    deployment: Deployment | None = None,
    language: str = "en",
) -> dict[str, Any]:
    """Return the object for a request that can't be answered.

    Where the model was found, the size of its checkpoint's files stands in for weights, shared equally among the ranks
    and marked ``published`` (or ``estimated``, as the catalogue says).

    Args:
        error: why not.
        request_id: the batch row's ``id``, handed back as it is.
        deployment: what was asked, if it was understood.
        language: of the message.
    """
    model = deployment.model if deployment else None
    weights, provenance = _file_share(deployment) if deployment else (None, {})
    return {
        "id": request_id,
        "ok": False,
        "error": prompts.text(language, error.code, **error.params),
        "code": error.code,
        **dict.fromkeys(_UNKNOWN),
        "model": model.name if model else None,
        "params": model.params_total if model else None,
        "weights_bytes_per_gpu": weights,
        "provenance": provenance,
        "assumptions": [],
    }


_UNKNOWN = (
    "model",
    "params",
    "parameter_bytes_per_gpu",
    "weights_bytes_per_gpu",
    "kv_bytes_per_token_per_gpu",
    "kv_pool_bytes_per_gpu",
    "kv_pool_tokens",
    "max_concurrency",
    "activation_bytes",
    "cuda_graph_bytes",
    "context_bytes",
    "total_bytes_per_gpu",
    "verdict",
)
"""What a refusal does not know; a model that was found fills in some of it."""


def _file_share(deployment: Deployment) -> tuple[int | None, dict[str, str]]:
    checkpoint = deployment.checkpoint
    if checkpoint.file_bytes is None or checkpoint.in_flight:
        return None, {}
    share = checkpoint.file_bytes // (deployment.tp * deployment.pp)
    return share, {"weights_bytes_per_gpu": checkpoint.file_provenance}


def notes_json(notes: Sequence[Note], language: str) -> list[str]:
    """Return notes as sentences."""
    return [prompts.text(language, note.code, **note.params) for note in notes]
