"""From what was said to what is planned. The only place that sets defaults, matches names and decides what to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tools.domain import (
    Gpu,
    GpuAsk,
    InstanceRequest,
    ModelAsk,
    ModelSpec,
    Note,
    PlanRequest,
    Reading,
    Residency,
    Rig,
    note,
)
from tools.errors import UnknownGpu, UnknownModel
from tools.plan import limits
from tools.plan.precisions import settle_precision
from tools.specs.names import said_name

if TYPE_CHECKING:
    from tools.specs.gpus import GpuCatalogue
    from tools.specs.models import ModelCatalogue

NEED_NO_CARD = frozenset({"memory_needed", "hardware_needed", "which_quant", "compare", "explain_error"})
"""Questions that can be answered, or begun, without knowing the card."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What can be planned, or what must be asked first.

    Attributes:
        request: None where a question in ``asks`` must be answered first, or where no card is known nor needed.
        asks: questions, most important first.
        assumptions: how the words were understood; also those of ``request``.
    """

    request: PlanRequest | None
    asks: tuple[Note, ...] = ()
    assumptions: tuple[Note, ...] = ()


@dataclass
class Gathered:
    """What the words of one request come to, while they are being read."""

    instances: list[InstanceRequest] = field(default_factory=list[InstanceRequest])
    gpus: list[Gpu] = field(default_factory=list[Gpu])
    asks: list[Note] = field(default_factory=list[Note])
    notes: list[Note] = field(default_factory=list[Note])
    near: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    stated: set[str] = field(default_factory=set[str])

    def add_model(
        self, model: ModelSpec, said: str, *, precision: str | None, copies: int, load: Load, engine: str = "vllm"
    ) -> None:
        """Add copies of a model under the load that was stated.

        Raises:
            BadValue: the context or the number of instances is out of bounds.
        """
        word, notes = settle_precision(model, precision, engine)
        context, capped = limits.context_of(model, load.context)
        self.notes += [*notes, *capped]
        if load.context is None and context < limits.DEFAULT_CONTEXT:
            self.notes.append(note("plan.context_small", model=model.name, maximum=context))
        if precision is not None:
            self.stated.add("precision")
        limits.within("copies", copies, 1, limits.MAX_INSTANCES)
        one = InstanceRequest(model, word, context, limits.users_of(load.users), said)
        self.instances += [one] * copies
        limits.within("instances", len(self.instances), 1, limits.MAX_INSTANCES)

    def defaults(self, load: Load) -> None:
        """List the defaults that were filled in, and remember what was stated."""
        if load.context is None:
            self.notes.append(note("plan.assume_context", tokens=limits.DEFAULT_CONTEXT))
        else:
            self.stated.add("context")
        if load.users is None:
            self.notes.append(note("plan.assume_users", users=limits.DEFAULT_USERS))
        else:
            self.stated.add("users")

    def request(self, rig: Rig, **options: object) -> PlanRequest:
        """Build the request, every default listed."""
        made = PlanRequest(
            instances=tuple(self.instances),
            rig=rig,
            assumptions=unique(self.notes),
            near_misses=dict(self.near),
            stated=frozenset(self.stated),
        )
        return replace(made, **options)


@dataclass(frozen=True, slots=True)
class Load:
    """The context and the sequences at once that were stated; None = not."""

    context: int | None
    users: int | None


def resolve(reading: Reading, *, models: ModelCatalogue, gpus: GpuCatalogue, rig: Rig | None) -> Resolution:
    """Turn what a question says into a request that can be planned.

    Args:
        reading: what was said.
        models: where model names are looked up.
        gpus: where cards are looked up.
        rig: hardware known from elsewhere (this machine, the page's panel, an earlier conversation); cards that the
            question names go before it.

    Raises:
        UnknownModel: a model that does not exist was named.
        UnknownGpu: a card that does not exist was named.
        BadValue: a number is out of bounds.
    """
    made, load = Gathered(), Load(reading.context, reading.users)
    engine, engine_notes = limits.engine_of(_known_engine(reading.engine))
    _add_models(made, reading, models, load, engine)
    known = _rig(made, reading, gpus, rig)
    made.defaults(load)
    made.notes += engine_notes
    if reading.kv_cache:
        made.stated.add("kv_dtype")
    if made.asks or known is None or not made.instances:
        return Resolution(None, tuple(made.asks), unique(made.notes))
    request = made.request(
        known, engine=engine, kv_dtype=_kv_dtype(made, reading.kv_cache, engine), same_model=reading.same_model
    )
    return Resolution(request, (), request.assumptions)


def resolve_arguments(
    words: Sequence[str],
    *,
    gpu: Sequence[str] | None = None,
    vram: str | None = None,
    nodes: int | None = None,
    ram: str | None = None,
    reserved: str | None = None,
    context: int | None = None,
    users: int | None = None,
    engine: str | None = None,
    kv_dtype: str | None = None,
    residency: Residency | None = None,
    config: str | None = None,
    models: ModelCatalogue | None = None,
    gpus: GpuCatalogue | None = None,
    known: Rig | None = None,
) -> PlanRequest:
    """Turn the words of ``rigfit plan`` into a request.

    Args:
        words: ``MODEL[@PRECISION]``, ``2xMODEL``.
        gpu: cards, ``NAME`` or ``2xNAME``, on each machine.
        vram: memory of one unnamed card; ``gpu``, ``vram`` or ``known`` is needed.
        nodes: machines with these cards each.
        ram: system memory of a machine.
        reserved: memory that others already use on each card.
        context: tokens a sequence may have.
        users: sequences at once.
        engine: one of ``limits.ENGINES``.
        kv_dtype: ``auto``, ``fp8`` or another type that the engine has.
        residency: ``auto``, ``together`` or ``swap``.
        config: a folder with a ``config.json``, instead of or beside a model's name.
        models: where names are looked up (default: the catalogue that is shipped).
        gpus: where cards are looked up (default: the catalogue that is shipped).
        known: hardware known from elsewhere, for where no card is named.

    Raises:
        RequestError: a word can't be read, names something unknown, or a number is out of bounds.
    """
    from tools.plan.words import models_from_words, rig_from_words

    made, load = Gathered(), Load(context, users)
    chosen, engine_notes = limits.engine_of(engine)
    models_from_words(made, words, config, load, models, chosen)
    rig = rig_from_words(made, gpu or (), vram, nodes=nodes, ram=ram, reserved=reserved, gpus=gpus, known=known)
    made.defaults(load)
    made.notes += engine_notes
    if kv_dtype is not None:
        made.stated.add("kv_dtype")
    return made.request(
        rig, engine=chosen, kv_dtype=limits.kv_dtype_of(kv_dtype, chosen), residency=limits.residency_of(residency)
    )


def unique(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Return notes without repetitions, in order."""
    return tuple({(n.code, str(sorted(n.params.items(), key=str))): n for n in notes}.values())


def _add_models(made: Gathered, reading: Reading, models: ModelCatalogue, load: Load, engine: str) -> None:
    asked = reading.models
    if reading.models_relation in {"alternatives", "separate"} and len(asked) > 1:
        asked = asked[:1]
        made.notes.append(note("plan.first_of_models", model=said_name(asked[0].name or "?", asked[0].size_b)))
    if not asked:
        made.asks.append(note("plan.ask_model", suggestions=""))
    for ask in asked:
        _add_model(made, ask, models, load, engine)


def _add_model(made: Gathered, ask: ModelAsk, models: ModelCatalogue, load: Load, engine: str) -> None:
    """Look one model up; what is missing or ambiguous becomes a question."""
    if not ask.name:
        made.asks.append(note("plan.ask_model", suggestions=""))
        return
    try:
        match = models.find(ask.name, size_b=ask.size_b, variant=ask.variant)
    except UnknownModel as error:
        suggestions = str(error.params.get("suggestions") or "")
        if error.code not in {"errors_specs.ambiguous_model", "errors_specs.no_such_size"}:
            raise
        code = "plan.ask_model_size" if ask.size_b is None else "plan.ask_model_named"
        made.asks.append(note(code, name=ask.name, suggestions=suggestions))
        return
    made.notes += match.notes
    said = said_name(ask.name, ask.size_b, ask.variant)
    if match.near_misses:
        made.near[said] = match.near_misses
    copies = 1 if ask.copies is None else ask.copies
    made.add_model(match.spec, said, precision=ask.precision, copies=copies, load=load, engine=engine)


def _rig(made: Gathered, reading: Reading, gpus: GpuCatalogue, known: Rig | None) -> Rig | None:
    """The cards that were named, else the rig that is known; a question where neither is and one is needed."""
    asked = reading.gpus
    if reading.gpus_relation in {"alternatives", "separate"} and len(asked) > 1:
        asked = asked[:1]
        made.notes.append(note("plan.first_of_gpus", gpu=asked[0].name or "?"))
    if asked:
        for ask in asked:
            _add_gpus(made, ask, gpus)
        if not made.gpus:
            return None
        return _asked_rig(made, reading)
    if known is not None and known.gpus:
        return _with_reserved(known, reading)
    if reading.intent not in NEED_NO_CARD or reading.wants_this_machine:
        made.asks.append(note("plan.ask_gpu"))
    return None


def _add_gpus(made: Gathered, ask: GpuAsk, gpus: GpuCatalogue) -> None:
    count = 1 if ask.count is None else limits.within("gpus", ask.count, 1, limits.MAX_GPUS)
    if ask.count is None:
        made.notes.append(note("plan.assume_one_card", gpu=ask.name or "?"))
    if not ask.name and ask.memory_gb is None:
        made.asks.append(note("plan.ask_gpu"))
        return
    try:
        match = gpus.find(ask.name, memory_gb=ask.memory_gb) if ask.name else gpus.by_memory(f"{ask.memory_gb:g}GB")
    except UnknownGpu as error:
        if error.code != "errors_specs.ambiguous_gpu":
            raise
        made.asks.append(note("plan.ask_which_gpu", suggestions=str(error.params.get("suggestions") or "")))
        return
    made.notes += match.notes
    if match.near_misses:
        made.near[match.query] = match.near_misses
    made.gpus += [match.gpu] * (count * match.devices)
    limits.within("gpus", len(made.gpus), 1, limits.MAX_GPUS)


def _asked_rig(made: Gathered, reading: Reading) -> Rig:
    nodes = limits.within("nodes", reading.nodes or 1, 1, limits.MAX_NODES)
    reserved = limits.gigabytes(reading.reserved_gb, "reserved")
    if reserved:
        made.notes.append(note("plan.reserved", gib=reading.reserved_gb))
        limits.check_reserved(made.gpus, reserved)
    each = -(-len(made.gpus) // nodes)
    cards = [
        replace(gpu, node=index // each, reserved_bytes=reserved or gpu.reserved_bytes)
        for index, gpu in enumerate(made.gpus)
    ]
    if nodes > 1:
        made.notes.append(note("plan.assume_nodes", nodes=nodes, each=each))
    return Rig(tuple(cards), nodes, limits.gigabytes(reading.ram_gb, "ram"))


def _with_reserved(rig: Rig, reading: Reading) -> Rig:
    """The known rig, with what the question says about memory in use and RAM."""
    reserved = limits.gigabytes(reading.reserved_gb, "reserved")
    limits.check_reserved(rig.gpus, reserved or 0)
    cards = tuple(replace(gpu, reserved_bytes=reserved) for gpu in rig.gpus) if reserved is not None else rig.gpus
    ram = limits.gigabytes(reading.ram_gb, "ram")
    return replace(rig, gpus=cards, ram_bytes=ram if ram is not None else rig.ram_bytes)


def _known_engine(word: str | None) -> str | None:
    """An engine's name out of running text; one Rigfit has not heard of is no error there."""
    return word if word and word.strip().lower() in limits.ENGINES else None


def _kv_dtype(made: Gathered, word: str | None, engine: str) -> str:
    """The cache's type out of running text: a type that the engine has not becomes its smaller one."""
    from tools.errors import BadValue
    from tools.plan.engines import engine as rules_of

    try:
        return limits.kv_dtype_of(word, engine)
    except BadValue:
        rules = rules_of(engine)
        used = rules.small_cache or "auto"
        made.notes.append(note("plan.kv_dtype_mapped", said=(word or "")[:40], engine=rules.name, used=used.upper()))
        return used
