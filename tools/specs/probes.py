"""What this machine says about itself, asked of its drivers and of the system."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol


class ProbeFailed(Exception):
    """A driver is there but does not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its driver reports it.

    Attributes:
        name: the driver's name, or "" where it gives none.
        total_bytes: None where memory is shared with the system and the driver states none.
        used_bytes: in use by others; without what the driver keeps for itself where ``used_is_net``.
        capability: ``"8.6"`` or ``"gfx1100"``.
        mig: the card is split into instances.
        slice_bytes: memory and what is in use of the first instance of a split card, the one that a program sees which
            is given the card's number (docs.nvidia.com, MIG User Guide, "CUDA Device Enumeration").
    """

    name: str
    total_bytes: int | None
    used_bytes: int = 0
    capability: str | None = None
    used_is_net: bool = True
    mig: bool = False
    slice_bytes: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds memory of a card; ``used_bytes`` is None where the driver does not tell."""

    pid: int
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class AppleChip:
    """An Apple machine: its chip, its memory, and the GPU's share of it where someone set one."""

    name: str
    memory_bytes: int
    used_bytes: int
    gpu_limit_bytes: int | None = None


class Probes(Protocol):
    """The questions detection asks; each may raise ``ProbeFailed`` with the reason."""

    def nvidia(self) -> tuple[Card, ...]:
        """NVIDIA cards; empty without the driver."""
        ...

    def amd(self) -> tuple[Card, ...]:
        """AMD cards; empty without the kernel driver."""
        ...

    def apple(self) -> AppleChip | None:
        """The chip of an Apple machine, or None elsewhere."""
        ...

    def ram_bytes(self) -> int | None:
        """System memory in all."""
        ...

    def disk_free_bytes(self) -> int | None:
        """Free space where model files would go."""
        ...


class MachineProbes:
    """Asks the machine this process runs on."""

    def __init__(self, sysfs: Path = Path("/sys"), home: Path | None = None) -> None:
        self._sysfs = sysfs
        self._home = home or Path.home()

    def nvidia(self) -> tuple[Card, ...]:
        """Ask NVML (nvidia-ml-py)."""
        nvml: Any = importlib.import_module("pynvml")
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            if error.value in {nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED}:
                return ()
            raise ProbeFailed(str(error)) from error
        try:
            return tuple(_nvidia_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError as error:
            raise ProbeFailed(str(error)) from error
        finally:
            _ignoring(nvml.NVMLError, nvml.nvmlShutdown, None)

    def nvidia_processes(self, index: int) -> tuple[Process, ...]:
        """Ask NVML who holds memory of a card; empty where it does not tell."""
        nvml: Any = importlib.import_module("pynvml")
        found: dict[int, int | None] = {}
        try:
            nvml.nvmlInit()
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
                for one in _ignoring(nvml.NVMLError, partial(ask, handle), ()):
                    found[int(one.pid)] = one.usedGpuMemory
        except nvml.NVMLError:
            return ()
        finally:
            _ignoring(nvml.NVMLError, nvml.nvmlShutdown, None)
        return tuple(Process(pid, used) for pid, used in found.items())

    def amd(self) -> tuple[Card, ...]:
        """Read the kernel driver's files (amdgpu documentation, "mem_info_vram_total" and the kfd topology)."""
        found: list[Card] = []
        kinds = _gfx_targets(self._sysfs)
        for device in sorted(self._sysfs.glob("class/drm/card[0-9]*/device")):
            if device.parent.name.count("-") or _text(device / "vendor") != "0x1002":
                continue
            total = _number(device / "mem_info_vram_total")
            name = _text(device / "product_name") or ""
            kind = kinds[len(found)] if len(found) < len(kinds) else None
            found.append(Card(name, total, _number(device / "mem_info_vram_used") or 0, kind))
        return tuple(found)

    def apple(self) -> AppleChip | None:
        """Ask sysctl."""
        if sys.platform != "darwin":
            return None
        memory = _sysctl("hw.memsize")
        if not memory.isdigit():
            raise ProbeFailed("sysctl hw.memsize")
        import psutil

        limit = _sysctl("iogpu.wired_limit_mb")
        return AppleChip(
            _sysctl("machdep.cpu.brand_string"),
            int(memory),
            int(psutil.virtual_memory().used),
            int(limit) << 20 if limit.isdigit() and int(limit) else None,
        )

    def ram_bytes(self) -> int | None:
        """Ask psutil."""
        import psutil

        return int(psutil.virtual_memory().total)

    def disk_free_bytes(self) -> int | None:
        """Ask for the free space of the home folder's disk."""
        import shutil

        try:
            return shutil.disk_usage(self._home).free
        except OSError:
            return None


def _nvidia_card(nvml: Any, index: int) -> Card:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    name = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    major_minor = _ignoring(nvml.NVMLError, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle), None)
    mig = _ignoring(nvml.NVMLError, lambda: nvml.nvmlDeviceGetMigMode(handle)[0] == 1, False)
    version2 = nvml.nvmlMemory_v2
    memory = _ignoring(nvml.NVMLError, lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=version2), None)
    net = memory is not None
    if memory is None:
        memory = _ignoring(nvml.NVMLError, lambda: nvml.nvmlDeviceGetMemoryInfo(handle), None)
    capability = f"{major_minor[0]}.{major_minor[1]}" if major_minor else None
    first = _first_slice(nvml, handle) if mig else None
    if memory is None:
        return Card(name, None, 0, capability, net, mig, first)
    return Card(name, int(memory.total), int(memory.used), capability, net, mig, first)


def _first_slice(nvml: Any, handle: Any) -> tuple[int, int] | None:
    def ask() -> tuple[int, int]:
        memory = nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, 0))
        return int(memory.total), int(memory.used)

    return _ignoring(nvml.NVMLError, ask, None)


def _ignoring(error: type[BaseException], ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return ask()
    except error:
        return otherwise


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()[:200] or None
    except OSError:
        return None


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text and text.isdigit() else None


def _gfx_targets(sysfs: Path) -> list[str]:
    """Instruction sets of the GPU nodes in order: ``gfx_target_version 110000`` is gfx1100, ``90402`` gfx942."""
    found: list[str] = []
    nodes = sorted(sysfs.glob("class/kfd/kfd/topology/nodes/[0-9]*"), key=lambda node: int(node.name))
    for node in nodes:
        for line in (_text(node / "properties") or "").splitlines():
            word, _, value = line.partition(" ")
            if word == "gfx_target_version" and value.isdigit() and int(value):
                number = int(value)
                found.append(f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}")
    return found


def _sysctl(name: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
