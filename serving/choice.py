"""Which engine of a model a request goes to, and where it goes next when that one can't be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from serving.errors import Refused
from serving.turns import Turns
from serving.upstreams import Engine

_FREE: AbstractAsyncContextManager[Refused | None] = nullcontext(None)


class Choice:
    """The engines of one model, for one request.

    First one that takes turns and is awake now; then others that are healthy, the least busy one first; only then one
    that would have to be woken; at last those that are down, because they may be back before the next look.

    Args:
        engines: those that answer for the model.
        turns: who takes turns.
        model: its name.
    """

    def __init__(self, engines: Sequence[Engine], turns: Mapping[Engine, Turns], model: str) -> None:
        self._left = list(engines)
        self._turns = turns
        self._model = model
        self._again = list[Engine]()

    def next(self) -> Engine | None:
        """Return the engine to ask next; None where every one has been tried."""
        engine = min(self._left, key=self._rank, default=None) if len(self._left) != 1 else self._left[0]
        if engine is not None:
            self._left.remove(engine)
        return engine

    @property
    def is_last(self) -> bool:
        """Whether there is nobody else to ask."""
        return not self._left

    def held(self, engine: Engine) -> AbstractAsyncContextManager[Refused | None]:
        """Keep an engine awake inside the block; yields why that can't be, or None."""
        turns = self._turns.get(engine)
        return _FREE if turns is None else turns.turn(engine, self._model)

    def failed(self, engine: Engine, sent: bool) -> None:
        """Note that an engine did not begin to answer.

        One that takes turns may have ended unseen and can be started again, so it is asked a second time where it
        can't have got the request at the first.
        """
        turns = self._turns.get(engine)
        if turns is None:
            return
        turns.lost(engine)
        if not sent and engine not in self._again:
            self._again.append(engine)
            self._left.append(engine)

    def _rank(self, engine: Engine) -> tuple[int, int]:
        turns = self._turns.get(engine)
        if turns is None:
            return 3 if engine.healthy is False else 1, engine.in_flight
        return 0 if turns.at_once(engine) else 2, engine.in_flight
