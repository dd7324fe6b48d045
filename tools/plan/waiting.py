"""How long people wait: for a sleeping model to wake, for one that was stopped to start again."""

from __future__ import annotations

from typing import Literal

from tools.domain import Band
from tools.units import GIB

WAKE_BYTES_PER_S = (3.75 * GIB, 10 * GIB, 20 * GIB)
"""Copying weights back at wake: measured 90 GiB in 24 s, and a 30B in 2.9 s (vLLM's sleep-mode article)."""

SLEEP_BYTES_PER_S = 3 * GIB
"""Copying weights to RAM at sleep level 1: measured 2.7-9.7 s for 8-28 GiB."""

DISCARD_S = 0.06
"""Falling asleep at level 2, which copies nothing: measured 0.02-0.06 s."""

DISK_BYTES_PER_S = (0.5e9, 2.5e9, 6e9)
"""Reading weights from disk: a SATA SSD moves 0.55 GB/s, NVMe over PCIe 3.0 x4 3.5 and 4.0 x4 7 (their interfaces'
bounds), of which loading reaches some 80 %; the page cache is faster than any."""

START_S = (25.0, 50.0, 120.0)
"""A vLLM start without the reading of weights: imports, profiling, compilation, graphs. Assumed; the low end needs the
compilation cache (a start on a CPU takes 25-45 s)."""

SLEEP_RESIDUE_BYTES = round(2.3 * GIB)
"""What a sleeping engine still holds on the card: 1.2-2.3 GiB a process where it was told apart; the upper end."""


def wake_seconds(woken_bytes: int, put_to_sleep_bytes: int, level: Literal[1, 2] = 1) -> Band:
    """Estimate the wait for a sleeping model: the one awake is put to sleep, then the other's weights come back.

    At level 1 weights wait in RAM; at level 2 they are thrown away and read from disk again.
    Worked example: 30 GiB woken after 15 GiB went to sleep, level 1: 30 / 10 + 15 / 3 = 8 s.

    Args:
        woken_bytes: weights of the model that wakes, on its fullest card.
        put_to_sleep_bytes: weights of the model that makes room, on its fullest card.
        level: vLLM's sleep level of both.
    """
    rates = WAKE_BYTES_PER_S if level == 1 else DISK_BYTES_PER_S
    slow, usual, fast = (woken_bytes / rate for rate in rates)
    asleep = put_to_sleep_bytes / SLEEP_BYTES_PER_S if level == 1 else DISCARD_S
    return Band(round(fast + asleep * 0.8, 1), round(usual + asleep, 1), round(slow + asleep * 1.2, 1))


PLAIN_START_S = (1.0, 3.0, 8.0)
"""A start of llama.cpp without the reading of weights: the context on the card and one warm-up step. Assumed."""


def switch_seconds(file_bytes: int) -> Band:
    """Estimate the wait for a model that another has to make room for, of engines that stop and start processes.

    Its file is read from disk, or from the page cache where RAM still holds it, which moves as much as PCIe does.
    Worked example: 16 GiB: 1 + 16 / 22.4 = 1.8 s from the page cache (24e9 B/s), 3 + 6.9 = 9.9 s from an NVMe disk.

    Args:
        file_bytes: of the model that starts.
    """
    slow, usual, _ = DISK_BYTES_PER_S
    cached = 24e9
    return Band(
        round(PLAIN_START_S[0] + file_bytes / cached, 1),
        round(PLAIN_START_S[1] + file_bytes / usual, 1),
        round(PLAIN_START_S[2] + file_bytes / slow, 1),
    )


def restart_seconds(file_bytes: int) -> Band:
    """Estimate the wait for a model whose process was stopped: its start, and its files read from disk.

    Args:
        file_bytes: weight files that the machine reads.
    """
    slow, usual, fast = (file_bytes / rate for rate in DISK_BYTES_PER_S)
    return Band(round(START_S[0] + fast, 1), round(START_S[1] + usual, 1), round(START_S[2] + slow, 1))
