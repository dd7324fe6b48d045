"""Record vLLM's answers for the unit tests, which run without vLLM.

``python tests/vllm/cases.py | VLLM_PYTHON scripts/oracle_probe.py | python tests/vllm/record.py``
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from cases import cases

TARGET = Path(__file__).parents[1] / "unit" / "vram" / "registered.jsonl.gz"


def line(case: dict[str, Any], answer: dict[str, Any]) -> str:
    """One recorded case; a cache is (window or 0, bytes of a page of 16 tokens, layers)."""
    kept = {key: case[key] for key in ("id", "config", "tp")}
    caches = [
        [kind["window"] or 0, kind["page_bytes"] * 16 // kind["block"], kind["count"]] for kind in answer.get("kv", ())
    ]
    return json.dumps(
        {**kept, "parameter_bytes": answer.get("parameter_bytes"), "caches": sorted(caches)}, sort_keys=True
    )


def main() -> None:
    answers = {answer["id"]: answer for answer in map(json.loads, sys.stdin)}
    lines = "".join(line(case, answers[case["id"]]) + "\n" for case in cases())
    TARGET.write_bytes(gzip.compress(lines.encode(), mtime=0))


if __name__ == "__main__":
    main()
