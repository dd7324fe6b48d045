"""Which measured start-ups are compared, and what is asked about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from peers import rows

RECORD: dict[str, Any] = {
    "id": "A1",
    "kind": "single",
    "engine": "vllm",
    "hf_id": "example/dense-8b",
    "hf_id_source": "stated",
    "confidence": "high",
    "quant": "awq_marlin int4",
    "gpu": "H100 80GB (79.15 GiB)",
    "version": "0.11.2 (V1)",
    "tp": 2,
    "total_gpu_gib": 79.15,
    "gpu_mem_util": 0.9,
    "max_model_len": 4096,
    "weights_gib": 15.5,
    "kv_gib": 8.0,
    "kv_tokens": 131072,
    "max_concurrency": 16.0,
    "max_concurrency_tokens": 8192,
    "score": ["weights", "kv_bytes_per_token"],
}


def one(**changes: Any) -> rows.Row | None:
    return next(rows.selected(iter([RECORD | changes])), None)


def test_every_quantity_of_a_full_record_is_read():
    row = one()
    assert row is not None
    assert (row.weights_gib, row.pool_gib, row.concurrency) == (15.5, 8.0, 16.0)
    assert row.kv_bytes_per_token == 65536  # 8 GiB over 131,072 tokens
    assert row.budget_gib == pytest.approx(71.235)
    assert (row.tp, row.cards, row.context, row.precision) == (2, 2, 8192, "awq")


@pytest.mark.parametrize(
    "changes",
    [
        {"hf_id_source": "inferred"},
        {"hf_id": None},
        {"confidence": "low"},
        {"engine": "llama.cpp"},
        {"kind": "sleep"},
        {"score": [], "kv_gib": -1.5},
    ],
)
def test_rows_that_cannot_be_trusted_are_left_out(changes: dict[str, Any]):
    assert one(**changes) is None


@pytest.mark.parametrize("changes", [{"hybrid": True}, {"hf_id": "google/gemma-3-27b-it"}, {"score": ["weights"]}])
def test_a_model_of_several_caches_has_no_bytes_a_token(changes: dict[str, Any]):
    row = one(**changes)
    assert row is not None
    assert row.kv_bytes_per_token is None
    assert row.concurrency == 16.0


@pytest.mark.parametrize("missing", ["total_gpu_gib", "gpu_mem_util"])
def test_a_pool_needs_its_budget(missing: str):
    row = one(**{missing: None})
    assert row is not None
    assert row.pool_gib is None
    assert row.held_gib == 8.0


def test_rigfit_is_asked_twice_where_a_pool_is_fixed():
    row = one()
    assert row is not None
    first, second = rows.requests(row)
    assert first["gpu"] == "H100"
    assert first["engine_version"] == "0.11.2"
    assert first["engine_generation"] == "V1"
    assert first["gpu_total_bytes"] == int(79.15 * rows.GIB)
    assert "kv_cache_memory_bytes" not in first
    assert second["id"] == "A1#pool"
    assert second["kv_cache_memory_bytes"] == 8 * rows.GIB
    assert second["max_model_len"] == 8192


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("bf16 (dummy weights)", "bf16"),
        ("fp8 (online)", "fp8-online"),
        ("fp8 (Marlin on A100)", "fp8"),
        ("gptq_marlin int4", "gptq-int4"),
        ("nvfp4 + fp8 mixed", None),
        ("mxfp4 experts + fp8 dense", None),
        (None, None),
    ],
)
def test_precisions_are_read_as_they_are_written(text: str | None, word: str | None):
    assert rows.precision(text) == word


@pytest.mark.parametrize(
    ("text", "name"), [("RTX A6000 48GB", "RTX A6000"), ("24GB class (21.95 GiB total)", None), ("GB10 x2", "GB10")]
)
def test_a_class_of_cards_is_no_card(text: str, name: str | None):
    assert rows.card(text) == name
