"""Ask the real vLLM: one child process a pretended card."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROBE = Path(__file__).parents[2] / "tools" / "vram" / "probe.py"
SECONDS = 1200


def answers(cases: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Ask the probe; returns its answers by id."""
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
    return found
