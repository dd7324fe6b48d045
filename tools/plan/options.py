"""Ways to make it work: moves applied to what was asked, each result checked, ranked by what the person gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tools.domain import Option, OptionKind, Placement, PlanRequest
from tools.plan import moves
from tools.plan.costs import costs_of, needs_of, ram_bytes
from tools.plan.demand import Sizer
from tools.plan.evaluate import evaluate, missing_bytes
from tools.plan.hardware import larger_rigs
from tools.plan.moves import State

Move = Callable[[State], Iterable[State]]

DEPTH = 3
"""Moves made one after the other at most."""

ENOUGH = 2
"""Options on the rig as it is from which on no longer chains of moves are tried."""

MAX_PRECISION_OPTIONS = 4
FIRST_ONLY = frozenset({"context", "concurrency", "offload"})
"""Moves whose variants only go further the same way: the first that fits is the one to offer."""

STATED_LOSS = 1.0
"""Added where a move changes what the asker fixed in words."""


@dataclass
class Finder:
    """One search for options.

    Attributes:
        request: what was asked.
        sizer: the calculator.
        found: states that fit, with their placements.
    """

    request: PlanRequest
    sizer: Sizer
    found: list[tuple[State, Placement]] = field(default_factory=list[tuple[State, Placement]])

    def search(self, asked: State, *, fits: bool) -> tuple[Option, ...]:
        """Return the options for a state, best first.

        Args:
            asked: the state as asked.
            fits: whether it fits already; then only what saves memory at no cost is offered.

        Raises:
            NotYetExact: a model or format is not covered exactly.
        """
        if fits:
            self.found = [*self._fitting(self._share(asked))]
        else:
            self._widen([asked])
            self.found += larger_rigs(asked, self._check)
        chosen = _without_dominated(self.found)
        chosen.sort(key=lambda pair: (pair[0].path != ("share",), self._loss(pair[0])))
        return unique_ids(self._option(state, placement) for state, placement in chosen)

    def _widen(self, frontier: list[State]) -> None:
        for _ in range(DEPTH):
            nearest: list[State] = []
            for state in frontier:
                for kind, move in self._moves(state):
                    misses = self._try(kind, move(state))
                    nearest += misses
            if len(self.found) >= ENOUGH or not nearest:
                return
            frontier = nearest

    def _moves(self, state: State) -> Iterator[tuple[OptionKind, Move]]:
        """Moves not yet behind a state, in one order so that no two chains differ in order only."""
        table: tuple[tuple[OptionKind, Move], ...] = (
            ("share", self._share),
            ("precision", moves.precision),
            ("kv_dtype", moves.kv_dtype),
            ("context", moves.context),
            ("concurrency", moves.concurrency),
            ("swap", self._swap),
            ("offload", lambda s: moves.offload(s, missing_bytes(s, self.sizer))),
        )
        done = [index for index, (kind, _) in enumerate(table) if kind in state.path]
        yield from table[max(done, default=-1) + 1 :]

    def _share(self, state: State) -> Iterator[State]:
        return moves.share(state, same_model=self.request.same_model)

    def _swap(self, state: State) -> Iterable[State]:
        return () if self.request.residency == "together" else moves.swap(state)

    def _try(self, kind: OptionKind, states: Iterable[State]) -> list[State]:
        """Keep what fits; return the one state that came nearest where nothing did."""
        missed: list[State] = []
        for state in states:
            placement = self._check(state)
            if placement is None:
                missed.append(state)
                continue
            self.found.append((state, placement))
            if kind in FIRST_ONLY:
                return []
        if not missed:
            return []
        if any(state.path[-1] == kind and len(state.path) == len(missed[0].path) for state, _ in self.found):
            return []
        return [min(missed, key=lambda state: missing_bytes(state, self.sizer))]

    def _fitting(self, states: Iterable[State]) -> Iterator[tuple[State, Placement]]:
        for state in states:
            placement = self._check(state)
            if placement:
                yield state, placement

    def _check(self, state: State) -> Placement | None:
        """Evaluate a state; one that needs more RAM than there is does not fit."""
        available = self.request.rig.ram_bytes
        if available is not None and "more_hardware" not in state.path and ram_bytes(state) > available:
            return None
        return evaluate(state, self.sizer)

    def _loss(self, state: State) -> float:
        stated = {"kv_dtype": "kv_dtype", "context": "context", "concurrency": "users", "precision": "precision"}
        return state.loss + sum(STATED_LOSS for kind in state.path if stated.get(kind) in self.request.stated)

    def _option(self, state: State, placement: Placement) -> Option:
        return Option(
            id=state.tag,
            kind=state.path[0],
            title=state.titles[0],
            placement=placement,
            needs=(*state.titles[1:], *needs_of(state, placement)),
            costs=costs_of(state, placement),
        )


def _without_dominated(found: list[tuple[State, Placement]]) -> list[tuple[State, Placement]]:
    """Drop mixtures of precision below another that fits too; the one with the smallest weights stays, for its room."""
    mixed = [pair for pair in found if pair[0].path == ("precision",)]
    others = [pair for pair in found if pair[0].path != ("precision",)]
    if not mixed:
        return others
    bits = {id(state): [moves.bits_of(choice.checkpoint) for choice in state.choices] for state, _ in mixed}

    def dominated(state: State) -> bool:
        mine = bits[id(state)]
        theirs = [bits[id(other)] for other, _ in mixed if other is not state]
        return any(all(a >= b for a, b in zip(one, mine, strict=True)) and one != mine for one in theirs)

    kept = sorted((pair for pair in mixed if not dominated(pair[0])), key=lambda pair: pair[0].loss)
    smallest = min(mixed, key=lambda pair: sum(bits[id(pair[0])]))
    kept = kept[:MAX_PRECISION_OPTIONS]
    return others + (kept if smallest in kept else [*kept, smallest])


def unique_ids(options: Iterable[Option]) -> tuple[Option, ...]:
    """Number options whose ids are the same."""
    seen: dict[str, int] = {}
    found: list[Option] = []
    for option in options:
        seen[option.id] = seen.get(option.id, 0) + 1
        number = seen[option.id]
        found.append(option if number == 1 else replace(option, id=f"{option.id}-{number}"))
    return tuple(found)
