"""The index of model names: which rows a taken-apart name may mean, and which of them it means most likely.

``data/models.index.json`` (written by ``scripts/build_index.py``) holds every name taken apart and where its line
begins in ``data/models.jsonl``, so that a look-up reads one line of facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from tools.specs.files import read_text
from tools.specs.names import Name, is_neutral

SIZE_OF_NAME = 0.02
"""A stated size matches the size in a model's name within 2 % (30.5 for 30B), never its neighbour's (31 for 30B)."""

ROUNDED_SIZE = 0.1001
"""... or, said as a whole number, within a tenth of a billion (1 for TinyLlama's 1.1B)."""

SIZE_OF_COUNT = 0.01
"""... or its counted parameters within 1 % (117 for gpt-oss-120b's 116.8)."""

SIZE_WITHOUT_NAME = 0.05
"""... or within 5 % where the name states no size (671 for DeepSeek-R1's 684.5 with its prediction head)."""


TRAINING = frozenset({"base", "instruct", "thinking"})
"""Words that tell stages of one model's training apart, with dates (``2507``); its structure stays the same."""


# fmt: off
OTHER_KINDS = frozenset({
    "vl", "audio", "omni", "embedding", "embed", "reranker", "guard", "reward", "rm", "ocr", "asr", "tts", "image",
    "video", "math", "moe",
})
# fmt: on
"""Words that announce another structure or head than the plain model's."""


BY_ID = "="
"""Stands before the family of a model that is found by its hub id only, never by a spoken name."""


class Row(NamedTuple):
    """One model of the index, in the order ``scripts/build_index.py`` writes."""

    hf_id: str
    start: int
    length: int
    params: int
    downloads: int
    family: str
    versions: list[str]
    size_b: float | None
    words: list[str]

    @property
    def org(self) -> str:
        """The organisation before the slash."""
        return self.hf_id.split("/")[0]

    def fits_size(self, size_b: float, *, plain: bool = True) -> bool:
        """Tell whether a stated size is this model's; its count speaks only where the name is otherwise ``plain``."""
        counted = self.params / 1e9
        if self.size_b is None:
            return abs(size_b - counted) <= SIZE_WITHOUT_NAME * counted
        off = abs(size_b - self.size_b)
        named = off <= SIZE_OF_NAME * self.size_b or (size_b.is_integer() and off <= ROUNDED_SIZE)
        return named or (plain and abs(size_b - counted) <= SIZE_OF_COUNT * counted)

    def surplus(self, name: Name) -> int:
        """Count the words that this model's name has and ``name`` did not ask for."""
        words = sum(1 for word in self.words if word not in name.words and not is_neutral(word))
        asked = set(name.versions)
        versions = [version for version in self.versions if version not in asked]
        return words + max(0, len(versions) - (0 if asked else 1))

    def is_called(self, name: Name) -> bool:
        """Tell whether ``name`` states all that this model's own name states."""
        sized = name.size_b is not None or self.size_b is None
        return sized and self.surplus(name) == 0 and set(self.versions) == set(name.versions)

    def holds(self, name: Name) -> bool:
        """Tell whether nothing that ``name`` states speaks against this model."""
        if not set(name.versions) <= set(self.versions) or not name.words <= {*self.words, "instruct", "moe"}:
            return False
        return name.size_b is None or self.fits_size(name.size_b, plain=self.surplus(name) == 0)


@dataclass(frozen=True)
class ModelIndex:
    """Every model's name, read from the package when first asked."""

    _publishers: dict[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)

    @cached_property
    def _data(self) -> dict[str, Any]:
        return json.loads(read_text("models.index.json"))

    @property
    def date(self) -> str:
        """Release date of the newest model, ``YYYY-MM-DD``."""
        return self._data["date"]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every model."""
        return tuple(Row(*row) for row in self._data["rows"])

    @cached_property
    def _by_id(self) -> dict[str, Row]:
        by_id: dict[str, Row] = {}
        for row in self.rows:
            by_id.setdefault(row.hf_id.lower(), row)
        return by_id

    def by_id(self, hf_id: str) -> Row | None:
        """Return the model of a hub id, in any case of letters."""
        return self._by_id.get(hf_id.strip().lower())

    def base_of(self, repo: str) -> Row | None:
        """Return the model that a listed quantised repository was made from."""
        number: int | None = self._data["repos"].get(repo.strip().lower())
        return None if number is None else self.rows[number]

    def aliased(self, words: str) -> list[Row]:
        """Return the models of an alias whose words the models' own names do not hold."""
        numbers: list[int] = self._data["aliases"].get(words, [])
        return [self.rows[number] for number in numbers]

    @cached_property
    def _families(self) -> dict[str, list[Row]]:
        families: dict[str, list[Row]] = {}
        for row in self.rows:
            families.setdefault(row.family, []).append(row)
        return families

    def of_family(self, family: str) -> list[Row]:
        """Return the models of fame whose name begins with that word."""
        return self._families.get(family, [])

    def all_of_family(self, family: str) -> list[Row]:
        """Return every model whose name begins with that word, those of little fame too."""
        return [*self.of_family(family), *self.of_family(BY_ID + family)]

    def versions(self, family: str) -> frozenset[str]:
        """Return every version and date word of a family."""
        return frozenset(version for row in self.of_family(family) for version in row.versions)

    def is_publishers(self, row: Row) -> bool:
        """Tell whether a model is its family's own publisher's, the one whose models of it are downloaded most.

        Others republish the family or derive from it.
        """
        if row.family not in self._publishers:
            totals: dict[str, int] = {}
            for other in self.of_family(row.family):
                totals[other.org] = totals.get(other.org, 0) + other.downloads
            self._publishers[row.family] = max(totals, key=lambda org: totals[org])
        return row.org == self._publishers[row.family]

    def ranked(self, name: Name, rows: Iterable[Row]) -> list[Row]:
        """Order rows: fewest words beyond the name, most of its words, the family's own publisher, most downloads.

        Where no version was said, a family's first, unnumbered generation comes after the numbered ones.
        """

        def rank(row: Row) -> tuple[int, int, bool, bool, int]:
            lacking = len(name.words - set(row.words))
            first_generation = not name.versions and not row.versions
            return row.surplus(name), lacking, first_generation, not self.is_publishers(row), -row.downloads

        return sorted(rows, key=rank)

    def siblings(self, row: Row) -> list[Row]:
        """Return models of the same publisher, version and size that differ only in how they were trained.

        Nearest first: fewest differing words, then downloads.
        """
        own = set(row.words) | set(row.versions[1:])
        found: list[tuple[int, int, Row]] = []
        for other in self.of_family(row.family):
            if other.params != row.params or other.versions[:1] != row.versions[:1] or other.org != row.org:
                continue
            differing = own ^ (set(other.words) | set(other.versions[1:]))
            if other is not row and all(word in TRAINING or word.isdigit() for word in differing):
                found.append((len(differing), -other.downloads, other))
        return [other for _, _, other in sorted(found, key=lambda entry: entry[:2])]

    def one_slip_away(self, family: str) -> str | None:
        """Return the family that a misspelt word means: one slip in four letters, two in eight.

        A slip is a letter too many, too few, wrong, or two letters swapped (optimal string alignment distance).
        """
        if len(family) < 4:
            return None
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        slips = 1 if len(family) < 8 else 2
        sizes: dict[str, int] = {}
        for row in self.rows:
            if not row.family.startswith(BY_ID):
                sizes[row.family] = sizes.get(row.family, 0) + 1
        by_size: list[str] = sorted(sizes, key=lambda word: -sizes[word])
        found = process.extractOne(family, by_size, scorer=OSA.distance, score_cutoff=slips)
        return found[0] if found else None

    def nearest(self, text: str, limit: int) -> list[str]:
        """Return the hub ids that look most like a text, most alike first; none where nothing is alike."""
        from rapidfuzz import fuzz, process

        ids = [row.hf_id for row in self.rows if not row.family.startswith(BY_ID)]
        return [found[0] for found in process.extract(text, ids, scorer=fuzz.WRatio, limit=limit, score_cutoff=65)]
