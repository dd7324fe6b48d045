"""The few models worth taking on given cards: what fits is settled by the planner, the order by a stated rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tools.domain import Band, Gpu, Placement
from tools.errors import BadValue, NotYetExact
from tools.picking.eligible import FOUR_BIT_WORTH, Eligible, eligible
from tools.plan.checkpoints import as_asked
from tools.plan.costs import slowest
from tools.plan.demand import Choice, Sizer
from tools.plan.evaluate import evaluate, search_steps
from tools.plan.kernels import engine_runs, runs_on
from tools.plan.moves import State, bits_of, levels
from tools.specs.processor import PROCESSOR

Use = Literal["chat", "code", "long_context", "speed", "quality"]
Reason = Literal["strongest", "code", "long_context", "fastest", "precise", "also"]

FIRST: dict[Use, Reason] = {
    "chat": "strongest", "code": "code", "long_context": "long_context", "speed": "fastest", "quality": "precise",
}  # fmt: skip
"""The reason that answers each wish."""
LEAST, MOST = 3, 5
"""Models shown at least, where so many fit, and at most."""
TRIED = 10
"""Models that fit are looked at, strongest first."""
MOST_TRIED = 40
"""Models worked out at most."""
COMPARABLE = 0.3
"""The fastest one and those for long texts are chosen among models of at least so much of the strongest's worth."""
CODE_WORTH = 0.5
"""A model for programs is taken before the strongest one where it is worth at least so much of it."""
LONGER = 2
"""A model is taken for long texts before the strongest one where it reads so many times as much."""
READABLE = 5.0
"""Tokens a second below which a model is not recommended."""
CONTEXTS = (1_048_576, 524_288, 262_144, 131_072, 65_536, 32_768, 16_384)
"""Longest contexts tried for one request alone."""
LEAST_BITS = 4.0
"""No pick is stored in fewer."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A model that fits.

    Attributes:
        precision: highest one that holds the load asked for.
        checkpoint: repository to load.
        weights_bytes: over all its cards.
        context_tokens: the longest context of one request alone, tried in steps of two.
        decode_tokens_per_s: one request alone; None where the card's bandwidth is not known.
        worth: strength in that precision.
        reasons: what it is shown for.
    """

    model: str
    params_total: int
    params_active: int
    precision: str
    bits: int
    checkpoint: str
    weights_bytes: int
    context_tokens: int
    cards_used: int
    release_date: str
    decode_tokens_per_s: Band | None
    worth: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    one: Eligible
    choice: Choice
    placement: Placement
    speed: Band | None

    @property
    def worth(self) -> float:
        return self.one.strength * (1.0 if bits_of(self.choice.checkpoint) >= 8 else FOUR_BIT_WORTH)


def engine_for(gpus: Sequence[Gpu], asked: str | None = None) -> str:
    """Return the engine to recommend for: the one asked for, else vLLM, else llama.cpp where vLLM does not run."""
    if asked:
        return asked
    here = [gpu for gpu in gpus if gpu.vendor == PROCESSOR or not engine_runs(gpu)]
    return "llama.cpp" if here else "vllm"


def picks(
    gpus: Sequence[Gpu], *, context: int, users: int, use: Use = "chat", engine: str | None = None
) -> tuple[Pick, ...]:
    """Return up to five models to take on some cards, the one for the stated use first.

    Args:
        gpus: the cards, used together.
        context: tokens that each request must have.
        users: requests at once.
        use: what is wanted.
        engine: the command line's word; default ``engine_for``.
    """
    search = _Search(tuple(gpus), context, users, engine_for(gpus, engine))
    found = search.run(eligible())
    if not found:
        return ()
    chosen = _chosen(found, search)
    order = sorted(chosen, key=lambda reason: reason != FIRST[use])
    shown: dict[str, Pick] = {}
    for reason in order:
        pick = search.pick(chosen[reason])
        known = shown.get(pick.model)
        shown[pick.model] = replace(known or pick, reasons=(*(known.reasons if known else ()), reason))
    for other in sorted(found, key=lambda f: -f.worth):
        if len(shown) >= LEAST:
            break
        if other.one.spec.name not in shown:
            shown[other.one.spec.name] = replace(search.pick(other), reasons=("also",))
    return tuple(shown.values())[:MOST]


def pace_of(pick: Pick, gpus: Sequence[Gpu], *, context: int, users: int) -> Band | None:
    """Return how fast one request alone is answered by a pick's model in its precision on other cards.

    None where it does not fit there or a card's bandwidth is not known.
    """
    one = next(one for one in eligible() if one.spec.name == pick.model)
    return _Search(tuple(gpus), context, users, engine_for(gpus)).pace(one, pick.precision)


def _chosen(found: Sequence[_Found], search: _Search) -> dict[Reason, _Found]:
    """Choose for each reason; only what is better than the strongest one in its way."""
    best = max(found, key=lambda f: f.worth)
    chosen: dict[Reason, _Found] = {"strongest": best}
    near = [f for f in found if f.worth >= COMPARABLE * best.worth]
    code = [f for f in found if f.one.for_code and f.worth >= CODE_WORTH * best.worth]
    chosen["code"] = max(code, key=lambda f: f.worth) if code else best
    longest = max(near, key=lambda f: (search.longest(f), f.worth))
    chosen["long_context"] = longest if search.longest(longest) >= LONGER * search.longest(best) else best
    timed = [f for f in near if f.speed]
    if timed:
        chosen["fastest"] = max(timed, key=lambda f: f.speed.value if f.speed else 0)
    precise = [f for f in found if bits_of(f.choice.checkpoint) >= 8]
    if precise:
        chosen["precise"] = max(precise, key=lambda f: f.worth)
    return chosen


class _Search:
    """Tries models on the cards; remembers what was tried."""

    def __init__(self, gpus: tuple[Gpu, ...], context: int, users: int, engine: str) -> None:
        self._gpus, self._context, self._users, self._engine = gpus, context, users, engine
        self._sizer = Sizer()
        self._longest: dict[str, int] = {}
        self._room = sum(gpu.cuda_total_bytes - gpu.reserved_bytes for gpu in gpus)

    def run(self, models: Sequence[Eligible]) -> list[_Found]:
        """Return what fits, strongest first; models for code are looked for besides."""
        able = [one for one in models if one.spec.params_total * LEAST_BITS / 8 < self._room]
        found: dict[str, _Found] = {}
        for wanted, most in ((able, TRIED), ([one for one in able if one.for_code], 2)):
            count = 0
            for one in wanted[:MOST_TRIED]:
                hit = found.get(one.spec.name) or self._fit(one)
                if hit:
                    found[one.spec.name] = hit
                    count += 1
                if count >= most:
                    break
        return list(found.values())

    def _fit(self, one: Eligible) -> _Found | None:
        """Return a model in the highest precision in which it holds the load at a pace that can be read."""
        if one.spec.max_context < self._context:
            return None
        for choice in self._levels(one):
            placement = self._placed(choice)
            if placement:
                speed = slowest(placement, self._gpus)
                pace = speed.decode_tokens_per_s if speed else None
                return None if pace and pace.value < READABLE else _Found(one, choice, placement, pace)
        return None

    def pace(self, one: Eligible, precision: str) -> Band | None:
        """Return the speed of a model in one precision; None where it does not fit."""
        for choice in self._levels(one):
            placement = self._placed(choice) if choice.checkpoint.precision == precision else None
            speed = slowest(placement, self._gpus) if placement else None
            if speed:
                return speed.decode_tokens_per_s
        return None

    def _levels(self, one: Eligible) -> Iterator[Choice]:
        try:
            native = as_asked(one.spec, "any", self._gpus, self._engine)
            choice = Choice(("m",), one.spec, native, context=self._context, users=self._users, engine=self._engine)
            able = any(runs_on(native, gpu, self._engine).runs for gpu in self._gpus)
            for level in levels(choice, self._gpus):
                small = level.checkpoint.quantization.bits < LEAST_BITS
                if small or level.checkpoint.sibling_of or (level.checkpoint is native and not able):
                    continue
                yield replace(choice, checkpoint=level.checkpoint)
        except (NotYetExact, BadValue):
            return

    def _placed(self, choice: Choice) -> Placement | None:
        state = State(choices=(choice,), gpus=self._gpus)
        try:
            return evaluate(state, self._sizer, steps=search_steps(state))
        except (NotYetExact, BadValue):
            return None

    def longest(self, found: _Found) -> int:
        """Return the longest context that one request alone may have."""
        name, limit = found.one.spec.name, found.one.spec.max_context
        if name not in self._longest:
            steps = dict.fromkeys((limit, *(c for c in CONTEXTS if c < limit and c > self._context)))
            alone = (c for c in steps if self._placed(replace(found.choice, context=c, users=1)))
            self._longest[name] = next(alone, self._context)
        return self._longest[name]

    def pick(self, found: _Found) -> Pick:
        """Return what is told of a model."""
        spec, footprint = found.one.spec, found.placement.instances[0].footprint
        cards = max(1, len(found.placement.instances[0].gpu_indices))
        checkpoint = found.choice.checkpoint
        stored = footprint.weights_bytes if checkpoint.in_flight else footprint.parameter_bytes
        return Pick(
            model=spec.name,
            params_total=spec.params_total,
            params_active=found.one.params_active,
            precision=checkpoint.precision,
            bits=bits_of(checkpoint),
            checkpoint=checkpoint.repo,
            weights_bytes=stored * cards,
            context_tokens=self.longest(found),
            cards_used=cards,
            release_date=spec.release_date or "",
            decode_tokens_per_s=found.speed,
            worth=round(found.worth, 1),
        )
