"""The image's recipe, by hadolint (Docker's own engine is not asked: building needs one)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HADOLINT = next((str(p) for p in [ROOT / ".proof" / "bin" / "hadolint"] if p.exists()), shutil.which("hadolint"))


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([str(HADOLINT), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
