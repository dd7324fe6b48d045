"""The model catalogue: which published model a name means, and its structure as a ModelSpec.

``data/models.jsonl`` holds the facts, one model a line; ``data/models.index.json`` (written by
``scripts/build_index.py``) holds the names taken apart and where each line begins, so a look-up reads one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any, Literal, NamedTuple

from tools.domain import ModelSpec, Note, note
from tools.errors import UnknownModel
from tools.specs.names import Name, catalogue_name, is_neutral, is_plain, parse_name, settle_numbers, tokens

MIRRORS = frozenset({"unsloth", "NousResearch", "PrimeIntellect", "nvidia", "garage-bAInd", "TinyLlama", "Tesslate"})
"""Organisations that republish or derive from others' families; a plain name means the first publisher's."""

SIZE_OF_NAME = 0.02
"""A stated size matches the size in a model's name within 2 % (30.5 for 30B), never its neighbour's (31 for 30B)."""

SIZE_OF_COUNT = 0.01
"""... or its counted parameters within 1 % (117 for gpt-oss-120b's 116.8)."""

SIZE_WITHOUT_NAME = 0.05
"""... or within 5 % where the name states no size (671 for DeepSeek-R1's 684.5 with its prediction head)."""


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """The model a name means.

    Attributes:
        spec: the model.
        query: what was looked up.
        how: ``exact`` hub id, ``alias`` of one, ``fuzzy`` (chosen among several or through a typing slip), or
            ``base_of``: the query is a quantised or renamed copy of ``spec``.
        near_misses: other hub ids that nearly matched, likeliest first.
        notes: what was chosen and on what ground, for the answer.
    """

    spec: ModelSpec
    query: str
    how: Literal["exact", "alias", "fuzzy", "base_of"]
    near_misses: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


class _Row(NamedTuple):
    """One line of the index, in the order ``scripts/build_index.py`` writes."""

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
        return self.hf_id.split("/")[0]

    def fits_size(self, size_b: float, *, plain: bool = True) -> bool:
        """Tell whether a stated size is this model's; its count speaks only where the name is otherwise ``plain``."""
        counted = self.params / 1e9
        if self.size_b is None:
            return abs(size_b - counted) <= SIZE_WITHOUT_NAME * counted
        named = abs(size_b - self.size_b) <= SIZE_OF_NAME * self.size_b
        return named or (plain and abs(size_b - counted) <= SIZE_OF_COUNT * counted)

    def surplus(self, name: Name) -> int:
        """Count the words that this model's name has and ``name`` did not ask for."""
        words = sum(1 for word in self.words if word not in name.words and not is_neutral(word))
        asked = set(name.versions)
        versions = [version for version in self.versions if version not in asked]
        return words + max(0, len(versions) - (0 if asked else 1))

    def holds(self, name: Name) -> bool:
        """Tell whether nothing that ``name`` states speaks against this model."""
        if not set(name.versions) <= set(self.versions) or not name.words <= {*self.words, "instruct", "moe"}:
            return False
        return name.size_b is None or self.fits_size(name.size_b, plain=self.surplus(name) == 0)


@dataclass(frozen=True)
class ModelCatalogue:
    """Every model Rigfit knows. Build it with ``load``; it reads its files when first asked.

    Example:
        >>> ModelCatalogue.load().find("квен 30б").spec.name
        'Qwen/Qwen3-30B-A3B'
    """

    _cache: dict[str, ModelSpec] = field(default_factory=dict[str, ModelSpec], repr=False, compare=False)

    @classmethod
    def load(cls) -> ModelCatalogue:
        """Open the catalogue that is shipped with Rigfit; nothing is read yet."""
        return cls()

    @cached_property
    def _index(self) -> dict[str, Any]:
        file = resources.files("tools.specs") / "data" / "models.index.json"
        return json.loads(file.read_text(encoding="utf-8"))

    @cached_property
    def _rows(self) -> tuple[_Row, ...]:
        return tuple(_Row(*row) for row in self._index["rows"])

    @cached_property
    def _by_id(self) -> dict[str, _Row]:
        by_id: dict[str, _Row] = {}
        for row in self._rows:
            by_id.setdefault(row.hf_id.lower(), row)
        return by_id

    @property
    def date(self) -> str:
        """Release date of the newest model in the catalogue, ``YYYY-MM-DD``."""
        return self._index["date"]

    def row(self, hf_id: str) -> dict[str, Any]:
        """Return a model's line of facts with every source field.

        Raises:
            UnknownModel: no such hub id.
        """
        found = self._by_id.get(hf_id.lower())
        if found is None:
            raise UnknownModel("errors_specs.unknown_model", name=hf_id, suggestions="")
        file = resources.files("tools.specs") / "data" / "models.jsonl"
        with file.open("rb") as lines:
            lines.seek(found.start)
            return json.loads(lines.read(found.length))

    def names(self) -> tuple[str, ...]:
        """Return every hub id, most downloaded first."""
        return tuple(row.hf_id for row in sorted(self._rows, key=lambda row: -row.downloads))

    def find(self, query: str, *, size_b: float | None = None, variant: str | None = None) -> ModelMatch:
        """Find the model that a name means.

        Args:
            query: a hub id, an alias, an ollama tag, or words such as ``qwen 30`` or ``лама 70``.
            size_b: billions of parameters, where they were said apart from the name.
            variant: further words (``Coder``, ``A22B``, ``Instruct``), where they were said apart.

        Returns:
            The best match with what it was chosen over.

        Raises:
            UnknownModel: nothing fits (``errors_specs.unknown_model``), the family has no such size
                (``errors_specs.no_such_size``), or the name means several models of different size
                (``errors_specs.ambiguous_model``). ``params["suggestions"]`` lists what may have been meant.
        """
        if not is_plain(query) or (variant is not None and not is_plain(variant)):
            raise UnknownModel("errors_specs.unreadable_model", name=query[:60], suggestions="")
        exact = self._by_id.get(query.strip().lower())
        if exact is not None:
            return ModelMatch(self._spec(exact), query, "exact", notes=())
        copied: int | None = self._index["repos"].get(query.strip().lower())
        if copied is not None:
            return self._copy_of(self._rows[copied], query)
        words = " ".join(tokens(query))
        aliased: list[int] = self._index["aliases"].get(words, [])
        if aliased:
            return self._choose(query, parse_name(query), [self._rows[number] for number in aliased])
        return self._by_words(query, size_b, variant)

    def _by_words(self, query: str, size_b: float | None, variant: str | None) -> ModelMatch:
        name = self._settled(query, size_b, variant)
        family = [row for row in self._rows if row.family == name.family]
        if not family:
            return self._misspelt(query, name)
        candidates = [row for row in family if row.holds(name)]
        if not candidates:
            return self._loosened(query, name, family)
        return self._choose(query, name, candidates)

    def _settled(self, query: str, size_b: float | None, variant: str | None) -> Name:
        said = f"{query} {variant}" if variant else query
        name = parse_name(f"{said} {size_b:g}b" if size_b else said)
        known = frozenset(version for row in self._rows if row.family == name.family for version in row.versions)
        return settle_numbers(name, known)

    def _choose(self, query: str, name: Name, candidates: Iterable[_Row]) -> ModelMatch:
        ranked = self._ranked(name, candidates)
        best = ranked[0]
        if name.size_b is None:
            self._check_one_size(query, name, ranked)
        rest = tuple(row.hf_id for row in ranked[1:6])
        if ("/" in query and query.split("/")[0] != best.org) or name.quant:
            return self._copy_of(best, query, rest)
        same = query.strip().lower() == best.hf_id.split("/")[1].lower()
        how = "exact" if same else "fuzzy" if rest else "alias"
        return ModelMatch(self._spec(best), query, how, rest, self._chosen(query, best, rest, name))

    def _ranked(self, name: Name, rows: Iterable[_Row]) -> list[_Row]:
        return sorted(rows, key=lambda row: (row.surplus(name), row.org in MIRRORS, -row.downloads))

    def _check_one_size(self, query: str, name: Name, ranked: list[_Row]) -> None:
        plain = [row for row in ranked if row.surplus(name) == ranked[0].surplus(name)]
        sizes = sorted(row.params for row in plain if row.params)
        if sizes and sizes[-1] > sizes[0] * (1 + SIZE_WITHOUT_NAME):
            raise UnknownModel("errors_specs.ambiguous_model", name=query, suggestions=_listed(plain))

    def _chosen(self, query: str, best: _Row, rest: tuple[str, ...], name: Name) -> tuple[Note, ...]:
        if not rest:
            return (note("specs.chose_model", query=query, name=best.hf_id),)
        return (note("specs.chose_among", query=query, name=best.hf_id, others=", ".join(rest)),)

    def _copy_of(self, base: _Row, query: str, near_misses: tuple[str, ...] = ()) -> ModelMatch:
        from tools.specs.checkpoints import with_copy

        repo = query.strip() if "/" in query else None
        spec = with_copy(self._spec(base), repo, parse_name(query).quant) if repo else self._spec(base)
        notes = (note("specs.base_of", query=query, name=base.hf_id),)
        return ModelMatch(spec, query, "base_of", near_misses, notes)

    def _loosened(self, query: str, name: Name, family: list[_Row]) -> ModelMatch:
        """Last chance before an error: a hub id that is a known model's name with more words behind it."""
        if "/" in query:
            own = catalogue_name(query)
            bases = [row for row in family if self._begins_with(own, row)]
            if bases:
                best = max(bases, key=lambda row: (len(row.words), row.org not in MIRRORS, row.downloads))
                return self._copy_of(best, query)
        sized = [row for row in family if set(name.versions) <= set(row.versions)]
        if name.size_b is not None and sized and name.words <= {word for row in sized for word in row.words}:
            wanted = name.size_b
            near = sorted(sized, key=lambda row: (abs((row.size_b or row.params / 1e9) - wanted), row.surplus(name)))
            raise UnknownModel("errors_specs.no_such_size", name=query, size=f"{wanted:g}", suggestions=_listed(near))
        ranked = sorted(family, key=lambda row: (-len(name.words & set(row.words)), -row.downloads))
        raise UnknownModel("errors_specs.unknown_model", name=query, suggestions=_listed(ranked))

    @staticmethod
    def _begins_with(own: Name, row: _Row) -> bool:
        same_size = own.size_b is not None and row.fits_size(own.size_b)
        base = {word for word in row.words if not is_neutral(word)}
        return same_size and base <= own.words and set(row.versions) <= set(own.versions)

    def _misspelt(self, query: str, name: Name) -> ModelMatch:
        """Try families that are one slip of the finger away; else say what is nearest."""
        from rapidfuzz import fuzz, process

        families = sorted({row.family for row in self._rows})
        if len(name.family) >= 4:
            close = process.extractOne(name.family, families, scorer=fuzz.ratio, score_cutoff=80)
            if close is not None and (name.size_b is not None or name.versions or name.numbers):
                fixed = settle_numbers(
                    Name(close[0], name.versions, name.size_b, name.words, name.quant, name.numbers),
                    frozenset(v for row in self._rows if row.family == close[0] for v in row.versions),
                )
                rows = [row for row in self._rows if row.family == close[0] and row.holds(fixed)]
                if rows:
                    return self._choose(query, fixed, rows)
        near = process.extract(
            query.lower(), [row.hf_id for row in self._rows], scorer=fuzz.WRatio, limit=5, score_cutoff=60
        )
        raise UnknownModel("errors_specs.unknown_model", name=query, suggestions=", ".join(found[0] for found in near))

    def _spec(self, row: _Row) -> ModelSpec:
        if row.hf_id not in self._cache:
            from tools.specs.structure import spec_from_row

            self._cache[row.hf_id] = spec_from_row(self.row(row.hf_id))
        return self._cache[row.hf_id]


def _listed(rows: Iterable[_Row], limit: int = 5) -> str:
    return ", ".join(list(dict.fromkeys(row.hf_id for row in rows))[:limit])
