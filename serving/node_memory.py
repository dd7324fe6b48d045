"""The machine's memory as vLLM's CPU build counts it: one NUMA node's, never more than the container's limit.

The same function of the same files as ``get_memory_node_info`` (vllm/utils/cpu_resource_utils.py, 0.32.0), for the node
that ``CPUWorker`` chooses (vllm/v1/worker/cpu_worker.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.units import KIB

NODES_VARIABLE = "CPU_VISIBLE_MEMORY_NODES"
"""Names the memory nodes that vLLM may use (``get_visible_memory_node``)."""
_UNLIMITED = 1 << 62
"""cgroup v1 says so where there is no limit."""
_READ_CHARS = 1 << 16
_RECLAIMABLE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
_CGROUPS = (
    ("", "memory.max", "memory.current"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_STAT = re.compile(r"^((?:in)?active_file) (\d{1,19})$", re.MULTILINE)
"""Page cache among what a container uses (docs.kernel.org/admin-guide/cgroup-v2.html, memory.stat)."""
_LINE = re.compile(r"^Node +\d+ +([\w()]{1,40}): +(\d{1,15}) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """Memory for an engine on the processor, in bytes.

    Attributes:
        node: the NUMA node whose memory the engine is bound to.
        total_bytes: what the engine takes its share of.
        available_bytes: what the engine counts as free: the page cache is.
        spare_bytes: what processes can get: a container's page cache is given back too. The whole machine's where it
            has no other node: memory that a virtual machine is given while it runs may be missing from the node's.
    """

    node: int
    total_bytes: int
    available_bytes: int
    spare_bytes: int


def node_memory(visible: str = "", root: Path = Path("/")) -> NodeMemory | None:
    """Read the memory that an engine started now would find.

    Args:
        visible: value of ``CPU_VISIBLE_MEMORY_NODES`` for the engine.
        root: where ``/proc`` and ``/sys`` lie.

    Returns: None where the system's files are not as expected.
    """
    import psutil

    machine = psutil.virtual_memory()
    node = _node(visible, root)
    text = _text(root / f"sys/devices/system/node/node{node}/meminfo")
    total, available = int(machine.total), int(machine.available)
    if text:
        found = {name: int(kib) * KIB for name, kib in _LINE.findall(text)}
        if "MemTotal" not in found or any(name not in found for name in _RECLAIMABLE):
            return None
        total, available = found["MemTotal"], sum(found[name] for name in _RECLAIMABLE)
    others = len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) > 1
    spare = available if others else max(available, int(machine.available))
    limit, used, cached = _cgroup(root)
    if text and limit is not None and limit < total:  # elsewhere the engine does not look at it
        total, available = limit, max(0, min(available, limit - used))
        spare = max(0, min(spare, limit - used + cached))
    return NodeMemory(node, total, available, spare)


def _cgroup(root: Path) -> tuple[int | None, int, int]:
    """The container's limit (None without one), what it uses, and how much of that is page cache: v2, else v1."""
    folder = root / "sys/fs/cgroup"
    for part, limit_file, usage_file in _CGROUPS:
        limit = _whole(folder / part / limit_file)
        if limit is not None and limit < _UNLIMITED:
            used = _whole(folder / part / usage_file) or 0
            stat = dict(_STAT.findall(_text(folder / part / "memory.stat") or ""))
            return limit, used, min(used, sum(map(int, stat.values())))
    return None, 0, 0


def _node(visible: str, root: Path) -> int:
    """The node of the first processor that may be used, where its memory may be used too, else the first that may."""
    status = _text(root / "proc/self/status") or ""
    allowed = next((line for line in status.splitlines() if line.startswith("Mems_allowed_list:")), "")
    nodes = _numbers(allowed.partition(":")[2])
    if visible:
        nodes = [node for node in _numbers(visible) if node in nodes]
    own = _node_of(_first_processor(), root)
    return own if own in nodes or not nodes else nodes[0]


def _first_processor() -> int:
    return min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _node_of(processor: int, root: Path) -> int:
    names = (path.name for path in (root / f"sys/devices/system/cpu/cpu{processor}").glob("node[0-9]*"))
    return next(iter(_digits(name.removeprefix("node") for name in names)), 0)


def _numbers(text: str) -> list[int]:
    """Read ``0-2,4`` as 0, 1, 2, 4."""
    found: list[int] = []
    for part in text.strip()[:1000].split(","):
        ends = _digits(part.partition("-")[::2])
        if ends:
            found += range(ends[0], min(ends[-1], ends[0] + 4096) + 1)
    return sorted(set(found))


def _digits(words: Iterable[str]) -> list[int]:
    return [int(word) for word in words if word.strip().isdigit()]


def _whole(file: Path) -> int | None:
    """A file's number; None where it says ``max`` or is not there."""
    text = (_text(file) or "").strip()
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str | None:
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            return lines.read(_READ_CHARS)
    except OSError:
        return None
