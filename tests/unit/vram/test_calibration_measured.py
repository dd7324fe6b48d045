"""A machine's own measurements: what carries over to what, and how it is kept."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.calibrations import FILE, Calibrations
from tools.domain import Deployment, Gpu, Measured
from tools.errors import StorageError
from tools.specs.checkpoints import checkpoints_for
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.vram.calibration import with_measured
from tools.vram.estimate import estimate

GIB = 1 << 30
MODEL = ModelCatalogue.load().find("Qwen/Qwen3-8B").spec
OTHER = ModelCatalogue.load().find("Qwen/Qwen3-4B").spec
CARD = GpuCatalogue.load().find("RTX 3090").gpu
RUN = Deployment(
    MODEL,
    MODEL.checkpoints[0],
    engine_version="0.32.0",
    max_model_len=16384,
    max_num_seqs=64,
    gpu_memory_utilization=0.9,
)
ONE = Measured(
    card=CARD.name, engine="vllm", version="0.31.2", checkpoint=MODEL.checkpoints[0].repo, precision="bf16", tp=1, pp=1,
    sequences=64, step_tokens=2048, enforce_eager=False, date="2026-11-20", log="vllm.log",
    total_bytes=round(23.56 * GIB), weights_bytes=round(15.31 * GIB),
    non_torch_bytes=round(0.42 * GIB), activation_bytes=round(0.33 * GIB),
    graphs_bytes=round(0.61 * GIB),
)  # fmt: skip


def own(*measured: Measured, gpu: Gpu = CARD) -> Gpu:
    return with_measured([gpu], measured)[0]


def test_the_same_deployment_takes_every_part() -> None:
    footprint = estimate(RUN, own(ONE))
    assert footprint.weights_bytes == ONE.weights_bytes
    assert footprint.activation_bytes.value == ONE.activation_bytes
    assert footprint.cuda_graph_bytes.value == ONE.graphs_bytes
    assert footprint.context_bytes.value == pytest.approx((0.42 + 0.5) * GIB, abs=2)
    pool = footprint.kv_pool_bytes
    assert pool is not None
    assert pool.value == pytest.approx((0.9 * 23.56 - 15.31 - 0.42 - 0.33 - 0.61) * GIB, abs=4)
    for field in ("weights_bytes", "activation_bytes", "cuda_graph_bytes", "context_bytes"):
        assert footprint.provenance[field] == "measured"
    assert [note.code for note in footprint.assumptions].count("calibration.used") == 1


def test_bands_become_narrow_and_stay_bands() -> None:
    before, after = estimate(RUN, CARD), estimate(RUN, own(ONE))
    for field in ("activation_bytes", "cuda_graph_bytes", "context_bytes", "kv_pool_bytes"):
        wide, narrow = getattr(before, field), getattr(after, field)
        assert narrow.low <= narrow.value <= narrow.high
        assert narrow.high - narrow.low < wide.high - wide.low


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        ({"max_num_seqs": 8}, {"weights_bytes", "context_bytes"}),
        ({"max_num_batched_tokens": 8192}, {"weights_bytes", "context_bytes"}),
        ({"enforce_eager": True}, {"weights_bytes", "context_bytes"}),
        ({"max_model_len": 8192}, {"weights_bytes", "context_bytes", "activation_bytes", "cuda_graph_bytes"}),
        ({"tp": 2}, set()),
        ({"engine_version": "0.11.0"}, set()),
        ({"model": OTHER, "checkpoint": OTHER.checkpoints[0]}, {"context_bytes"}),
        ({"checkpoint": checkpoints_for(MODEL, "awq")[0]}, {"context_bytes"}),
    ],
)
def test_each_part_carries_over_to_what_it_holds_for(change: dict[str, object], measured: set[str]) -> None:
    footprint = estimate(replace(RUN, **change), own(ONE))  # type: ignore[arg-type]
    assert {field for field, source in footprint.provenance.items() if source == "measured"} == measured


def test_the_newest_measurement_counts_and_gaps_are_filled_by_older_ones() -> None:
    newest = replace(ONE, weights_bytes=round(15.40 * GIB), activation_bytes=None, date="2026-11-22")
    footprint = estimate(RUN, own(newest, ONE))
    assert footprint.weights_bytes == newest.weights_bytes
    assert footprint.activation_bytes.value == ONE.activation_bytes


def test_the_cards_total_is_taken_where_it_can_be_that_cards() -> None:
    assert own(ONE).cuda_total_bytes == ONE.total_bytes
    assert own(ONE).total_provenance == "measured"
    assert own(replace(ONE, total_bytes=12 * GIB)).cuda_total_bytes == CARD.cuda_total_bytes


def test_another_card_keeps_its_estimates() -> None:
    other = GpuCatalogue.load().find("RTX 4090").gpu
    assert own(ONE, gpu=other) == other
    assert estimate(RUN, own(gpu=CARD)) == estimate(RUN, CARD)


SIZES = st.one_of(st.none(), st.integers(0, 20 * GIB))


@given(weights=SIZES, non_torch=st.one_of(st.none(), st.integers(-GIB, 4 * GIB)), activation=SIZES, graphs=SIZES)
def test_parts_still_sum_to_the_total(
    weights: int | None, non_torch: int | None, activation: int | None, graphs: int | None
) -> None:
    one = replace(
        ONE, weights_bytes=weights, non_torch_bytes=non_torch, activation_bytes=activation, graphs_bytes=graphs
    )
    footprint = estimate(RUN, own(one))
    pool = footprint.kv_pool_bytes
    assert pool is not None
    assert pool.low <= pool.value <= pool.high
    parts = footprint.activation_bytes.value + footprint.cuda_graph_bytes.value + footprint.context_bytes.value
    assert footprint.total_bytes == pytest.approx(footprint.weights_bytes + max(0, pool.value) + parts, abs=4)


def test_measurements_are_kept_and_forgotten(tmp_path: Path) -> None:
    kept = Calibrations(tmp_path)
    assert kept.measured() == ()
    assert not (tmp_path / FILE).exists()
    assert kept.remember(ONE) == 1
    other = replace(ONE, checkpoint="Qwen/Qwen3-4B")
    assert kept.remember(other) == 2
    assert Calibrations(tmp_path).measured() == (other, ONE)
    assert kept.forget(1) == 1
    assert kept.forget(1) == 0
    assert kept.measured() == (other,)
    assert kept.forget() == 1
    assert kept.measured() == ()


def test_the_same_start_again_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    kept = Calibrations(tmp_path)
    kept.remember(ONE)
    kept.remember(replace(ONE, weights_bytes=1, date="2026-11-21"))
    assert [one.weights_bytes for one in kept.measured()] == [1]


def test_a_stamp_tells_a_change(tmp_path: Path) -> None:
    kept = Calibrations(tmp_path)
    assert kept.stamp() == 0
    kept.remember(ONE)
    assert kept.stamp() > 0


def test_damaged_rows_and_files_break_nothing(tmp_path: Path) -> None:
    kept = Calibrations(tmp_path)
    kept.remember(ONE)
    with sqlite3.connect(tmp_path / FILE) as connection:
        for text in ("{", "[]", "{}", '{"card": 5}'):
            connection.execute("INSERT INTO measured (facts) VALUES (?)", (text,))
    connection.close()
    assert kept.measured() == (ONE,)
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    assert kept.measured() == ()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(StorageError):
        Calibrations(blocked / "data").remember(ONE)
