"""Ways to make it work: moves applied to what was asked, each result checked, ranked by what the person gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tools.domain import Option, OptionKind, Placement, PlanRequest
from tools.plan import moves, ram
from tools.plan.costs import costs_of, needs_of, ram_bytes
from tools.plan.demand import Sizer
from tools.plan.engines import engine
from tools.plan.evaluate import evaluate, missing_bytes, search_steps
from tools.plan.hardware import larger_rigs, more_of_the_same
from tools.plan.moves import State
from tools.plan.ranking import worth_showing
from tools.plan.siblings import smaller_model
from tools.plan.sizes import weight_bytes

Move = Callable[[State], Iterable[State]]

DEPTH = 3
"""Moves made one after the other at most."""

EASY_LOSS = 2.0
"""Once a single move costs no more than this, no chains of moves are tried."""

GOOD_LOSS = 4.0
"""Once something on the rig as it is costs no more than this, no longer chains of moves are tried."""

FIRST_ONLY = frozenset({"context", "concurrency", "offload", "parallel", "smaller_model"})
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
            self._try("share", self._share(asked))
            self._try("parallel", self._wider(asked) if not asked.swap else ())
        else:
            self._widen([asked])
            if not self._good():
                self._try("smaller_model", smaller_model(asked))
            self.found += larger_rigs(asked, self._check)
            smallest = self._smallest(asked)
            if not self._good() and smallest is not asked:
                self.found += more_of_the_same(smallest, self._check)
        chosen = worth_showing(self.found, self._loss)
        return unique_ids(self._option(state, placement) for state, placement in chosen)

    def _wider(self, asked: State) -> Iterator[State]:
        """Splits over more cards than as asked."""
        placement = self._check(asked)
        ranks = len(placement.instances[0].gpu_indices) if placement else 1
        return (state for state in moves.parallel(asked) if state.choices[0].least_ranks > ranks)

    @staticmethod
    def _smallest(asked: State) -> State:
        """The state with the smallest checkpoints there are, as most people would run it on one card more."""
        return min(moves.precision(asked), key=lambda state: sum(map(weight_bytes, state.choices)), default=asked)

    def _widen(self, frontier: list[State]) -> None:
        for depth in range(DEPTH):
            nearest: list[State] = []
            for state in frontier:
                for kind, move in self._moves(state):
                    misses = self._try(kind, move(state))
                    nearest += misses
            if not nearest or self._good(EASY_LOSS if depth == 0 else GOOD_LOSS):
                return
            frontier = nearest

    def _good(self, loss: float = GOOD_LOSS) -> bool:
        """Whether something that costs little was found on the rig as it is."""
        return any("share" not in state.path and state.loss <= loss for state, _ in self.found)

    def _moves(self, state: State) -> Iterator[tuple[OptionKind, Move]]:
        """Moves not yet behind a state, in one order so that no two chains differ in order only."""
        table: tuple[tuple[OptionKind, Move], ...] = (
            ("share", self._share),
            ("parallel", moves.machines),
            ("precision", moves.precision),
            ("kv_dtype", moves.kv_dtype),
            ("concurrency", moves.concurrency),
            ("context", moves.context),
            ("swap", self._swap),
            ("offload", lambda s: ram.offload(s, missing_bytes(s, self.sizer))),
        )
        done = [index for index, (kind, _) in enumerate(table) if kind in state.path]
        yield from table[max(done, default=-1) + 1 :]

    def _share(self, state: State) -> Iterator[State]:
        return moves.share(state, same_model=self.request.same_model)

    def _swap(self, state: State) -> Iterable[State]:
        return () if self.request.residency == "together" else ram.swap(state)

    def _try(self, kind: OptionKind, states: Iterable[State]) -> list[State]:
        """Keep what fits; where nothing did, return what came nearest, and of precisions the gentlest too."""
        missed: list[State] = []
        before = len(self.found)
        for state in states:
            placement = self._check(state)
            if placement is None:
                missed.append(state)
                continue
            self.found.append((state, placement))
            if kind in FIRST_ONLY:
                return []
        if not missed or len(self.found) > before:
            return []
        missed.sort(key=lambda state: missing_bytes(state, self.sizer))
        if kind != "precision":
            return missed[:1]
        steps = len(engine(self.request.engine).ladder)
        gentlest = min(missed, key=lambda state: state.loss)
        return [gentlest, *(state for state in missed[: max(1, steps - 1)] if state is not gentlest)]

    def _check(self, state: State) -> Placement | None:
        """Evaluate a state; one that needs more RAM than there is does not fit."""
        available = self.request.rig.ram_bytes
        if available is not None and "more_hardware" not in state.path and ram_bytes(state) > available:
            return None
        return evaluate(state, self.sizer, steps=search_steps(state))

    def _loss(self, state: State) -> float:
        stated = {"kv_dtype": "kv_dtype", "context": "context", "concurrency": "users", "precision": "precision"}
        return state.loss + sum(STATED_LOSS for kind in state.path if stated.get(kind) in self.request.stated)

    def _option(self, state: State, placement: Placement) -> Option:
        return Option(
            id=state.tag,
            kind="more_hardware" if "more_hardware" in state.path else state.path[0],
            title=state.title(),
            placement=placement,
            needs=(*state.titles[1:], *needs_of(state, placement)),
            costs=costs_of(state, placement),
        )


def unique_ids(options: Iterable[Option]) -> tuple[Option, ...]:
    """Number options whose ids are the same."""
    seen: dict[str, int] = {}
    found: list[Option] = []
    for option in options:
        seen[option.id] = seen.get(option.id, 0) + 1
        number = seen[option.id]
        found.append(option if number == 1 else replace(option, id=f"{option.id}-{number}"))
    return tuple(found)
