"""What reading a log comes to for a conversation: the explanation as plain data, and the rows its table prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tools.domain import Note
from tools.logs.changed import Changed, read_changes, with_changes
from tools.logs.explain import explain
from tools.logs.report import explanation_json
from tools.units import GIB
from tools.vram.report import notes_json

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue


def log_result(
    text: str,
    models: ModelCatalogue,
    gpus: GpuCatalogue,
    *,
    model: str | None = None,
    gpu: str | None = None,
    changes: str | None = None,
    language: str = "en",
) -> dict[str, Any]:
    """Explain a log, and compute it again with other flags where some are given.

    Args:
        text: the log, or a message that holds one.
        models: where names are looked up.
        gpus: where cards are looked up.
        model: the model as the asker named it, taken where the log's own name is not known.
        gpu: the card as the asker named it, likewise.
        changes: flags to compute with instead of the log's.
        language: of the sentences.

    Raises:
        BadValue: there is no engine's log in the text, or no flag in ``changes``.
    """
    found = explain(text, models, gpus)
    other_model, other_gpu = None, None
    if found.prediction.footprint is None or (found.prediction.gpu is None and gpu):
        other_model, other_gpu = (model if found.prediction.footprint is None else None), gpu
        found = explain(text, models, gpus, model=other_model, gpu=other_gpu)
    result = {"kind": "log", **explanation_json(found, language)}
    result["rows"] = list(measured_rows(result))
    result["changed"] = None
    if changes:
        made = with_changes(found, read_changes(changes), models, gpus, model=other_model, gpu=other_gpu)
        result["changed"] = _changed(made, changes, language)
    return result


def _changed(made: Changed | Note, flags: str, language: str) -> dict[str, Any]:
    if isinstance(made, Note):
        return {"flags": flags, "problem": notes_json([made], language)[0], "verdict": None}
    return {
        "flags": flags,
        "problem": None,
        "verdict": made.verdict,
        "pool_bytes": made.pool_bytes,
        "needed_bytes": made.needed_bytes,
        "context_tokens": made.footprint.deployment.max_model_len or made.footprint.deployment.model.max_context,
    }


def measured_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table: each part that the log prints, with its prediction where there is one."""
    compared = {row["part"]: row for row in result["differences"]}
    for part, size in measured_parts(result["facts"]):
        row = compared.get(part, {})
        yield {
            "part": part,
            "measured_bytes": size,
            "predicted_bytes": row.get("predicted_bytes"),
            "difference_bytes": row.get("difference_bytes"),
            "within": row.get("within"),
        }


def measured_parts(facts: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the parts that a log prints, in the order of the budget, with their bytes."""
    estimated, activation = facts.get("graphs_estimated_bytes"), facts.get("activation_bytes")
    parts = {
        "total": facts.get("total_bytes"),
        "free": facts.get("free_bytes"),
        "budget": facts.get("budget_bytes"),
        "weights": facts.get("weights_bytes"),
        "weights_and_non_torch": facts.get("consumed_bytes") if facts.get("weights_bytes") is None else None,
        "non_torch": facts.get("non_torch_bytes"),
        "activation": activation,
        "graphs": facts.get("graphs_bytes") if estimated is None else estimated,
        "activation_and_graphs": None,
        "compute": facts.get("compute_bytes"),
        "recurrent": facts.get("recurrent_bytes"),
        "kv_pool": facts.get("kv_bytes"),
        "host_weights": facts.get("host_weights_bytes"),
        "host_kv": facts.get("host_kv_bytes"),
        "unexplained": _worth_showing(facts.get("unexplained_bytes")),
    }
    if facts.get("activation_with_graphs") and activation is not None:
        if estimated is None:
            parts |= {"activation": None, "graphs": None, "activation_and_graphs": activation}
        else:
            parts["activation"] = activation - estimated
    yield from ((part, size) for part, size in parts.items() if size is not None)


def _worth_showing(rest: int | None) -> int | None:
    """Rounding of a handful of figures is not."""
    return rest if rest is not None and abs(rest) > GIB // 20 else None
