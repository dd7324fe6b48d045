"""This machine's hardware, through recorded machines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts import text
from tools.domain import Gpu, Rig, note
from tools.errors import BadValue
from tools.specs.cards import engine_total
from tools.specs.detect import detect_rig, rig_from_json, rig_json
from tools.specs.probes import AppleChip, Card, MachineProbes, ProbeFailed
from tools.units import GIB, MIB

MACHINES = Path(__file__).parents[2] / "fixtures" / "machines"


class Recorded:
    """Answers of a machine read from a fixture."""

    def __init__(self, name: str) -> None:
        self._data: dict[str, Any] = json.loads((MACHINES / f"{name}.json").read_text())

    def _cards(self, vendor: str) -> tuple[Card, ...]:
        found = self._data.get(vendor, [])
        if isinstance(found, dict):
            raise ProbeFailed(found["error"])
        return tuple(Card(**card) for card in found)

    def nvidia(self) -> tuple[Card, ...]:
        return self._cards("nvidia")

    def amd(self) -> tuple[Card, ...]:
        return self._cards("amd")

    def apple(self) -> AppleChip | None:
        return AppleChip(**self._data["apple"]) if "apple" in self._data else None

    def ram_bytes(self) -> int | None:
        return self._data["ram_bytes"]

    def disk_free_bytes(self) -> int | None:
        return self._data["disk_free_bytes"]


def codes(rig: Rig) -> list[str]:
    return [n.code for n in rig.notes]


def test_a_desktop_card_with_memory_in_use() -> None:
    rig = detect_rig(Recorded("rtx-pro-6000-desktop"))
    (gpu,) = rig.gpus
    assert gpu.memory_bytes == 97887 * MIB
    assert gpu.reserved_bytes == 2350 * MIB
    assert gpu.total_provenance == "measured"
    assert gpu.bandwidth_bytes_per_s == 1792e9
    assert gpu.memory_verified
    assert (rig.source, rig.ram_bytes, rig.disk_free_bytes) == ("detected", 128 * GIB, 900 * GIB)
    assert codes(rig) == ["specs.gpu_in_use"]


def test_several_cards_keep_their_order() -> None:
    assert [gpu.reserved_bytes for gpu in detect_rig(Recorded("two-3090")).gpus] == [12 * MIB, 0]
    mixed = detect_rig(Recorded("mixed-4090-3060")).gpus
    assert [gpu.name for gpu in mixed] == ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060"]
    assert [gpu.memory_bytes // MIB for gpu in mixed] == [24564, 12288]


def test_the_drivers_figure_wins_over_the_catalogues() -> None:
    (gpu,) = detect_rig(Recorded("a6000-ecc")).gpus
    assert gpu.memory_bytes == 46068 * MIB
    assert gpu.cuda_total_bytes == engine_total(46068 * MIB)
    assert abs(gpu.cuda_total_bytes / GIB - 44.55) < 0.21  # measured on such a card


def test_what_the_driver_keeps_for_itself_is_not_counted_twice() -> None:
    (gpu,) = detect_rig(Recorded("old-driver-v1-memory")).gpus
    kept = gpu.memory_bytes - gpu.cuda_total_bytes
    assert gpu.reserved_bytes == 700 * MIB - kept


def test_a_split_card_is_said() -> None:
    rig = detect_rig(Recorded("h100-mig"))
    assert codes(rig) == ["specs.mig_mode"]
    assert rig.gpus[0].compute_capability == "9.0"


def test_an_amd_card_without_a_name() -> None:
    (gpu,) = detect_rig(Recorded("mi300x")).gpus
    assert (gpu.name, gpu.vendor, gpu.compute_capability) == ("AMD Instinct MI300X", "amd", "gfx942")
    assert gpu.cuda_total_bytes == gpu.memory_bytes == 196592 * MIB


@pytest.mark.parametrize(("machine", "total"), [("strix-halo", 128 * GIB), ("dgx-spark", 130_600_000_000)])
def test_unified_memory_is_the_systems(machine: str, total: int) -> None:
    (gpu,) = detect_rig(Recorded(machine)).gpus
    assert gpu.unified
    assert gpu.memory_bytes == total
    assert gpu.cuda_total_bytes < total


def test_an_apple_machine() -> None:
    (gpu,) = detect_rig(Recorded("m3-ultra")).gpus
    assert (gpu.name, gpu.unified, gpu.memory_bytes) == ("Apple M3 Ultra", True, 512 * GIB)
    assert gpu.cuda_total_bytes == 384 * GIB
    assert gpu.reserved_bytes == 0  # 40 GiB in use lie in the quarter that stays the system's
    assert gpu.bandwidth_bytes_per_s == 819e9


def test_no_gpu_and_a_broken_driver_are_notes() -> None:
    assert codes(detect_rig(Recorded("no-gpu"))) == ["specs.no_gpu_found"]
    broken = detect_rig(Recorded("broken-driver"))
    assert broken.gpus == ()
    assert codes(broken) == ["specs.driver_broken", "specs.no_gpu_found"]
    assert "version mismatch" in text("ru", broken.notes[0].code, **broken.notes[0].params)


def test_an_unknown_card_is_still_a_card() -> None:
    (gpu,) = detect_rig(Recorded("unknown-card")).gpus
    assert (gpu.name, gpu.memory_bytes) == ("NVIDIA Graphics Device", 32768 * MIB)
    assert gpu.cuda_total_bytes == engine_total(32768 * MIB)
    assert gpu.compute_capability == "13.0"


def test_this_machine_answers_without_an_error() -> None:
    rig = detect_rig()
    assert rig.ram_bytes
    assert rig.source == "detected"


def test_sysfs_is_read(tmp_path: Path) -> None:
    device = tmp_path / "class/drm/card1/device"
    device.mkdir(parents=True)
    (tmp_path / "class/drm/card1-DP-1/device").mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "mem_info_vram_total").write_text(f"{24560 * MIB}\n")
    (device / "mem_info_vram_used").write_text(f"{900 * MIB}\n")
    for number, properties in ((0, "cpu_cores_count 16\ngfx_target_version 0\n"), (1, "gfx_target_version 110000\n")):
        node = tmp_path / f"class/kfd/kfd/topology/nodes/{number}"
        node.mkdir(parents=True)
        (node / "properties").write_text(properties)
    (card,) = MachineProbes(sysfs=tmp_path).amd()
    assert card == Card("", 24560 * MIB, 900 * MIB, "gfx1100")


@pytest.mark.parametrize("file", sorted(MACHINES.glob("*.json")), ids=lambda file: file.stem)
def test_rigs_round_trip_through_json(file: Path) -> None:
    rig = detect_rig(Recorded(file.stem))
    assert rig_from_json(json.loads(json.dumps(rig_json(rig)))) == rig


PLAIN = rig_json(Rig((Gpu("X", "nvidia", 24 * GIB, 23 * GIB),), notes=(note("specs.no_gpu_found"),)))


@pytest.mark.parametrize(
    "changed",
    [
        {"gpus": None},
        {"gpus": "many"},
        {"gpus": [7]},
        {"gpus": [{}]},
        {"gpus": [{}] * 5000},
        {"nodes": 0},
        {"nodes": True},
        {"nodes": 10**12},
        {"source": "evil"},
        {"source": []},
        {"ram_bytes": -1},
        {"ram_bytes": "64GB"},
        {"gpus": [PLAIN["gpus"][0] | {"memory_bytes": -5}]},
        {"gpus": [PLAIN["gpus"][0] | {"memory_bytes": 1e99}]},
        {"gpus": [PLAIN["gpus"][0] | {"memory_bytes": None}]},
        {"gpus": [PLAIN["gpus"][0] | {"cuda_total_bytes": 25 * GIB}]},
        {"gpus": [PLAIN["gpus"][0] | {"reserved_bytes": 25 * GIB}]},
        {"gpus": [PLAIN["gpus"][0] | {"name": "a\nb"}]},
        {"gpus": [PLAIN["gpus"][0] | {"name": ["x"]}]},
        {"gpus": [PLAIN["gpus"][0] | {"node": 3}]},
        {"gpus": [PLAIN["gpus"][0] | {"bandwidth_bytes_per_s": float("nan")}]},
        {"gpus": [PLAIN["gpus"][0] | {"unified": "yes"}]},
        {"gpus": [PLAIN["gpus"][0] | {"total_provenance": "guess"}]},
        {"gpus": [PLAIN["gpus"][0] | {"total_provenance": {}}]},
    ],
)
def test_damaged_rigs_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadValue) as error:
        rig_from_json(PLAIN | changed)
    assert text("ru", error.value.code, **error.value.params)


def test_a_rig_that_is_no_object_is_refused() -> None:
    for data in (None, [], "rig", 7):
        with pytest.raises(BadValue):
            rig_from_json(data)  # type: ignore[arg-type]


def test_foreign_notes_are_left_out() -> None:
    hostile = [{"code": "plan.x", "params": {}}, {"code": "specs.no_gpu_found", "params": {"a": [1]}}, 7, None]
    rig = rig_from_json(PLAIN | {"notes": hostile})
    assert rig.notes == (note("specs.no_gpu_found"),)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["gpus", "nodes", "name", "memory_bytes", "notes", "code"]), inner, max_size=4
            )
        ),
    )
)
def test_any_json_is_a_rig_or_refused(data: Any) -> None:
    try:
        rig = rig_from_json(data)
    except BadValue:
        return
    assert rig_from_json(rig_json(rig)) == rig


def test_a_rig_by_hand_round_trips() -> None:
    gpu = Gpu("X", "amd", 10, 9, node=1, fp8=None, fp4=True, compute_capability=None)
    rig = Rig((gpu, replace(gpu, node=0)), 2, None, None, "panel")
    assert rig_from_json(rig_json(rig)) == rig
