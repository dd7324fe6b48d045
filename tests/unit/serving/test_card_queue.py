"""Cards are taken one engine at a time, in the order of coming, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from serving.card_queue import CardQueue

CARDS = st.sets(st.sampled_from(["nvidia:0", "nvidia:1", "nvidia:2", "cpu"]), min_size=1)
COMERS = st.lists(st.tuples(CARDS, st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(0, 8)), max_size=12)


class Counter:
    """Lets in who comes, and checks that no card is held twice."""

    def __init__(self) -> None:
        self.queue = CardQueue()
        self.held: set[str] = set()
        self.came: list[int] = []
        self.let_in: list[int] = []

    async def come(self, number: int, cards: set[str], after: int, holds: int) -> None:
        await asyncio.sleep(after)
        self.came.append(number)
        async with self.queue.held(cards):
            self.let_in.append(number)
            assert not cards & self.held
            self.held |= cards
            try:
                await asyncio.sleep(holds)
            finally:
                self.held -= cards


@given(COMERS)
def test_in_order_on_every_card_and_never_two_at_once(comers: list[tuple[set[str], int, int, int | None]]) -> None:
    """Each comes after some seconds, holds its cards for some seconds, and may be cancelled after some more."""
    counter = Counter()

    async def all_of_them() -> None:
        tasks = []
        for number, (cards, after, holds, cancel) in enumerate(comers):
            tasks.append(asyncio.create_task(counter.come(number, cards, after, holds)))
            if cancel is not None:
                asyncio.get_running_loop().call_later(after + cancel, tasks[-1].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        async with counter.queue.held({"nvidia:0", "nvidia:1", "nvidia:2", "cpu"}):  # nothing is left taken
            pass

    run(all_of_them())
    order = {number: place for place, number in enumerate(counter.let_in)}
    in_turn = sorted(order, key=counter.came.index)
    for one, other in combinations(in_turn, 2):
        assert not comers[one][0] & comers[other][0] or order[one] < order[other]


def test_engines_on_other_cards_do_not_wait() -> None:
    async def both() -> float:
        queue, loop = CardQueue(), asyncio.get_running_loop()

        async def hold(card: str) -> None:
            async with queue.held({card}):
                await asyncio.sleep(10)

        await asyncio.gather(hold("nvidia:0"), hold("nvidia:1"))
        return loop.time()

    assert run(both()) == 10
