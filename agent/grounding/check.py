"""Checks an answer sentence by sentence: a figure stands only where its value, quantity and owner are a result's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.grounding.claims import QUANTITIES, Claim, Sentence, with_cells
from agent.grounding.facts import MARKETED_GB, OF_CARDS, Fact, Facts
from agent.grounding.figures import figures_in
from agent.grounding.pieces import pieces
from agent.grounding.words import tokens_of, words
from agent.state import State, tool_results
from tools.units import GIB

_RULE = re.compile(r"[\s|:-]+")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s")
_SPOKEN_CHARS = 32_000
"""Longest piece that is read; a longer one is no sentence and is refused where it has a figure."""
_SAME: dict[str, frozenset[str]] = {
    "weights": frozenset({"weights", "total_weights", "said_memory"}),
    "kv": frozenset({"kv", "pool", "kv_token"}),
    "kv_token": frozenset({"kv_token"}),
    "free": frozenset({"free"}),
    "missing": frozenset({"missing"}),
    "used": frozenset({"used", "total", "weights"}),
    "card": frozenset({"card", "said_memory", "free"}),
    "overhead": frozenset({"overhead"}),
    "total": frozenset({"total", "used", "card", "said_memory"}),
    "download": frozenset({"download", "weights"}),
    "ram": frozenset({"ram", "said_memory"}),
    "reserved": frozenset({"reserved", "used", "free", "said_memory"}),
    "context": frozenset({"context"}),
    "decode": frozenset({"decode"}),
    "throughput": frozenset({"throughput"}),
    "prefill": frozenset({"prefill"}),
}
"""A quantity as a sentence names it -> the results' quantities that it may be."""


def ungrounded(text: str, facts: Facts) -> tuple[str, ...]:
    """Return the figures of a text that nothing supports."""
    checker = Checker(facts)
    return tuple(wrong for piece in pieces(text) for wrong in checker.check(piece))


@dataclass(slots=True)
class Checker:
    """Reads an answer piece by piece and remembers whom it speaks of.

    Attributes:
        facts: what may be stated.
        checked: figures that were read so far.
    """

    facts: Facts
    checked: int = 0
    _subject: frozenset[Any] | None = None
    _heading: Sentence | None = None
    _columns: list[Sentence] = field(default_factory=list[Sentence])

    def check(self, piece: str) -> tuple[str, ...]:
        """Return the figures of the next piece that nothing supports, as written."""
        if len(piece) > _SPOKEN_CHARS:
            return (piece[:80],) if any(c.isdigit() for c in piece) else ()
        if piece.lstrip().startswith("|"):
            return self._refused(self._row(piece))
        self._columns = []
        sentence = Sentence(piece, self.facts.names)
        claims = sentence.claims()
        self._subject = self._counted(claims) or self._subject
        claims = [self._in_context(claim, sentence.all("model")) for claim in claims]
        self._remember(piece, sentence)
        return self._refused(claims)

    def _refused(self, claims: Sequence[Claim]) -> tuple[str, ...]:
        self.checked += len(claims)
        return tuple(claim.figure.text for claim in claims if not _supported(claim, self.facts))

    def _in_context(self, claim: Claim, named: frozenset[Any] | None = None) -> Claim:
        heading = self._heading
        if heading is not None:
            claim = with_cells(
                claim, models=heading.all("model"), cards=heading.all("card"), precisions=heading.all("precision")
            )
            claim = replace(claim, flags=claim.flags | (heading.flags & {"each", "together"}))
        return (
            claim
            if claim.models is not None or claim.is_free
            else replace(claim, context=_either(named, self._subject))
        )

    def _counted(self, claims: Sequence[Claim]) -> frozenset[Any] | None:
        """Return the one model that has as many parameters as a sentence says: a name like any other."""
        sizes = [claim.figure for claim in claims if claim.figure.kind == "params" and claim.models is None]
        found = {model for figure in sizes for fact in self.facts.near(figure) for model in fact.models}
        return frozenset((model, None) for model in found) if len(found) == 1 else None

    def _remember(self, piece: str, sentence: Sentence) -> None:
        """Keep the heading that list items belong to, and whom the sentence spoke of."""
        named = sentence.all("model")
        bare = piece.strip().rstrip("*_ ")
        titled = (
            piece.lstrip().startswith("#")
            or bare.endswith(":")
            or (piece.strip()[:2] == "**" and bare != piece.strip())
        )
        if titled and not sentence.figures and len(sentence.of("model")) <= 1:
            self._heading, self._subject = sentence, named
        elif not _ITEM.match(piece) and self._heading is not None and piece.strip():
            self._heading = None
        if named:
            self._subject = named

    def _row(self, piece: str) -> list[Claim]:
        """Read a row of a table: its columns say what is counted, its other cells of whom."""
        cells = [cell.strip() for cell in piece.strip().strip("|").split("|")]
        if not self._columns:
            self._columns = [Sentence(cell, self.facts.names) for cell in cells]
            return []
        if _RULE.fullmatch(piece):
            return []
        row = [self._cell(cell, at, cells[0]) for at, cell in enumerate(cells)]
        labels = [sentence for sentence in row if not sentence.figures] or [self._columns[0]]
        claims: list[Claim] = []
        for at, sentence in enumerate(row):
            column = self._columns[at] if at < len(self._columns) else None
            first = row[0] if at else None
            for claim in sentence.claims():
                claim = replace(claim, flags=claim.flags | self._columns[0].flags)
                named = {kind: _named(labels, mark) for kind, mark in _CELLS}
                claims.append(_of_cell(claim, column, first, named))
        return [self._in_context(claim) for claim in claims]

    def _cell(self, cell: str, at: int, label: str) -> Sentence:
        """Read a cell; a bare number has the unit of its column or row, or is a card's number there."""
        column = self._columns[at] if at < len(self._columns) else None
        unit = (_unit_of(column.text) if column else "") or (_named_unit(label) if at else "")
        bare = cell.strip("*` ≈~")
        plain = bool(bare) and bare[0].isdigit() and all(c.isdigit() or c in " ,.–-/\u00a0\u202f" for c in bare)
        if column and plain and unit:
            return Sentence(f"{cell} {unit}", self.facts.names)
        if column and bare.isdigit() and column.tokens and _is_card(column.tokens[0].text):
            return Sentence(f"card {bare}", self.facts.names)
        return Sentence(cell, self.facts.names)


_CELLS = (("models", "model"), ("cards", "card"), ("index", "index"), ("precisions", "precision"))


_ONE = frozenset({"a", "one", "single", "per", "один", "одного", "на"})
"""Words by which a title speaks of one request rather than counts them."""
_ONLY_NAMED = frozenset({"ram", "download"})
"""Quantities that are never meant where they are not named: they repeat the sizes of weights."""
_CELL_UNITS = frozenset({"bytes", "tokens", "speed", "seconds", "percent", "requests"})


def _either(one: frozenset[Any] | None, other: frozenset[Any] | None) -> frozenset[Any] | None:
    return one | other if one and other else one or other


def _is_card(word: str) -> bool:
    return word in words().sets["card_noun"] or word.startswith("карт")


def _named(labels: Sequence[Sentence], kind: str) -> frozenset[Any] | None:
    found = [value for label in labels for value in [label.all(kind)] if value is not None]
    return frozenset().union(*found) if found else None


def _of_cell(
    claim: Claim, column: Sentence | None, first: Sentence | None, named: Mapping[str, frozenset[Any] | None]
) -> Claim:
    """Give a cell's figure what its column and its row say."""
    if column is not None:
        own = {kind: column.all(mark) for kind, mark in _CELLS}
        counted, row = column.all("quantity"), first.all("quantity") if first else None
        if counted == {"total"} and row:
            counted, claim = row, replace(claim, flags=claim.flags | {"together"})
        claim = with_cells(claim, **own, quantities=counted)
        claim = replace(claim, flags=claim.flags | column.flags)
    if first is not None:
        claim = with_cells(claim, quantities=first.all("quantity"), **{k: first.all(m) for k, m in _CELLS})
        claim = replace(claim, flags=claim.flags | first.flags)
    return with_cells(claim, **named)


def _unit_of(header: str) -> str:
    """Return the unit of a column's bare numbers: that which its title names, tokens where it is a context's."""
    is_context = any(token.text.startswith(("context", "контекст")) for token in tokens_of(header))
    return "tokens" if is_context else _named_unit(header)


def _named_unit(header: str) -> str:
    """Return the unit that a title names: "Speed, tokens/s", "Weights (GiB)"."""
    tokens = tokens_of(header)
    for at in range(len(tokens)):
        found = words().units.at(tokens, at)
        counts = found and found[1][0] == "requests" and any(t.is_number or t.text in _ONE for t in tokens)
        if found and not counts and found[1][0] in _CELL_UNITS and found[0] >= len(tokens) - 1:
            return header[tokens[at].start :].strip("() ")
    return ""


def _supported(claim: Claim, facts: Facts) -> bool:
    """Whether some fact is what a figure claims."""
    figure = claim.figure
    if figure.kind in {"cards", "requests", "copies"} and figure.value <= 1:
        return True
    if figure.kind == "percent" and figure.value == 100:
        return True
    near = [fact for fact in facts.near(figure) if _present(fact, claim) and _of_quantity(fact, claim)]
    if _is_marketed(claim, facts):
        return True
    owners = claim.models
    if owners is None or len(owners) < 2 or any(_of_group(fact, claim, facts) for fact in near):
        return any(_matches(fact, claim, facts) for fact in near)
    return all(any(_matches(fact, replace(claim, models=frozenset({one})), facts) for fact in near) for one in owners)


def _matches(fact: Fact, claim: Claim, facts: Facts) -> bool:
    return (
        _of_span(fact, claim, facts)
        and _of_model(fact, claim, facts)
        and _of_card(fact, claim)
        and _of_format(fact, claim, facts)
    )


def _of_span(fact: Fact, claim: Claim, facts: Facts) -> bool:
    """Whether a fact is of one card or copy where a claim is, and of all of them where that is."""
    part = fact.span == "part" or (fact.parts == 1 and bool(fact.models) and _is_twice(facts, fact.models))
    whole = fact.span == "whole" or fact.parts > 1
    if "each" in claim.flags:
        return not whole
    used = fact.quantity == "total" and "used" in (claim.quantities or ())
    if not used and fact.quantity not in {"weights", "used", "free"}:
        return True
    if "together" in claim.flags:
        return not part
    lone = claim.index is None and claim.cards is None
    return not (fact.span == "part" and fact.quantity == "weights" and lone)


def _present(fact: Fact, claim: Claim) -> bool:
    return not fact.old or "earlier" in claim.flags


def _of_quantity(fact: Fact, claim: Claim) -> bool:
    if fact.quantity in _ONLY_NAMED and fact.quantity not in claim.said | (claim.quantities or frozenset()):
        return False
    named = (claim.quantities or frozenset()) & QUANTITIES.get(claim.figure.kind, frozenset())
    if not named or fact.quantity is None or (claim.whole and fact.quantity in {"card", "said_memory"}):
        return True
    if named == {"total"}:
        named |= claim.said
    if named >= {"weights", "kv"}:
        named |= {"total"}
    return any(fact.quantity in _SAME[quantity] for quantity in named)


def _of_group(fact: Fact, claim: Claim, facts: Facts) -> bool:
    """Whether a fact is that of all the models that a claim names together."""
    named = frozenset(model for model, _ in claim.models or ())
    if not fact.models:
        return _of_card(fact, claim) and _of_format(fact, claim, facts)
    return fact.models == named and fact.parts > 1 and _of_format(fact, claim, facts)


def _of_model(fact: Fact, claim: Claim, facts: Facts) -> bool:
    several = len(facts.names.parts) > 1
    if fact.quantity == "used" and several and claim.models and claim.index is None and claim.cards is None:
        return bool(claim.quantities and "used" in claim.quantities)
    if not fact.models:
        return claim.models != frozenset() if fact.quantity not in OF_CARDS else True
    if several and "together" in claim.flags and "each" not in claim.flags and claim.models is None and fact.parts == 1:
        return False
    if several and "each" in claim.flags and "together" not in claim.flags and fact.parts > 1:
        return False
    if claim.models is None:
        known = frozenset(model for model, _ in claim.context or ())
        return not known or bool(fact.models & known)
    named = frozenset(model for model, _ in claim.models)
    if fact.parts > 1 and fact.models != named:
        return False
    instances = {instance for _, instance in claim.models if instance}
    if instances and fact.instance not in instances and not (fact.instance is None and claim.precisions):
        return not _is_twice(facts, named) and fact.models <= named
    return fact.models <= named


def _is_twice(facts: Facts, named: frozenset[str]) -> bool:
    return sum(1 for model, _ in facts.names.parts if model in named) > 1


def _of_card(fact: Fact, claim: Claim) -> bool:
    on_card = bool(claim.index or claim.cards) and claim.models is None
    if on_card and claim.quantities and claim.quantities <= {"used", "free"} and fact.index is None and not fact.cards:
        return False
    if claim.cards is not None and fact.cards and not fact.cards & claim.cards:
        return False
    if claim.cards == frozenset():
        return False
    return claim.index is None or fact.index is None or fact.index in claim.index


def _of_format(fact: Fact, claim: Claim, facts: Facts) -> bool:
    if claim.precisions is not None:
        return not fact.precisions or bool(fact.precisions & claim.precisions)
    if not fact.listed or fact.quantity not in {"weights", "total"} or "earlier" in claim.flags:
        return True
    planned = set[str]().union(*(facts.planned.get(model, set()) for model in fact.models))
    return not planned or bool(fact.precisions & planned) or not fact.precisions


def _is_marketed(claim: Claim, facts: Facts) -> bool:
    """Whether a figure is the size that a card is sold with: "96 GB" for one of 95.6 GiB."""
    figure = claim.figure
    if figure.kind != "bytes" or figure.unit != 1e9 or figure.values[0] / 1e9 not in MARKETED_GB:
        return False
    if claim.quantities is not None and not claim.quantities & {"card", "ram", "total"} and not claim.whole:
        return False
    size = figure.values[0] / 1e9 * GIB
    return any(
        fact.quantity == "card" and abs(fact.value - size) <= 0.03 * size and _of_card(fact, claim)
        for fact in facts.of_kind("bytes")
    )


class PlanFigures:
    """The figures that were computed in a turn.

    What the asker said does not count: it would be there in a text that says nothing.
    """

    def __init__(self, state: State) -> None:
        self._computed, self._said = Facts(), Facts()
        for message in tool_results(state):
            if message.name == "calculate_vram":
                self._computed.add_result(message.text)
        self._said.add_text(state.get("turns", [""])[-1])

    def are_in(self, text: str) -> bool:
        """Tell whether a text states one of them."""
        found = figures_in(text, tokens_of(text), frozenset())
        return any(any(self._computed.near(one)) and not any(self._said.near(one)) for one in found)
