"""The model catalogue: which published model a name means, and its structure as a ModelSpec."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

from tools.domain import ModelSpec, Note, note
from tools.errors import UnknownModel
from tools.specs.copies import base_of
from tools.specs.files import data_path
from tools.specs.model_index import SIZE_OF_COUNT, SIZE_WITHOUT_NAME, ModelIndex, Row
from tools.specs.names import (
    MAX_TOLD,
    Name,
    is_plain,
    latin,
    parse_name,
    said_name,
    settle_numbers,
    tokens,
)

MAX_NEAR = 6
"""Near misses and suggestions that a person is shown."""
MAX_ASKED = 1024
"""Answers kept: a batch and a plan name few models many times."""

Asked = tuple[str, float | None, str | None]


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """The model a name means.

    Attributes:
        spec: the model.
        query: what was looked up.
        how: ``exact`` hub id or its name, ``alias`` that says all the name says, ``fuzzy`` (chosen among several, or
            through a slip), or ``base_of``: the query is a quantised or renamed copy of ``spec``.
        near_misses: other hub ids that nearly matched, likeliest first.
        notes: what was chosen and on what ground, for the answer.
    """

    spec: ModelSpec
    query: str
    how: Literal["exact", "alias", "fuzzy", "base_of"]
    near_misses: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ModelCatalogue:
    """Every model Rigfit knows. Build it with ``load``; it reads its files when first asked.

    Example:
        >>> ModelCatalogue.load().find("квен 30б").spec.name
        'Qwen/Qwen3-30B-A3B'
    """

    _index: ModelIndex = field(default_factory=ModelIndex, repr=False)
    _specs: dict[str, ModelSpec] = field(default_factory=dict[str, ModelSpec], repr=False, compare=False)
    _matches: dict[Asked, ModelMatch] = field(default_factory=dict["Asked", ModelMatch], repr=False, compare=False)

    @classmethod
    def load(cls) -> ModelCatalogue:
        """Open the catalogue that is shipped with Rigfit; nothing is read yet."""
        return cls()

    @property
    def date(self) -> str:
        """Release date of the newest model in the catalogue, ``YYYY-MM-DD``."""
        return self._index.date

    def names(self) -> tuple[str, ...]:
        """Return every hub id, most downloaded first."""
        return tuple(row.hf_id for row in sorted(self._index.rows, key=lambda row: -row.downloads))

    def facts(self, hf_id: str) -> dict[str, Any]:
        """Return a model's line of facts with every source field.

        Raises:
            UnknownModel: no such hub id.
        """
        row = self._index.by_id(hf_id)
        if row is None:
            raise _unknown(hf_id, [])
        with open(data_path("models.jsonl"), "rb") as lines:
            lines.seek(row.start)
            return json.loads(lines.read(row.length))

    def own_config(self, repo: str) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
        """Return a repository's ``config.json``, and its ``hf_quant_config.json`` if it has one, where all is known."""
        from tools.specs.packed import unpacked

        row = self.facts(repo) if self._index.by_id(repo) else {}
        return (unpacked(row["config"]), None) if row.get("complete") else None

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
        asked = query, size_b, variant
        if asked in self._matches:
            return self._matches[asked]
        if not is_plain(query) or (variant is not None and not is_plain(variant)):
            raise UnknownModel("errors_specs.unreadable_model", name=query[:60], suggestions="")
        if len(self._matches) >= MAX_ASKED:
            self._matches.clear()
        match = _quoting(self._found(query, size_b, variant), said_name(query, size_b, variant))
        self._matches[asked] = match
        return match

    def _found(self, query: str, size_b: float | None, variant: str | None) -> ModelMatch:
        if "/" in query:
            exact = self._index.by_id(query)
            if exact is not None:
                return ModelMatch(self._spec(exact), query, "exact")
            base = self._index.base_of(query) or base_of(query, self._index)
            if base is not None:
                return self._copy_of(base, query)
        aliased = self._index.aliased(" ".join(tokens(query)))
        if aliased:
            return self._choose(query, parse_name(query), aliased)
        return self._by_words(query, size_b, variant)

    def _by_words(self, query: str, size_b: float | None, variant: str | None) -> ModelMatch:
        name = self._settled(f"{query} {variant or ''}", size_b)
        family = self._index.of_family(name.family)
        if not family:
            return self._misspelt(query, name, size_b)
        candidates = [row for row in family if row.holds(name)]
        if candidates:
            return self._choose(query, name, candidates)
        if variant is not None:
            return self._without_variant(query, size_b, variant)
        said = size_b is not None or parse_name(query).size_b is not None
        self._suggest(query, name, family, size_said=said)

    def _misspelt(self, query: str, name: Name, size_b: float | None) -> ModelMatch:
        """Read the family through a slip of the finger, in spoken names only; a hub id is copied, not typed."""
        slipped = None if "/" in query else self._index.one_slip_away(name.family)
        if slipped is not None and (name.size_b or name.versions):
            fixed = self._settled(latin(query).replace(name.family, slipped, 1), size_b)
            candidates = [row for row in self._index.of_family(slipped) if row.holds(fixed)]
            if candidates:
                return self._choose(query, fixed, candidates)
        raise _unknown(query, self._index.nearest(query, MAX_NEAR))

    def _without_variant(self, query: str, size_b: float | None, variant: str) -> ModelMatch:
        """No model of the family has that variant: say so, and answer for the plain one."""
        match = self._by_words(query, size_b, None)
        ignored = note("specs.variant_unknown", variant=variant, name=match.spec.name)
        return replace(match, how="fuzzy", notes=(*match.notes, ignored))

    def _settled(self, said: str, size_b: float | None) -> Name:
        name = parse_name(f"{said} {size_b:g}b" if size_b else said)
        return settle_numbers(name, self._index.versions(name.family))

    def _choose(self, query: str, name: Name, candidates: Iterable[Row]) -> ModelMatch:
        ranked = self._index.ranked(name, candidates)
        bare = query.strip().lower()
        best = next((row for row in ranked if row.hf_id.split("/")[1].lower() == bare), ranked[0])
        if name.size_b is None:
            self._check_one_size(query, name, ranked)
        near = tuple(row.hf_id for row in ranked if row is not best and row.org == best.org)[:MAX_NEAR]
        if "/" in query and query.split("/")[0].lower() != best.org.lower() and best.surplus(name):
            raise _unknown(query, self._own(ranked))
        if ("/" in query and query.split("/")[0].lower() != best.org.lower()) or name.quant:
            return self._copy_of(best, query, near)
        if best.hf_id.split("/")[1].lower() == bare:
            return ModelMatch(self._spec(best), query, "exact", near)
        how = "alias" if best.is_called(name) else "fuzzy"
        return ModelMatch(self._spec(best), query, how, near, _chosen(query, name, best, near))

    def _copy_of(self, base: Row, query: str, near: tuple[str, ...] = ()) -> ModelMatch:
        from tools.specs.checkpoints import with_copy

        repo = query.strip() if "/" in query else None
        spec = with_copy(self._spec(base), repo, parse_name(query).quant) if repo else self._spec(base)
        overrides = spec.checkpoints[0].config_overrides
        if overrides:
            from tools.specs.structure import spec_from_row

            padded = spec_from_row(self.facts(base.hf_id), overrides)
            spec = replace(padded, checkpoints=spec.checkpoints)
        return ModelMatch(spec, query, "base_of", near, (note("specs.base_of", query=query, name=base.hf_id),))

    def _suggest(self, query: str, name: Name, family: list[Row], *, size_said: bool) -> NoReturn:
        """Say which models of the family there are."""
        sized = [row for row in family if set(name.versions) <= set(row.versions)]
        wanted = name.size_b if size_said else None
        if wanted is not None and sized and name.words <= {word for row in sized for word in row.words}:
            near = sorted(sized, key=lambda row: (abs((row.size_b or row.params / 1e9) - wanted), row.surplus(name)))
            raise UnknownModel(
                "errors_specs.no_such_size", name=query, size=f"{wanted:g}", suggestions=self._listed(near)
            )
        ranked = sorted(family, key=lambda row: (-len(name.words & set(row.words)), -row.downloads))
        raise _unknown(query, self._own(ranked))

    def _check_one_size(self, query: str, name: Name, ranked: list[Row]) -> None:
        """A family or a version without a size must not silently become one model of several."""
        plain = [row for row in ranked if row.surplus(name) == ranked[0].surplus(name)]
        sizes = sorted(row.params for row in plain if row.params)
        if sizes and sizes[-1] > sizes[0] * (1 + SIZE_WITHOUT_NAME):
            raise UnknownModel("errors_specs.ambiguous_model", name=query, suggestions=self._listed(plain))

    def _listed(self, rows: Iterable[Row]) -> str:
        return ", ".join(list(dict.fromkeys(self._own(rows)))[:MAX_NEAR])

    def _own(self, rows: Iterable[Row]) -> list[str]:
        """Hub ids of the families' own publishers, or of all where they have none."""
        rows = list(rows)
        return [row.hf_id for row in rows if self._index.is_publishers(row)] or [row.hf_id for row in rows]

    def _spec(self, row: Row) -> ModelSpec:
        if row.hf_id not in self._specs:
            from tools.specs.structure import has_four_bit, spec_from_row, states_formats, with_siblings

            spec = spec_from_row(self.facts(row.hf_id))
            if not has_four_bit(spec):
                facts = (self.facts(other.hf_id) for other in self._index.siblings(row))
                spec = with_siblings(spec, (spec_from_row(one) for one in facts if states_formats(one)))
            self._specs[row.hf_id] = spec
        return self._specs[row.hf_id]


def _quoting(match: ModelMatch, said: str) -> ModelMatch:
    """Let a match's notes quote all that was said and not only the family."""
    if said == match.query or not match.notes:
        return match
    notes = tuple(
        replace(n, params={**n.params, "query": said}) if n.params.get("query") == match.query else n
        for n in match.notes
    )
    return replace(match, notes=notes)


def _unknown(query: str, near: list[str]) -> UnknownModel:
    if not near:
        return UnknownModel("errors_specs.unlike_any_model", name=query, suggestions="")
    return UnknownModel("errors_specs.unknown_model", name=query, suggestions=", ".join(dict.fromkeys(near[:MAX_NEAR])))


def _chosen(query: str, name: Name, best: Row, near: tuple[str, ...]) -> tuple[Note, ...]:
    notes = [note("specs.chose_model", query=query, name=best.hf_id)]
    if near:
        others = ", ".join(near[:MAX_TOLD])
        notes = [note("specs.chose_among", query=query, name=best.hf_id, others=others)]
    counted = best.params / 1e9
    if name.size_b and name.size_b != best.size_b and abs(name.size_b - counted) > SIZE_OF_COUNT * counted:
        notes.append(note("specs.size_differs", said=f"{name.size_b:g}", name=best.hf_id, counted=f"{counted:.1f}"))
    return tuple(notes)
