"""Ask the real vLLM: one child process for each pretended card. What it said last lies in ``.build/vllm``."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROBE = ROOT / "tools" / "vram" / "probe.py"
KEPT = ROOT / ".build" / "vllm"
SECONDS = 1500


def answers(cases: Sequence[dict[str, Any]], keep_as: str | None = None) -> dict[str, dict[str, Any]]:
    """Ask the probe; returns its answers by id, and keeps them under a name for ``report.py``."""
    by_card: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in cases:
        by_card[case.get("capability", "9.0")].append(case)
    found: dict[str, dict[str, Any]] = {}
    for capability, asked in by_card.items():
        command = [os.environ["RIGFIT_VLLM_PYTHON"], str(PROBE), "--capability", capability]
        lines = "".join(json.dumps(case) + "\n" for case in asked)
        done = subprocess.run(
            command, input=lines, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=SECONDS
        )
        found |= {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    if keep_as:
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{keep_as}.json").write_text(json.dumps([(case, found.get(case["id"])) for case in cases]))
    return found
