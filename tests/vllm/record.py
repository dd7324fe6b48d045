"""Record vLLM's answers to the generated cases for the unit tests, which run without vLLM.

``RIGFIT_VLLM_PYTHON=.vllm/bin/python .venv/bin/python tests/vllm/record.py [GROUP ...]``
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import oracle
from agreement import theirs
from generated import GROUPS, cases

TARGET = Path(__file__).parents[1] / "unit" / "vram"


def record(group: str) -> None:
    """Write one group's cases with what vLLM said of them, a JSON line each."""
    asked = list(cases(group))
    answers = oracle.answers(asked)
    lines = (json.dumps({"case": case, "said": theirs(answers[case["id"]])}, sort_keys=True) + "\n" for case in asked)
    (TARGET / f"registered-{group}.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    for name in sys.argv[1:] or GROUPS:
        record(name)
