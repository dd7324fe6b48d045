"""A second engine that vLLM refuses for lack of memory: the fleet has refused it before, with the same figures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import models, plan_of
from running import Running, engine_specs, running

from prompts import text
from serving.engine_state import Stage
from serving.spec import EngineSpec

REFUSED = re.compile(
    r"node (\d+) \(([\d.]+)/([\d.]+) GiB\) on startup is less than desired CPU memory utilization "
    r"\(([\d.]+), ([\d.]+) GiB\)"
)


def with_share(spec: EngineSpec, share: float) -> EngineSpec:
    """Let the engine take a share of the memory, instead of a cache of a known size."""
    words = list(spec.argv)
    at = words.index("--kv-cache-memory-bytes")
    return replace(spec, argv=(*words[:at], *words[at + 2 :], "--gpu-memory-utilization", str(share)))


def refused_by_vllm(spec: EngineSpec) -> tuple[float, ...]:
    """Start an engine without the fleet; returns node, free GiB, all GiB, share and GiB wanted, as it prints them."""
    ended = subprocess.run(
        spec.argv,
        env=os.environ | dict(spec.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode
    found = REFUSED.search(ended.stdout)
    assert found, ended.stdout[-3000:]
    return tuple(map(float, found.groups()))


def refused_by_fleet(two: Running, spec: EngineSpec) -> dict[str, float]:
    """Have the fleet refuse a start; returns the GiB that it names."""
    assert not two.do(two.fleet.start(spec.name))
    assert Stage.STARTING not in two.stages(spec.name)
    reason = two.state(spec.name).reason
    assert reason
    print("\n" + text("en", reason.code, **reason.params))
    return {name: float(str(reason.params[name]).removesuffix(" GiB")) for name in ("free", "total", "wanted")}


@pytest.mark.timeout(600)
def test_the_second_is_refused_before_it_starts(tmp_path: Path):
    first, second = engine_specs(plan_of(*models("tiny")))
    first, second = with_share(first, 0.3), with_share(second, 0.9)
    with running((first, second), tmp_path, start=False) as two:
        assert two.do(two.fleet.start(first.name))
        before = refused_by_fleet(two, second)
        state = two.state(second.name)
        assert state.reason
        node, free, total, share, wanted = refused_by_vllm(second)
        print(node, free, total, share, wanted)
        after = refused_by_fleet(two, second)  # a machine's memory may grow meanwhile; where it does not, all are equal
        for name, told in (("total", total), ("wanted", wanted)):
            assert min(before[name], after[name]) <= told <= max(before[name], after[name])
        assert wanted == pytest.approx(share * total, abs=0.01)
        grown = max(0.0, after["total"] - before["total"])
        assert before["free"] - 2 < free < before["free"] + 1 + grown  # looks when its processes have theirs
        assert state.reason.params["node"] == node
        assert f"{share:g}" in state.reason.params["flag"]
        assert two.state(first.name).stage is Stage.READY
