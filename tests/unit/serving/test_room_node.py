"""The machine's memory as vLLM's CPU build counts it, from recorded files of the system."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.node_memory import NodeMemory, node_memory
from tools.units import GIB, KIB

MEMINFO = """\
Node {node} MemTotal:       17393880 kB
Node {node} MemFree:        13389712 kB
Node {node} MemUsed:         4004168 kB
Node {node} SwapCached:            0 kB
Node {node} Active:           630740 kB
Node {node} Inactive:        1812360 kB
Node {node} Active(anon):       2000 kB
Node {node} Inactive(anon):    10332 kB
Node {node} Active(file):     628740 kB
Node {node} Inactive(file):  1802028 kB
Node {node} SReclaimable:    1342644 kB
Node {node} HugePages_Total:     0
"""
TOTAL = 17393880 * KIB
AVAILABLE = (13389712 + 628740 + 1802028 + 1342644) * KIB
"""MemFree + Active(file) + Inactive(file) + SReclaimable (``get_memory_node_info``)."""
FIRST = min(os.sched_getaffinity(0))


def machine(root: Path, *nodes: int, own: int = 0, allowed: str = "0") -> Path:
    for number in nodes:
        folder = root / f"sys/devices/system/node/node{number}"
        folder.mkdir(parents=True)
        (folder / "meminfo").write_text(MEMINFO.format(node=number))
    (root / f"sys/devices/system/cpu/cpu{FIRST}/node{own}").mkdir(parents=True)
    status = root / "proc/self/status"
    status.parent.mkdir(parents=True)
    status.write_text(f"Name:\tx\nMems_allowed:\t01\nMems_allowed_list:\t{allowed}\n")
    return root


def limited(root: Path, limit: str, used: int, cached: int = 0, *, v1: bool = False) -> Path:
    folder = root / "sys/fs/cgroup" / ("memory" if v1 else "")
    folder.mkdir(parents=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else ("memory.max", "memory.current")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 0\nfile 7\n")
    return root


def read(root: Path, visible: str = "") -> NodeMemory:
    found = node_memory(visible, root)
    assert found is not None
    return found


def test_a_nodes_memory_is_counted_as_the_engine_counts_it(tmp_path: Path) -> None:
    found = read(machine(tmp_path, 0))
    assert (found.node, found.total_bytes, found.available_bytes) == (0, TOTAL, AVAILABLE)
    assert found.spare_bytes >= AVAILABLE


def test_the_node_is_that_of_the_first_processor_where_its_memory_may_be_used(tmp_path: Path) -> None:
    two = machine(tmp_path, 0, 1, own=1, allowed="0-1")
    assert read(two).node == 1
    assert read(two, "0").node == 0
    assert read(two).spare_bytes == AVAILABLE  # bound to one of two


def test_a_processor_of_a_node_that_may_not_be_used_falls_back(tmp_path: Path) -> None:
    assert read(machine(tmp_path, 0, 2, own=0, allowed="2")).node == 2


@pytest.mark.parametrize("v1", [False, True])
def test_a_containers_limit_is_the_total_and_its_page_cache_can_be_given_back(tmp_path: Path, v1: bool) -> None:
    root = limited(machine(tmp_path, 0), str(8 * GIB), 6 * GIB, 5 * GIB, v1=v1)
    found = read(root)
    assert (found.total_bytes, found.available_bytes, found.spare_bytes) == (8 * GIB, 2 * GIB, 7 * GIB)


@pytest.mark.parametrize("limit", ["max", str(1 << 50), "9223372036854771712", "", "-1"])
def test_no_limit_or_one_above_the_node_changes_nothing(tmp_path: Path, limit: str) -> None:
    assert read(limited(machine(tmp_path, 0), limit, GIB)).available_bytes == AVAILABLE


def test_an_exceeded_limit_leaves_nothing(tmp_path: Path) -> None:
    found = read(limited(machine(tmp_path, 0), str(GIB), 3 * GIB))
    assert (found.available_bytes, found.spare_bytes) == (0, 0)


def test_without_nodes_the_system_is_asked(tmp_path: Path) -> None:
    assert read(tmp_path).total_bytes == psutil.virtual_memory().total


def test_files_of_another_form_say_nothing(tmp_path: Path) -> None:
    root = machine(tmp_path, 0)
    (root / "sys/devices/system/node/node0/meminfo").write_text("Node 0 MemTotal: 5 kB\n")
    assert node_memory("", root) is None


@given(text=st.text(max_size=300), visible=st.text("0123456789,- x", max_size=20))
def test_whatever_the_files_say_there_is_an_answer_or_none(
    tmp_path_factory: pytest.TempPathFactory, text: str, visible: str
) -> None:
    root = machine(tmp_path_factory.mktemp("odd"), 0, allowed=visible)
    (root / "sys/devices/system/node/node0/meminfo").write_text(text, encoding="utf-8")
    found = node_memory(visible, root)
    assert found is None or found.available_bytes >= 0


def test_this_machine_tells() -> None:
    found = node_memory()
    assert found is None or 0 < found.available_bytes <= found.total_bytes + GIB
