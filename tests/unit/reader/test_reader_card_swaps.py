"""Another card in a later turn: as many as before, unless a number is said."""

from __future__ import annotations

import pytest

from agent.reader import read

EIGHT = "llama 70b on 8xH100?"


@pytest.mark.parametrize(
    ("reply", "name", "count"),
    [
        ("а на H200?", "H200", 8),
        ("B200 then?", "B200", 8),
        ("а на b200?", "B200", 8),
        ("how about H200s?", "H200", 8),
        ("sorry, H200", "H200", 8),
        ("на H200 пойдёт?", "H200", 8),
        ("на одной b200?", "B200", 1),
        ("and on a single B200?", "B200", 1),
        ("what about a B200?", "B200", 1),
        ("а если 4 B200?", "B200", 4),
        ("у меня B200", "B200", 1),
    ],
)
def test_another_card_keeps_the_count(reply: str, name: str, count: int) -> None:
    (gpu,) = read([EIGHT, reply]).gpus
    assert (gpu.name, gpu.count) == (name, count)
