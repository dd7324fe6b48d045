"""Answers kept by identity: the same object is answered once, an equal one anew, and no more are kept than said."""

from __future__ import annotations

import pytest

from tools.vram.remembered import remembered


def test_the_same_object_and_settings_are_answered_once() -> None:
    asked: list[tuple[list[int], int]] = []

    @remembered(8, by_identity=1)
    def total(sizes: list[int], times: int) -> int:
        asked.append((sizes, times))
        return times * sum(sizes)

    sizes = [1, 2]
    assert [total(sizes, 2), total(sizes, 2), total(sizes, 3), total([1, 2], 2)] == [6, 6, 9, 6]
    assert len(asked) == 3


def test_when_full_all_is_forgotten_and_answers_stay_right() -> None:
    asked: list[int] = []

    @remembered(2, by_identity=0)
    def double(size: int) -> int:
        asked.append(size)
        return 2 * size

    assert [double(size) for size in (1, 2, 3, 1)] == [2, 4, 6, 2]
    assert asked == [1, 2, 3, 1]


def test_a_refusal_is_not_kept() -> None:
    @remembered(2, by_identity=0)
    def half(size: int) -> int:
        if size % 2:
            raise ValueError(size)
        return size // 2

    for _ in range(2):
        with pytest.raises(ValueError, match="3"):
            half(3)
    assert half(4) == 2
