"""What a start measured beside what was predicted, from recorded logs and metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_specs import CARD, FOLDER, spec_of

from prompts import LANGUAGES
from serving.engine_metrics import CacheInfo, cache_info
from serving.measured import Row, StartUp, start_up
from serving.measured_words import start_up_json, start_up_table
from serving.measuring import read_tail
from serving.spec import EngineSpec
from tools.domain import Band
from tools.logs.facts import EngineLog
from tools.units import GIB, MIB

STARTS = FOLDER / "starts"
METRICS = (STARTS / "vllm-0.32-cpu.metrics").read_text(encoding="utf-8")
ON_CPU = spec_of("rigfit/tiny-qwen3", cpu=True, max_model_len=2048, max_num_seqs=2, kv_cache_memory_bytes=256 * MIB)
ON_CARD = spec_of(gpu_memory_utilization=0.9)
"""The deployment of ``logs/vllm-0.32-fits.log``."""


def log_of(path: Path) -> EngineLog:
    found = read_tail(path)
    assert found is not None
    return found


CPU_LOG = log_of(STARTS / "vllm-0.32-cpu.log")
CARD_LOG = log_of(FOLDER / "logs" / "vllm-0.32-fits.log")


def start_of(spec: EngineSpec, log: EngineLog | None, cache: CacheInfo | None) -> StartUp:
    found = start_up(spec, log, cache)
    assert found is not None
    return found


def test_the_metrics_of_a_real_engine_are_read() -> None:
    assert cache_info(METRICS) == CacheInfo(tokens=131_072, fits=64.0, blocks=1024, set_bytes=256 * MIB)


def test_a_start_on_the_processor_is_as_predicted_and_what_is_not_printed_is_unknown() -> None:
    start = start_of(ON_CPU, CPU_LOG, cache_info(METRICS))
    assert (start.on_cpu, start.version, start.name) == (True, "0.32.0", "a")
    for field, value in (("kv_pool_bytes", 256 * MIB), ("kv_pool_tokens", 131_072), ("max_concurrency", 64.0)):
        row = start.row(field)
        assert row.measured == value
        assert row.difference == 0
        assert row.within
        assert row.source == "metrics"
    weights = start.row("weights_bytes")
    assert weights.measured is None
    assert weights.predicted is not None
    assert weights.difference is weights.within is None
    assert start.row("load_s").measured == 0.17
    assert start.row("init_s").measured == 0.98
    assert start.row("activation_bytes") == Row("activation_bytes")


def test_the_log_alone_says_the_same_but_for_rounding() -> None:
    both = start_of(ON_CPU, CPU_LOG, cache_info(METRICS))
    alone = start_of(ON_CPU, CPU_LOG, None)
    assert alone.measured() == both.measured()
    assert {row.source for row in alone.rows} == {"log", None}


def test_the_metrics_alone_tell_of_the_cache() -> None:
    start = start_of(ON_CPU, None, cache_info(METRICS))
    assert start.version is None
    assert {row.field for row in start.rows if row.measured is not None} == {
        "kv_pool_bytes",
        "kv_pool_tokens",
        "max_concurrency",
    }
    assert start_up(ON_CPU, None, None) is None


def test_a_start_on_a_card_has_every_part_beside_its_prediction() -> None:
    start = start_of(ON_CARD, CARD_LOG, None)
    footprint = ON_CARD.unit.instance.footprint
    weights = start.row("weights_bytes")
    assert weights.measured == round(15.28 * GIB)
    assert weights.predicted is not None
    assert weights.predicted.value == footprint.weights_bytes
    assert weights.difference == round(15.28 * GIB) - footprint.weights_bytes
    assert start.row("non_torch_bytes").measured == pytest.approx(0.38 * GIB, abs=2)
    assert start.row("activation_bytes").measured == pytest.approx((0.7 - 0.46) * GIB, abs=2)
    assert start.row("graphs_bytes").measured == round(0.46 * GIB)
    assert start.row("kv_pool_bytes").measured == round(4.86 * GIB)
    assert start.row("kv_pool_tokens").measured == 35_376
    assert start.row("load_s").measured == 4.911402
    assert all(row.within for row in start.rows if row.difference is not None)
    assert start.predicted()["kv_pool_tokens"] == footprint.kv_pool_tokens


def test_each_figure_stands_once_and_unmeasured_parts_keep_their_prediction() -> None:
    bare = replace(CARD_LOG, memory=replace(CARD_LOG.memory, consumed_bytes=None, non_torch_bytes=None))
    for log in (CARD_LOG, bare, replace(CARD_LOG, memory=replace(CARD_LOG.memory, weights_bytes=None))):
        fields = [row.field for row in start_of(ON_CARD, log, None).rows]
        assert len(fields) == len(set(fields))
    row = start_of(ON_CARD, bare, None).row("non_torch_bytes")
    assert row.measured is None
    assert row.predicted is not None


def test_a_pool_that_is_a_share_of_the_ram_is_not_predicted() -> None:
    at = ON_CPU.argv.index("--kv-cache-memory-bytes")
    spec = replace(ON_CPU, argv=(*ON_CPU.argv[:at], *ON_CPU.argv[at + 2 :], "--gpu-memory-utilization", "0.3"))
    start = start_of(spec, CPU_LOG, cache_info(METRICS))
    assert start.row("kv_pool_tokens") == Row("kv_pool_tokens", None, 131_072, "metrics")


def test_of_several_starts_in_a_log_the_last_counts(tmp_path: Path) -> None:
    text = (STARTS / "vllm-0.32-cpu.log").read_text(encoding="utf-8")
    log = tmp_path / "engine.log"
    log.write_text((STARTS / "vllm-0.32-cpu-refused.log").read_text() + text.replace("131,072", "1,024") + text)
    assert log_of(log).memory.kv_tokens == 131_072
    log.write_bytes(b"\xff" * (5 << 20) + b"\n" + text.encode())
    assert log_of(log).memory.kv_tokens == 131_072
    assert read_tail(tmp_path / "none.log") is None
    (tmp_path / "empty.log").write_text("")
    assert read_tail(tmp_path / "empty.log") is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_has_a_row_a_figure(language: str) -> None:
    table = start_up_table(start_of(ON_CARD, CARD_LOG, None), language)
    assert {len(row) for row in table} == {5}
    shown = {row[0]: row[1:] for row in table}
    assert len(shown) == len(table)
    cells = [cell for row in table for cell in row]
    assert "15.28 GiB" in cells
    assert "+0.01 GiB" in cells
    assert "35,376" in cells
    assert "4.9" in cells
    unknown = start_up_table(start_of(ON_CPU, CPU_LOG, None), language)[1]
    assert unknown[1] == ("unknown" if language == "en" else "неизвестно")


def test_the_data_has_whole_bytes_and_survives_json() -> None:
    data = start_up_json(start_of(ON_CARD, CARD_LOG, None))
    assert json.loads(json.dumps(data)) == data
    pool = data["figures"]["kv_pool_bytes"]
    assert isinstance(pool["difference"], int)
    assert pool["difference"] == pool["measured"] - pool["predicted"]["value"]
    assert data["figures"]["weights_bytes"]["source"] == "log"
    assert data["figures"]["init_s"]["measured"] is None


ENDS = st.lists(st.floats(0, 1e12), min_size=3, max_size=3).map(sorted)


@given(ends=ENDS, measured=st.floats(0, 1e12), field=st.sampled_from(["kv_pool_bytes", "kv_pool_tokens"]))
def test_within_is_the_band_but_for_rounding(ends: list[float], measured: float, field: str) -> None:
    row = Row(field, Band(*ends), measured, "log")
    assert row.difference == measured - ends[1]
    if ends[0] <= measured <= ends[2]:
        assert row.within
    if measured > ends[2] + max(0.01 * GIB + 1, 0.005 * ends[1]):
        assert not row.within


def test_of_several_engines_the_one_with_the_least_cache_counts() -> None:
    line = next(line for line in METRICS.splitlines() if line.startswith("vllm:cache_config_info"))
    other = line.replace('engine="0"', 'engine="1"').replace('"131072"', '"1024"').replace('"64.0"', '"0.5"')
    assert cache_info(f"{line}\n{other}\n") == CacheInfo(tokens=1024, fits=0.5, blocks=1024, set_bytes=256 * MIB)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ('kv_cache_size_tokens="None"', None),
        ('kv_cache_size_tokens="-5",kv_cache_max_concurrency="nan"', None),
        ('kv_cache_size_tokens="1e400",num_gpu_blocks="inf"', None),
        ('kv_cache_size_tokens="12.5",kv_cache_max_concurrency="2.5"', CacheInfo(fits=2.5)),
        ('kv_cache_size_tokens="' + "9" * 5000 + '"', None),
    ],
)
def test_labels_that_are_no_numbers_are_unknown(labels: str, expected: CacheInfo | None) -> None:
    assert cache_info(f"vllm:cache_config_info{{{labels}}} 1.0\n") == expected


@pytest.mark.parametrize("text", ["", "x", "vllm:cache_config_info{", "vllm:cache_config_info{a=} 1", "\0\n" * 50])
def test_what_is_no_metric_says_nothing(text: str) -> None:
    assert cache_info(text) is None


@given(st.text(max_size=200))
def test_of_whatever_stands_there_only_sane_figures_are_read(text: str) -> None:
    for line in (text, f'kv_cache_size_tokens="{text}"}} 1.0', f'kv_cache_size_tokens="5",x="{text}"}} 1.0'):
        found = cache_info("vllm:cache_config_info{" + line)
        figures = [] if found is None else [found.tokens, found.fits, found.blocks, found.set_bytes]
        assert found is None or figures != [None] * 4
        assert all(figure is None or 0 < figure < 1 << 60 for figure in figures)


@given(st.text(max_size=200))
def test_no_other_label_changes_what_is_read(text: str) -> None:
    """Backslash, quote and end of line are written as Prometheus's text format says; others stand as they are."""
    label = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert cache_info(f'vllm:cache_config_info{{kv_cache_size_tokens="5",x="{label}"}} 1.0') == CacheInfo(tokens=5)


def test_the_card_of_the_recorded_log_is_the_one_that_is_planned_for() -> None:
    assert CARD_LOG.memory.total_bytes == pytest.approx(CARD.cuda_total_bytes, rel=0.01)
