"""The calculator against vLLM's own model code, instantiated without a GPU in a child process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.domain import Deployment
from tools.errors import BadValue
from tools.vram.architecture import spec_from_config
from tools.vram.kv.deployed import declared
from tools.vram.weights import parameter_bytes

sys.path.insert(0, str(Path(__file__).parent))
from cases import cases

PROBE = Path(__file__).parents[2] / "scripts" / "oracle_probe.py"
SECONDS = 1200


@pytest.fixture(scope="session")
def answers() -> dict[str, dict[str, Any]]:
    lines = "".join(json.dumps(case) + "\n" for case in cases())
    command = [os.environ["RIGFIT_VLLM_PYTHON"], str(PROBE)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS, check=True)
    return {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}


def compared() -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in cases()]


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("case", compared())
def test_bytes_and_pages_agree(case: dict[str, Any], answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[case["id"]]
    spec = spec_from_config(case["config"], name="generated")
    checkpoint = spec.checkpoints[0]
    if "error" in answer:
        assert "divisible" in answer["error"]
        with pytest.raises(BadValue):
            parameter_bytes(spec, checkpoint, case["tp"])
        return
    assert parameter_bytes(spec, checkpoint, case["tp"]) == answer["parameter_bytes"]
    caches = declared(Deployment(spec, checkpoint, tp=case["tp"]))
    ours = {(cache.window, cache.page_bytes, cache.layers) for cache in caches}
    theirs = {(kind["window"], kind["page_bytes"] * 16 // kind["block"], kind["count"]) for kind in answer["kv"]}
    assert ours == theirs
