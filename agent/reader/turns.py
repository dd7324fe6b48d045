"""Put turns together: the reading is the state after the last one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.reader import intent as intents
from agent.reader.apart import in_precisions, instances, like, with_variants
from agent.reader.lazy import Lazy
from agent.reader.said import Said
from tools.domain import GpuAsk, ModelAsk

_FAINT = 2.0
"""An intent of less weight than this does not replace the one that earlier turns showed."""
_SETTLED_BY_A_CARD = frozenset({"hardware_needed", "how_many_gpus"})
"""What was asked before a card was named: "does it run on 3x 3090?" asks whether that one will do."""
_ONLY = Lazy(r"(?<![^\W_])(?:only|just|только|лишь)(?![^\W_])")
_GENERIC = Lazy(r"[\d.]+B model|second model|model \(.*")


@dataclass(slots=True)
class State:
    """What is known after some turns; ``said`` is the last of them."""

    said: Said = field(default_factory=Said)
    intent: str | None = None
    kinds: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    models_total: int | None = None
    asked_intents: frozenset[str] = frozenset()
    same: bool | None = None


def fold(turns: Sequence[Said]) -> State:
    """Fold turns into one state: later ones add, replace, correct or fill in."""
    state = State()
    history: list[list[GpuAsk]] = []
    for number, said in enumerate(turns):
        if number == 0:
            state.said = said
        else:
            _fold_models(state.said, said)
            _fold_gpus(state.said, said, history)
            _fold_amounts(state.said, said)
            _join(state.said, said)
        history.append(list(state.said.gpus))
        state.intent = _intent(state.intent, said, number)
        state.kinds = _kinds(state.kinds, said)
        state.keys |= said.keys
        state.same = False if "different" in said.keys else True if "same" in said.keys else state.same
        state.asked_intents |= frozenset(said.intents)
        state.models_total = said.models_total or state.models_total
        _spread_total(state)
    return state


def _kinds(known: tuple[str, ...], said: Said) -> tuple[str, ...]:
    """Kinds of files named last; another engine named since has files of its own."""
    return said.kinds or (() if said.engine not in {None, "vllm"} else known)


def _intent(known: str | None, said: Said, number: int) -> str | None:
    chosen = intents.choose_intent(said)
    if number == 0 or chosen is None:
        return known or chosen
    if chosen == "fit" and said.gpus and known in _SETTLED_BY_A_CARD:
        return chosen
    faint = said.intents[chosen] < _FAINT and (known not in {None, "other"} or chosen != "fit")
    return known if faint else chosen


def _join(state: Said, said: Said) -> None:
    state.language = said.language if re.search(r"[^\W\d_]{3,}", said.low) else state.language
    state.low = f"{state.low}\n{said.low}"
    state.implausible = said.implausible
    state.on_topic = state.on_topic or said.on_topic
    state.intents = {**state.intents, **said.intents}


def _fold_amounts(state: Said, said: Said) -> None:
    for name in ("ram_gb", "reserved_gb", "context", "users", "nodes", "engine", "kv_cache"):
        value = getattr(said, name)
        if value is not None:
            setattr(state, name, value)


def _fold_gpus(state: Said, said: Said, history: list[list[GpuAsk]]) -> None:
    if said.bare_number is not None and said.bare_number >= 4:
        if not any(g.memory_gb for g in state.gpus):
            state.gpus = [replace(g, memory_gb=said.bare_number) for g in state.gpus or [GpuAsk()]]
        return
    if not said.gpus:
        more = 1 if said.one_card_more else 0
        if (said.bare_count or more) and len(state.gpus) == 1:
            count = said.bare_count or (state.gpus[0].count or 1) + more
            state.gpus = [replace(state.gpus[0], count=count)]
        return
    new = said.gpus[0]
    known = state.gpus[0] if len(state.gpus) == 1 else None
    if len(said.gpus) == 1 and known and new.name and known.name is None and "replace" not in said.keys:
        state.gpus = [_completed(known, new, count_stated=said.count_stated)]
        return
    if len(said.gpus) == 1 and new.name is None and state.gpus:
        _fill_gpu(state, said, new)
    elif "add" in said.keys and state.gpus and "same_again" not in said.keys:
        _add_gpus(state, said)
    elif (
        state.gpus
        and not said.count_stated
        and len(said.gpus) == 1
        and (len({g.count for g in state.gpus}) == 1)
        and (said.only_a_card or "same_again" in said.keys or state.gpus[0].count is None)
    ):
        state.gpus = [replace(new, count=state.gpus[0].count)]
    else:
        state.gpus, state.gpus_relation = list(said.gpus), said.gpus_relation


def _completed(known: GpuAsk, new: GpuAsk, *, count_stated: bool) -> GpuAsk:
    """The name of a card whose memory was said before."""
    return replace(
        new,
        memory_gb=new.memory_gb if new.memory_gb is not None else known.memory_gb,
        count=new.count if count_stated else known.count,
    )


def _fill_gpu(state: Said, said: Said, new: GpuAsk) -> None:
    """A reply without a name ("80 гиг", "two of them") completes the cards that are known."""
    count = new.count if said.count_stated else None
    if "add" in said.keys and new.memory_gb is not None:
        state.gpus = [*state.gpus, new]
        state.gpus_relation = "together"
        return
    state.gpus = [
        replace(
            g,
            memory_gb=new.memory_gb if new.memory_gb is not None else g.memory_gb,
            count=g.count if count is None else count,
        )
        for g in state.gpus
    ]


def _add_gpus(state: Said, said: Said) -> None:
    for new in said.gpus:
        same = next((g for g in state.gpus if g.name == new.name and new.memory_gb in {None, g.memory_gb}), None)
        if same:
            state.gpus = [replace(g, count=(g.count or 1) + (new.count or 1)) if g is same else g for g in state.gpus]
        else:
            state.gpus = [*state.gpus, new]
    state.gpus_relation = "together" if len(state.gpus) > 1 else None


def _fold_models(state: Said, said: Said) -> None:
    new = said.models
    if said.removed:
        state.models = [m for m in state.models if all(_mentioned([m], gone) is None for gone in said.removed)]
        state.models_relation = state.models_relation if len(state.models) > 1 else None
    if not new:
        _fold_nameless(state, said)
    elif not state.models:
        state.models, state.models_relation = list(new), said.models_relation
    elif (at := _unnamed(state.models, new)) is not None:
        known = state.models[at]
        state.models[at] = replace(
            new[0], size_b=known.size_b, precision=new[0].precision or known.precision, copies=known.copies
        )
    elif all(_GENERIC.fullmatch(m.name or "") for m in new) and len(new) == 1:
        _fold_size(state, said, new[0])
    elif len(new) == 1 and (at := _copy_changed(state.models, new[0], said.instance)) is not None:
        state.models = instances(state.models)
        state.models[at] = like(state.models[at], new[0])
        state.models_relation = "together"
    elif len(new) == 1 and (changed := _changed(state.models, new[0])):
        state.models = changed
        _keep_only(state, said)
    elif "add" in said.keys:
        state.models, state.models_relation = [*state.models, *new], "together"
    elif said.instance is not None and len(new) == 1 and (len(state.models) > 1 or (state.models[0].copies or 1) > 1):
        state.models = instances(state.models)
        state.models[min(said.instance, len(state.models) - 1)] = replace(new[0], copies=1)
    else:
        state.models, state.models_relation = list(new), said.models_relation


def _unnamed(models: Sequence[ModelAsk], new: Sequence[ModelAsk]) -> int | None:
    """Return which model, known by its size alone, is now named ("70b on a 3060?", "it's llama 3.3")."""
    if len(new) != 1 or new[0].size_b is not None or not new[0].name:
        return None
    unnamed = [at for at, model in enumerate(models) if model.size_b and _GENERIC.fullmatch(model.name or "")]
    return unnamed[0] if len(unnamed) == 1 else None


def _fold_nameless(state: Said, said: Said) -> None:
    """A turn that names no model may change how many there are, or a variant or precision of them."""
    if said.bare_copies and len(state.models) == 1 and (state.models[0].copies or 1) > 1:
        state.models = [replace(state.models[0], copies=said.bare_copies)]
    elif said.bare_copies and said.bare_count is None:
        said.bare_count = said.bare_copies
    state.models = with_variants(state.models, said.variants)
    _fold_precisions(state, said)


def _copy_changed(models: Sequence[ModelAsk], new: ModelAsk, instance: int | None) -> int | None:
    """Return which copy of the one known model becomes another variant or precision, if one does."""
    known = models[0]
    changes = new.variant not in {None, known.variant} or new.precision not in {None, known.precision}
    several = len(models) == 1 and (known.copies or 1) > 1
    return min(instance, (known.copies or 1) - 1) if instance is not None and several and changes else None


def _mentioned(models: Sequence[ModelAsk], new: ModelAsk) -> int | None:
    """Return which known model is spoken of again, if one is."""
    for at, model in enumerate(models):
        known, said = (re.sub(r"[^a-z0-9]", "", (m.name or "").lower()) for m in (model, new))
        sizes = model.size_b is None or new.size_b is None or model.size_b == new.size_b
        if sizes and (known == said or (new.size_b is None and known.startswith(said))):
            return at
    return None


def _resized(models: Sequence[ModelAsk], new: ModelAsk) -> int | None:
    """Return which one of several models is asked for in another size ("make it Qwen3-4B")."""
    same = [at for at, model in enumerate(models) if model.name == new.name and new.size_b is not None]
    return same[0] if len(same) == 1 and len(models) > 1 else None


def _changed(models: Sequence[ModelAsk], new: ModelAsk) -> list[ModelAsk]:
    """Return the known models with the one that is spoken of again as it is now wanted; empty where none is."""
    at = _mentioned(models, new)
    if at is not None:
        return [_merged(m, new) if i == at else m for i, m in enumerate(models)]
    at = _resized(models, new)
    return [] if at is None else [replace(new, copies=m.copies) if i == at else m for i, m in enumerate(models)]


def _keep_only(state: Said, said: Said) -> None:
    """Read "only the llama": of several known models the one that is named stays."""
    at = _mentioned(state.models, said.models[0]) if _ONLY.search(said.low) else None
    if at is not None:
        state.models, state.models_relation = [state.models[at]], None


def _merged(known: ModelAsk, new: ModelAsk) -> ModelAsk:
    return ModelAsk(
        known.name,
        new.size_b if new.size_b is not None else known.size_b,
        new.variant or known.variant,
        new.precision or known.precision,
        known.copies if new.copies == 1 else new.copies,
    )


def _fold_size(state: Said, said: Said, new: ModelAsk) -> None:
    """A bare size ("а 14b?", "the 7B") changes the size of the one model that is known, or fills it in."""
    if any(m.size_b == new.size_b for m in state.models) and new.size_b is not None:
        return
    if said.instance is not None and (len(state.models) > 1 or (state.models[0].copies or 1) > 1):
        state.models = instances(state.models)
        at = min(said.instance, len(state.models) - 1)
        state.models[at] = replace(state.models[at], size_b=new.size_b)
        return
    lacking = [m for m in state.models if m.size_b is None]
    target = lacking[0] if lacking else state.models[0] if len(state.models) == 1 else None
    if target is None:
        state.models = [new]
        return
    state.models = [
        replace(m, size_b=new.size_b, precision=new.precision or m.precision, variant=None if m.size_b else m.variant)
        if m is target
        else m
        for m in state.models
    ]


def _fold_precisions(state: Said, said: Said) -> None:
    if not state.models:
        return
    if said.split:
        one = instances(state.models)
        many = one if len(one) == len(said.split) else [one[0]] * len(said.split)
        state.models = [replace(m, precision=p) for m, p in zip(many, said.split, strict=False)]
    elif said.loose_precisions and said.instance is not None and len(instances(state.models)) > 1:
        state.models = instances(state.models)
        at = min(said.instance, len(state.models) - 1)
        state.models[at] = replace(state.models[at], precision=said.loose_precisions[-1])
    elif said.versions and len(state.models) == 1:
        state.models, together = in_precisions(state.models[0], said.versions, at_once=said.at_once)
        state.models_relation = "together" if together else "alternatives"
    elif said.loose_precisions:
        state.models = [replace(m, precision=said.loose_precisions[-1]) for m in state.models]
    state.models_relation = "together" if len(state.models) > 1 and not state.models_relation else state.models_relation


def _spread_total(state: State) -> None:
    """Read "Two models" said in an earlier turn, one model named later: two of it."""
    models = state.said.models
    if state.models_total and len(models) == 1 and models[0].copies == 1 and "replace" not in state.said.keys:
        state.said.models = [replace(models[0], copies=state.models_total)]
        state.models_total = None
