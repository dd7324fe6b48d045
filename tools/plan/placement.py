"""Which instance goes on which cards: a bounded search, largest first, with backtracking.

Of the placements that hold, the one with the least splitting wins (it costs traffic between cards), then the one with
the fewest neighbours on a card (they share its bandwidth and must start in turn), then the one whose fullest card has
the largest share left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tools.domain import Gpu
from tools.plan.demand import RANKS, Choice, Demand, Sizer
from tools.units import GIB

RESERVE_SHARE = 0.02
RESERVE_BYTES = GIB // 2
"""Each card keeps max(0.5 GiB, 2 %) free: allocators fragment, drivers and displays take a little more at times."""

SEARCH_STEPS = 500
"""Seats tried before the best placement found so far is taken; bounds the work on large rigs."""

TRIES_A_GROUP = 12
"""Different ways to seat one instance among equal cards that are all tried; beyond, only the ends."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One instance on its cards.

    Attributes:
        index: of the instance in the list that was placed.
        cards: indices of the rig's cards, one a rank.
    """

    index: int
    cards: tuple[int, ...]
    demand: Demand

    @property
    def ranks(self) -> int:
        """Cards it is split over."""
        return len(self.cards)

    def takes(self) -> Iterator[tuple[int, int]]:
        """Yield each card with the bytes needed there."""
        for position, card in enumerate(self.cards):
            yield card, self.demand.bytes_on(position)

    @property
    def effort(self) -> int:
        """What the split costs: traffic between cards, and more so pipeline stages that wait for each other."""
        return self.ranks * self.demand.footprint.deployment.pp


def reserve_bytes(gpu: Gpu) -> int:
    """Bytes of a card that a plan leaves free."""
    return max(RESERVE_BYTES, round(gpu.cuda_total_bytes * RESERVE_SHARE))


def room_bytes(gpu: Gpu) -> int:
    """Bytes of a card that instances may take: what the engine sees, less what others use and the reserve."""
    return gpu.cuda_total_bytes - gpu.reserved_bytes - reserve_bytes(gpu)


def place(
    choices: Sequence[Choice], gpus: Sequence[Gpu], sizer: Sizer, *, steps: int = SEARCH_STEPS
) -> tuple[Seat, ...] | None:
    """Seat every instance so that all are resident at once.

    Args:
        choices: what must run.
        gpus: the rig's cards.
        sizer: the calculator.
        steps: seats to try at most.

    Returns:
        Seats in the order of ``choices``, or None where no placement was found.

    Raises:
        NotYetExact: a model or format is not covered exactly.
    """
    search = _Search(choices, gpus, sizer, steps)
    if not choices or not gpus or search.hopeless():
        return None
    search.descend(0, [room_bytes(gpu) for gpu in gpus], ())
    return tuple(sorted(search.best, key=lambda seat: seat.index)) if search.best else None


def place_anyhow(choices: Sequence[Choice], gpus: Sequence[Gpu], sizer: Sizer) -> tuple[Seat, ...]:
    """Seat every instance where it overflows least, largest first, to show what is missing.

    Kernels are not asked for here. Returns seats in the order of ``choices``; none where there is no card.
    """
    free = [room_bytes(gpu) for gpu in gpus]
    search = _Search(choices, gpus, sizer)
    seats: list[Seat] = []
    for index in search.order if gpus else ():
        seat = min(search.every_seat(index, free), key=lambda s: _overflow(s, free), default=None)
        if seat:
            seats.append(seat)
            _take(free, seat)
    return tuple(sorted(seats, key=lambda seat: seat.index))


def place_in_turns(
    choices: Sequence[Choice], gpus: Sequence[Gpu], sizer: Sizer, residue_bytes: int
) -> tuple[Seat, ...] | None:
    """Seat every instance as if alone, for instances of which one is awake at a time on a card.

    Args:
        choices: what must run.
        gpus: the rig's cards.
        sizer: the calculator.
        residue_bytes: what each sleeping instance still holds; those of all others are kept free everywhere.

    Returns:
        Seats in the order of ``choices``, on cards of their own where there are enough; None where one has no seat.
    """
    search = _Search(choices, gpus, sizer)
    room = [room_bytes(gpu) - (len(choices) - 1) * residue_bytes for gpu in gpus]
    marked, seats = list(room), list[Seat]()
    for index in search.order:
        able = [seat for seat in search.every_seat(index, marked) if _holds(seat, room) and search.has_kernels(seat)]
        if not able:
            return None
        seats.append(min(able, key=lambda seat: (sum(marked[c] != room[c] for c in seat.cards), seat.effort)))
        _take(marked, seats[-1])
    return tuple(sorted(seats, key=lambda seat: seat.index))


def _holds(seat: Seat, free: Sequence[int]) -> bool:
    return all(free[card] >= need for card, need in seat.takes())


def _overflow(seat: Seat, free: Sequence[int]) -> tuple[int, int, int]:
    over = sum(max(0, need - max(0, free[card])) for card, need in seat.takes())
    return over, seat.effort, -min(free[card] for card in seat.cards)


def _take(free: list[int], seat: Seat) -> None:
    for card, need in seat.takes():
        free[card] -= need


@dataclass
class _Search:
    choices: Sequence[Choice]
    gpus: Sequence[Gpu]
    sizer: Sizer
    steps: int = SEARCH_STEPS
    best: tuple[Seat, ...] = ()
    order: list[int] = field(default_factory=list[int])
    _score: tuple[float, float, float] | None = None
    _groups: list[list[int]] = field(default_factory=list[list[int]])
    _pools: list[list[int]] = field(default_factory=list[list[int]])
    _least: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        kinds: dict[tuple[str, int, int], list[int]] = defaultdict(list)
        for index, gpu in enumerate(self.gpus):
            kinds[gpu.name, gpu.cuda_total_bytes, gpu.node].append(index)
        self._groups = list(kinds.values())
        machines: dict[tuple[int, str], list[int]] = defaultdict(list)
        for index, gpu in enumerate(self.gpus):
            machines[gpu.node, gpu.vendor].append(index)
        pools = [*self._groups, *machines.values()]
        self._pools = list({tuple(pool): pool for pool in pools if len(pool) > 1}.values())
        sizes = [self._smallest(choice) for choice in self.choices]
        self.order = sorted(range(len(self.choices)), key=lambda i: (-sizes[i], i))
        rest, self._least = 0, [0] * (len(self.choices) + 1)
        for depth in range(len(self.choices) - 1, -1, -1):
            rest += sizes[self.order[depth]]
            self._least[depth] = rest

    def hopeless(self) -> bool:
        """Tell at once where even the sum of all needs is more than all room."""
        return self._least[0] > sum(max(0, room_bytes(gpu)) for gpu in self.gpus)

    def descend(self, depth: int, free: list[int], seats: tuple[Seat, ...]) -> None:
        """Seat the instance at ``depth`` in every way worth trying, then the next ones."""
        if depth == len(self.order):
            self._keep(seats, free)
            return
        if self._least[depth] > sum(left for left in free if left > 0):
            return
        done, rest = sum(seat.effort for seat in seats), len(self.order) - depth - 1
        for seat in self._seats(self.order[depth], free):
            self.steps -= 1
            if self.steps < 0:
                return
            if self._score and done + seat.effort + rest > -self._score[0]:  # they come easiest first
                return
            left = list(free)
            _take(left, seat)
            self.descend(depth + 1, left, (*seats, seat))

    def every_seat(self, index: int, free: Sequence[int]) -> Iterator[Seat]:
        """All splits on all kinds of card, whether or not they hold or have kernels."""
        choice = self.choices[index]
        if self.sizer.places_layers(choice):
            yield from self._by_layers(index, free)
            return
        if choice.machines > 1:
            yield from self._across(index, free)
            return
        for group in self._groups:
            emptiest = sorted(group, key=lambda card: -free[card])
            for ranks in RANKS:
                demand = self.sizer.demand(choice, self.gpus[group[0]], ranks) if ranks <= len(group) else None
                if demand:
                    yield Seat(index, tuple(sorted(emptiest[:ranks])), demand)

    def has_kernels(self, seat: Seat) -> bool:
        """Tell whether the engine runs an instance on its cards, split so."""
        choice = self.choices[seat.index]
        return all(self.sizer.runs(choice, self.gpus[card], seat.ranks) for card in seat.cards)

    def _seats(self, index: int, free: Sequence[int]) -> Iterable[Seat]:
        """Seats that hold, fewest ranks first, emptiest cards first; equal ones once."""
        choice, found = self.choices[index], list[Seat]()
        if self.sizer.places_layers(choice):
            return self._holding_layers(index, free)
        if choice.machines > 1:
            found = [s for s in self._across(index, free) if _holds(s, free) and self.has_kernels(s)]
            return sorted(found, key=_easiest(free))
        for group in self._groups:
            gpu = self.gpus[group[0]]
            for ranks in RANKS:
                if ranks > len(group) or not self.sizer.runs(choice, gpu, ranks):
                    continue
                demand = self.sizer.demand(choice, gpu, ranks)
                if demand:
                    able = [card for card in group if free[card] >= demand.total_bytes]
                    found += [Seat(index, cards, demand) for cards in _card_sets(able, free, ranks)]
        found.sort(key=_easiest(free))
        return found

    def _across(self, index: int, free: Sequence[int]) -> Iterator[Seat]:
        """Seats over several machines: as many equal cards of each, the emptiest machines and cards first."""
        choice = self.choices[index]
        kinds: dict[tuple[str, int], list[list[int]]] = defaultdict(list)
        for group in self._groups:
            gpu = self.gpus[group[0]]
            kinds[gpu.name, gpu.cuda_total_bytes].append(sorted(group, key=lambda card: (-free[card], card)))
        for machines in kinds.values():
            for each in RANKS:
                able = [group[:each] for group in machines if len(group) >= each]
                able.sort(key=lambda cards: -free[cards[-1]])
                if len(able) < choice.machines:
                    break
                cards = tuple(sorted(card for group in able[: choice.machines] for card in group))
                demand = self.sizer.demand(choice, self.gpus[cards[0]], len(cards))
                if demand:
                    yield Seat(index, cards, demand)

    def _holding_layers(self, index: int, free: Sequence[int]) -> Iterator[Seat]:
        """Seats of an engine that places layers that hold; those over several cards are worked out when it is time."""
        alone = [cards for cards in self._sets_by_layers(index, free) if len(cards) == 1]
        wide = [cards for cards in self._sets_by_layers(index, free) if len(cards) > 1]
        singles = [s for s in self._by_layers(index, free, alone) if _holds(s, free) and self.has_kernels(s)]
        yield from sorted(singles, key=_easiest(free))
        least = self.sizer.demand_by_layers(self.choices[index], self.gpus[:1], (0,))
        for cards in sorted(wide, key=len):
            if least and sum(max(0, free[card]) for card in cards) >= least.total_bytes:
                seats = self._by_layers(index, free, [cards], holding=True)
                yield from (seat for seat in seats if _holds(seat, free) and self.has_kernels(seat))

    def _by_layers(
        self,
        index: int,
        free: Sequence[int],
        sets: Iterable[tuple[int, ...]] | None = None,
        *,
        holding: bool = False,
    ) -> Iterator[Seat]:
        """Seats of an engine that places layers: single cards, and the emptiest of a machine, equal or not."""
        for cards in self._sets_by_layers(index, free) if sets is None else sets:
            demand = self.sizer.demand_by_layers(
                self.choices[index],
                [self.gpus[card] for card in cards],
                [free[card] for card in cards],
                holding=holding,
            )
            if demand:
                yield Seat(index, cards, demand)

    def _sets_by_layers(self, index: int, free: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """One card of each kind and free size; then of each machine, and of each kind, the two, three ... emptiest."""
        seen: set[tuple[object, ...]] = set()
        for group in self._groups:
            for card in group:
                if (alike := (group[0], free[card])) not in seen:
                    seen.add(alike)
                    yield (card,)
        most = len(self.choices[index].model.layers)
        gguf = self.choices[index].checkpoint.quantization.method == "gguf"
        for pool in self._pools if gguf else [group for group in self._groups if len(group) > 1]:
            emptiest = sorted(pool, key=lambda card: (-free[card], card))
            for ranks in range(2, min(len(pool), RANKS[-1], most) + 1):
                yield tuple(sorted(emptiest[:ranks]))

    def _keep(self, seats: tuple[Seat, ...], free: Sequence[int]) -> None:
        used = Counter(card for seat in seats for card in seat.cards)
        emptiness = min(free[card] / self.gpus[card].cuda_total_bytes for card in used)
        neighbours = sum(engines - 1 for engines in used.values())
        score = (-float(sum(seat.effort for seat in seats)), -float(neighbours), emptiness)
        if self._score is None or score > self._score:
            self.best, self._score = seats, score

    def _smallest(self, choice: Choice) -> int:
        """Least bytes an instance takes over all its cards, whatever the split."""
        sizes: list[int] = []
        if choice.machines > 1:
            rooms = [room_bytes(gpu) for gpu in self.gpus]
            seats = self._across(self.choices.index(choice), rooms)
            return min((sum(need for _, need in seat.takes()) for seat in seats), default=0)
        if self.sizer.places_layers(choice):
            alone = self.sizer.demand_by_layers(choice, self.gpus[:1], (0,)) if self.gpus else None
            return alone.total_bytes if alone else 0
        for group in self._groups:
            for ranks in RANKS:
                demand = self.sizer.demand(choice, self.gpus[group[0]], ranks) if ranks <= len(group) else None
                if demand:
                    sizes.append(demand.total_bytes * ranks)
        return min(sizes, default=0)


def _easiest(free: Sequence[int]) -> Callable[[Seat], tuple[int, int]]:
    """Order of seats: fewest ranks first, then those that leave most on their fullest card."""
    return lambda seat: (seat.effort, -min(free[card] - need for card, need in seat.takes()))


def _card_sets(able: Sequence[int], free: Sequence[int], ranks: int) -> list[tuple[int, ...]]:
    """Sets of ``ranks`` cards that differ in what is free on them; only the two ends where there are many."""
    if len(able) < ranks:
        return []
    falling = sorted(able, key=lambda card: (-free[card], card))
    kept = list[int]()
    seen: Counter[int] = Counter()
    for card in falling:  # of equally free cards no more than one set can use
        seen[free[card]] += 1
        if seen[free[card]] <= ranks:
            kept.append(card)
    if len(kept) > ranks + 3 and ranks > 1:
        return [tuple(sorted(falling[:ranks])), tuple(sorted(falling[-ranks:]))]
    sets: dict[tuple[int, ...], tuple[int, ...]] = {}
    for cards in combinations(kept, ranks):
        sets.setdefault(tuple(sorted(free[card] for card in cards)), tuple(sorted(cards)))
    found = list(sets.values())
    return found if len(found) <= TRIES_A_GROUP else [*found[: TRIES_A_GROUP - 1], found[-1]]
