"""A paste of megabytes on the command line: one clear answer, with memory that does not grow with it many times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEGABYTES = 2_000_000
SPARE_KIB = 150 * 1024
"""What a paste may take besides, some fifty times its size at most: texts are copied, and logs split into lines."""
STATUS = Path("/proc/self/status")
RUN = (
    "import sys; from ui.cli import run; code = run(sys.argv[1:]);"
    f"peak = next(line for line in open('{STATUS}') if line.startswith('VmHWM'));"
    "print(peak.split()[1], file=sys.stderr); sys.exit(code)"
)
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells a process its own peak")


def rigfit(folder: Path, *words: str, typed: str = "") -> tuple[str, int]:
    """Run a command; returns what it printed, and its peak memory in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        cwd=ROOT,
        env={"RIGFIT_DATA_DIR": str(folder), "RIGFIT_NETWORK": "off", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        input=typed.encode(),
        capture_output=True,
        check=True,
        timeout=100,
    )
    return done.stdout.decode(), int(done.stderr.split()[-1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> int:
    answer, peak = rigfit(
        tmp_path_factory.mktemp("data"), "ask", "-", "--rig", "none", typed="Qwen3-8B on an RTX 3090?"
    )
    assert "Yes, it fits" in answer
    return peak


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("слово " * (MEGABYTES // 6), "не больше 20000"),
        ("why?\n" + "INFO 11-20 10:00:00 [core.py:1] Available KV cache memory: 5.21 GiB\n" * 30_000, "5.21 GiB"),
        ("x\n" * (5 * MEGABYTES), "at most 20000"),
    ],
)
def test_ask_reads_megabytes_from_standard_input(tmp_path: Path, small: int, typed: str, said: str) -> None:
    answer, peak = rigfit(
        tmp_path, "ask", "-", "--rig", "none", "--lang", "ru" if "слово" in typed else "en", typed=typed
    )
    assert said in answer
    assert peak < small + SPARE_KIB


def test_read_takes_megabytes_in_a_batch(tmp_path: Path) -> None:
    row = json.dumps({"id": 1, "text": "Qwen3-8B on an RTX 3090? " + "lorem ipsum " * (MEGABYTES // 12)})
    printed, peak = rigfit(tmp_path, "read", "--batch", "-", typed=row)
    assert json.loads(printed)["models"][0]["size_b"] == 8
    assert peak < SPARE_KIB
