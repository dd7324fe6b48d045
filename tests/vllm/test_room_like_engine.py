"""The machine's memory as vLLM's own code reads it, and as it is read before an engine starts."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from serving.node_memory import NodeMemory, node_memory
from tools.units import GIB

PROGRAM = """\
import json
from vllm.utils.cpu_resource_utils import get_allowed_cpu_list, get_memory_node_info, get_visible_memory_node
nodes, own = get_visible_memory_node(), get_allowed_cpu_list()[0].numa_node
node = own if own in nodes else nodes[0]
found = get_memory_node_info(node)
print(json.dumps([node, found.total_memory, found.available_memory]))
"""
"""What ``CPUWorker`` does before it compares (vllm/v1/worker/cpu_worker.py, 0.32.0)."""


def engines() -> tuple[int, int, int]:
    command = [os.environ["RIGFIT_VLLM_PYTHON"], "-c", PROGRAM]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    node, total, available = json.loads(done.stdout.splitlines()[-1])
    return node, total, available


def ours() -> NodeMemory:
    found = node_memory()
    assert found is not None
    return found


@pytest.mark.timeout(400)
def test_both_read_the_same_memory() -> None:
    for _ in range(3):  # a virtual machine may be given memory in between, and neighbours come and go
        before, engine, after = ours(), engines(), ours()
        if engine[:2] == (before.node, before.total_bytes):
            low, high = sorted((before.available_bytes, after.available_bytes))
            assert low - GIB < engine[2] < high + GIB // 4
            return
    pytest.fail("the engine reads another node or another total")
