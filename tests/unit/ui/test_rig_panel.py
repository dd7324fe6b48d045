from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import RigfitError
from tools.specs.gpus import GpuCatalogue
from ui.rig_panel import COMMON_CARDS, RigFields, fields_of_rig, rig_label, rig_of_fields

GPUS = GpuCatalogue.load()


@pytest.mark.parametrize("card", COMMON_CARDS)
def test_every_offered_card_is_known(card: str) -> None:
    rig = rig_of_fields(RigFields(card), GPUS)
    assert rig is not None
    assert len(rig.gpus) == 1


@pytest.mark.parametrize(
    "fields",
    [
        RigFields("RTX 3090"),
        RigFields("RTX 3090", "4", "2GiB", "64GiB"),
        RigFields("2xRTX 3090 + RTX 4090", "1", "1.5GiB", ""),
        RigFields("98GB"),
    ],
)
def test_a_rig_comes_back_from_its_fields(fields: RigFields) -> None:
    rig = rig_of_fields(fields, GPUS)
    assert rig is not None
    again = rig_of_fields(fields_of_rig(rig), GPUS)
    assert again is not None
    assert [gpu.memory_bytes for gpu in again.gpus] == [gpu.memory_bytes for gpu in rig.gpus]
    assert [gpu.reserved_bytes for gpu in again.gpus] == [gpu.reserved_bytes for gpu in rig.gpus]
    assert again.ram_bytes == rig.ram_bytes
    assert rig_label(rig)


@pytest.mark.parametrize(
    "fields",
    [
        RigFields("RTX 3090", "-5"),
        RigFields("RTX 3090", "1e9"),
        RigFields("RTX 3090", "1.5"),
        RigFields("RTX 3090", "nan"),
        RigFields("RTX 3090", "1", "lots"),
        RigFields("RTX 3090", "1", "", "-3"),
        RigFields("+"),
        RigFields("no such card at all"),
        RigFields("1000xRTX 3090 + 1000xRTX 4090"),
    ],
)
def test_what_cannot_be_read_is_refused(fields: RigFields) -> None:
    with pytest.raises(RigfitError):
        rig_of_fields(fields, GPUS)


def test_no_card_is_no_rig() -> None:
    assert rig_of_fields(RigFields("  ", "2"), GPUS) is None
    assert rig_label(None) == ""


@given(st.text(max_size=30), st.text(max_size=6), st.text(max_size=8), st.text(max_size=8))
def test_any_text_gives_a_rig_or_a_refusal(card: str, count: str, reserved: str, ram: str) -> None:
    with suppress(RigfitError):
        rig = rig_of_fields(RigFields(card, count, reserved, ram), GPUS)
        assert rig is None or all(gpu.cuda_total_bytes > 0 for gpu in rig.gpus)
