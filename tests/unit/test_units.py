"""Sizes read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import BadValue
from tools.units import GIB, MIB, gib, parse_size, span


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("96GiB", 96 * GIB),
        ("97887MiB", 97887 * MIB),
        ("64GB", 64 * 10**9),
        ("8g", 8 * GIB),
        (" 1.5 gib ", 3 * GIB // 2),
        ("512", 512),
    ],
)
def test_sizes_are_read(said: str, size: int) -> None:
    assert parse_size(said) == size


@pytest.mark.parametrize("said", ["", "lots", "-5GiB", "1e9GiB", "GiB", "8 GiB free", "٨GiB x", "nan"])
def test_what_is_no_size_is_refused(said: str) -> None:
    with pytest.raises(BadValue):
        parse_size(said)


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_clear_refusal(said: str) -> None:
    try:
        size = parse_size(said)
    except BadValue:
        return
    assert size >= 0


def test_bytes_are_written_in_gib() -> None:
    assert gib(61_064_245_248) == "56.9 GiB"
    assert gib(2 * 61_064_245_248) == "113.7 GiB"


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [(101.2, 202.3, "100–200"), (18.0, 37.9, "18–38"), (0.4, 13.2, "0.4–13"), (5.2, 5.24, "5.2")],
)
def test_an_estimate_is_written_by_its_ends(low: float, high: float, written: str) -> None:
    assert span(low, high) == written
