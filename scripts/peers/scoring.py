"""Errors of every tool by the same arithmetic, and what is told of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .adapters import Answer
from .rows import GIB, Row

QUANTITIES = ("weights a GPU", "KV bytes a token a GPU", "KV pool a GPU", "concurrency of a stated pool")
OWN = "Rigfit"


@dataclass(frozen=True, slots=True)
class Figure:
    """One tool's answer for one quantity of one row; ``predicted`` None = not answered."""

    tool: str
    quantity: str
    row: str
    measured: float
    predicted: float | None
    scale: float

    @property
    def error(self) -> float | None:
        """Distance from what was measured, as a share of it; for a pool, of the budget."""
        return None if self.predicted is None else abs(self.predicted - self.measured) / self.scale


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one tool in one quantity: median and p90 of what it answered, shares of what it was asked."""

    asked: int
    answered: int
    median: float | None
    p90: float | None
    within_1: float
    within_5: float
    within_10: float


def figures(tool: str, row: Row, said: Mapping[str, float | None]) -> Iterable[Figure]:
    """Yield a figure for every quantity that the row measured."""
    budget = (row.budget_gib or 0) * GIB
    for quantity, measured, scale in (
        (QUANTITIES[0], (row.weights_gib or 0) * GIB, None),
        (QUANTITIES[1], row.kv_bytes_per_token or 0, None),
        (QUANTITIES[2], (row.pool_gib or 0) * GIB, budget),
        (QUANTITIES[3], row.concurrency or 0, None),
    ):
        if measured:
            yield Figure(tool, quantity, row.id, measured, said.get(quantity), scale or measured)


def of_answer(row: Row, answer: Answer) -> dict[str, float | None]:
    """A peer's figures. None takes a pool, so its concurrency is the row's pool over its bytes of one sequence."""
    sequence = answer.sequence
    return {
        QUANTITIES[0]: answer.weights,
        QUANTITIES[1]: sequence / row.context if sequence else None,
        QUANTITIES[2]: answer.pool,
        QUANTITIES[3]: (row.held_gib or 0) * GIB / sequence if sequence else None,
    }


def of_estimates(row: Row, estimates: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Rigfit's figures, from the lines of its batch by their ids."""
    own, fixed = estimates.get(row.id, {}), estimates.get(f"{row.id}#pool", {})
    return {
        QUANTITIES[0]: _value(own.get("weights_bytes_per_gpu")),
        QUANTITIES[1]: _value(own.get("kv_bytes_per_token_per_gpu")),
        QUANTITIES[2]: _value(own.get("kv_pool_bytes_per_gpu")),
        QUANTITIES[3]: _value(fixed.get("max_concurrency")),
    }


def _value(said: Any) -> float | None:
    value = said.get("value") if isinstance(said, Mapping) else said
    return float(value) if isinstance(value, int | float) else None


def score(found: Sequence[Figure]) -> Score:
    """Sum up the figures of one tool in one quantity."""
    errors = sorted(figure.error for figure in found if figure.error is not None)
    return Score(
        len(found),
        len(errors),
        statistics.median(errors) if errors else None,
        errors[min(len(errors) - 1, int(0.9 * len(errors)))] if errors else None,
        *(sum(error <= limit for error in errors) / max(1, len(found)) for limit in (0.01, 0.05, 0.10)),
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """Rigfit beside one peer, on the rows that both answered."""

    rows: int
    own_median: float
    median: float
    nearer: int
    further: int


def pair(own: Sequence[Figure], other: Sequence[Figure]) -> Pair | None:
    """Compare where both answered; None where there is no such row. Errors within 0.01 % of each other are equal."""
    mine = {figure.row: figure.error for figure in own if figure.error is not None}
    both = [(mine[one.row], one.error) for one in other if one.error is not None and one.row in mine]
    if not both:
        return None
    ours, theirs = zip(*both, strict=True)
    apart = [theirs - ours for ours, theirs in both]
    nearer, further = sum(gap > 1e-4 for gap in apart), sum(gap < -1e-4 for gap in apart)
    return Pair(len(both), statistics.median(ours), statistics.median(theirs), nearer, further)
