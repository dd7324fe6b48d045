"""Which models of the catalogue may be recommended, and how strong each is taken to be, by a rule that is stated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache

from tools.domain import ModelSpec, MoeMlp, Ranks
from tools.errors import NotYetExact, UnknownModel
from tools.specs.checkpoints import native
from tools.specs.model_index import OTHER_KINDS, ModelIndex, Row
from tools.specs.models import ModelCatalogue
from tools.vram.stages import fullest_stage
from tools.vram.weights import matrices_of

DAYS = 548
"""Released within so many days (a year and a half) of the catalogue's newest model; older ones are not recommended."""
HALVED_DAYS = 365.0
"""A model counts half as strong for each year of age. Xiao et al., "Densing Law of LLMs" (arXiv 2412.04315), find that
the parameters needed for equal quality halve every three to four months; a year is a cautious reading of it."""
FOUR_BIT_WORTH = 0.9
"""A model in 4 bits counts as so much of itself: assumed, a little more than the 2.4 % of perplexity that Llama-3.1-8B
loses in Q4_K_M (llama.cpp ``tools/quantize/README.md``)."""
DOWNLOADS, CODE_DOWNLOADS = 400_000, 150_000
"""Downloads a month from which a model counts as one that people use; fewer people use those for programs."""
CODE = frozenset({"coder", "code", "devstral", "codestral", "starcoder", "codegemma"})
"""Words of a name that announce a model for programs."""
NOT_FOR_TALK = OTHER_KINDS | frozenset(
    {"base", "docling", "tars", "reason", "gen", "exp", "vision", "v", "prover", "critic", "3guard", "medical"}
)
"""Words of a name that announce something other than a model to talk to."""
OTHER_FAMILIES = ("medgemma", "dots", "cosmos", "translategemma", "shieldgemma", "pythia", "ocr", "tts", "guard")
"""Parts of the names of families that are for one purpose, or for research."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """A model that may be recommended.

    Attributes:
        strength: billions of parameters of a dense, brand-new model that it is taken to be worth.
        params_active: parameters a token uses; all of them for a dense model.
    """

    spec: ModelSpec
    strength: float
    params_active: int
    for_code: bool


@cache
def eligible() -> tuple[Eligible, ...]:
    """Return the models that may be recommended, strongest first."""
    catalogue, index = ModelCatalogue.load(), ModelIndex()
    newest = date.fromisoformat(index.date)
    found: list[Eligible] = []
    for row in index.rows:
        if not _may_be(index, row):
            continue
        try:
            spec = catalogue.find(row.hf_id).spec
        except UnknownModel:
            continue
        released = date.fromisoformat(spec.release_date) if spec.release_date else None
        if not spec.layers or spec.not_exact or spec.pools or released is None or (newest - released).days > DAYS:
            continue
        try:
            active = active_of(spec)
        except NotYetExact:
            continue
        worth = strength(spec.params_total, active, max(0, (newest - released).days))
        found.append(Eligible(spec, worth, active, is_for_code(row)))
    return tuple(sorted(found, key=lambda one: -one.strength))


def strength(total: int, active: int, days: int) -> float:
    """Return what a model is taken to be worth, in billions of parameters of a dense model released today.

    The square root of total x active parameters is the usual rule of thumb for the dense model that a mixture of
    experts equals; it is halved for each ``HALVED_DAYS`` of age.

    Worked example: 36.0 and 3.9 billion, half a year old: sqrt(36.0 x 3.9) = 11.8, x 0.71 = 8.4.
    """
    return (total * active) ** 0.5 / 1e9 * 2 ** (-days / HALVED_DAYS)


def dense_equal(spec: ModelSpec) -> float:
    """Return the billions of parameters of the dense model that a model equals by that rule, whatever its age."""
    try:
        return strength(spec.params_total, active_of(spec), 0)
    except NotYetExact:
        return spec.params_total / 1e9


def active_of(spec: ModelSpec) -> int:
    """Return the parameters a token uses: as published, else those of its projections, experts by how many it takes.

    Tables that are only looked up count as nothing.
    """
    if spec.params_active:
        return spec.params_active
    mixture = next((layer.mlp for layer in spec.layers if isinstance(layer.mlp, MoeMlp)), None)
    if mixture is None:
        return spec.params_total
    stored = matrices_of(spec, native(spec), Ranks(), fullest_stage(spec, 1))
    chosen = mixture.active / mixture.experts
    used = sum(times * matrix.elements * (chosen if matrix.experts else 1) for matrix, _, times in stored)
    return min(spec.params_total, round(used))


def is_for_code(row: Row) -> bool:
    """Tell whether a model's name says that it is for programs."""
    return bool(CODE & {row.family, *row.words})


def _may_be(index: ModelIndex, row: Row) -> bool:
    if row.downloads < (CODE_DOWNLOADS if is_for_code(row) else DOWNLOADS) or NOT_FOR_TALK & set(row.words):
        return False
    if any(part in row.family for part in OTHER_FAMILIES):
        return False
    return index.is_publishers(row) and not _is_raw(row, index.of_family(row.family))


def _is_raw(row: Row, family: Iterable[Row]) -> bool:
    """Whether there is an instructed model of the same version and size beside it: then it is the raw one."""
    if "instruct" in row.words or row.size_b is None:
        return False
    rest = set(row.words) | {"instruct"}
    return any(
        other.size_b == row.size_b and other.versions[:1] == row.versions[:1] and set(other.words) == rest
        for other in family
    )
