"""The calculator against what vLLM 0.32's own code said of generated configs (written by ``tests/vllm/record.py``)."""

import gzip
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "vllm"))
from agreement import differences
from reviewed import expected

RECORDED = sorted(Path(__file__).parent.glob("registered-*.jsonl.gz"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.name.partition(".")[0])
def test_agrees_with_what_vllm_said(recorded: Path):
    unlike = {}
    for line in gzip.decompress(recorded.read_bytes()).decode().splitlines():
        entry = json.loads(line)
        case = entry["case"]
        found = differences(case, entry["said"])
        if set(found) != expected(case["id"]):
            unlike[case["id"]] = found
    assert not unlike, "\n".join(f"{name}: {found}" for name, found in list(unlike.items())[:20])


def test_every_group_is_recorded():
    from generated import GROUPS

    assert {path.name.removeprefix("registered-").partition(".")[0] for path in RECORDED} == set(GROUPS)
