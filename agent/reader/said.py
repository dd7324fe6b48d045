"""What one turn says, before turns are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.domain import GpuAsk, ModelAsk, Relation


@dataclass(slots=True)
class Said:
    """One turn, read by itself.

    Attributes:
        models, gpus: in the order of the text.
        models_total: how many models were spoken of in all ("two models"), where said.
        removed: models that the turn takes away ("drop gemma").
        count_stated: whether the count of any card was said.
        bare_count: a count with nothing it counts ("а на двух?"): of the cards known before.
        bare_copies: the same without a preposition ("and three?"): of models, else of cards.
        bare_number: the whole turn is this number: the memory of the card that was asked for.
        one_card_more: one more card of the same kind ("could I add a second one?").
        only_a_card: the turn says nothing but another card ("а на H200?"): as many as before.
        loose_precisions: precisions that belong to no named model, in order.
        split: precisions meant for one instance each ("one in fp8 and one in 4 bit").
        instance: 0 for "the first", 1 for "the second", None where the turn speaks of no one instance.
        variants: variants that belong to no name ("the second one Coder"), each with the number of its copy.
        versions: precisions of one model named in a row ("in AWQ and FP8").
        at_once: what is named is to run at the same time.
        keys: which phrase lists have a phrase in the text.
        on_topic: the text speaks of models, cards, memory or the like, whatever it asks.
        intents: by intent, how strongly the text speaks for it.
    """

    low: str = ""
    language: str = "en"
    models: list[ModelAsk] = field(default_factory=list)
    removed: list[ModelAsk] = field(default_factory=list)
    models_relation: Relation | None = None
    models_total: int | None = None
    gpus: list[GpuAsk] = field(default_factory=list)
    gpus_relation: Relation | None = None
    count_stated: bool = False
    bare_count: int | None = None
    bare_copies: int | None = None
    bare_number: float | None = None
    one_card_more: bool = False
    only_a_card: bool = False
    ram_gb: float | None = None
    reserved_gb: float | None = None
    context: int | None = None
    users: int | None = None
    nodes: int | None = None
    engine: str | None = None
    kv_cache: str | None = None
    loose_precisions: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    instance: int | None = None
    variants: list[tuple[str, int]] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    at_once: bool = False
    keys: frozenset[str] = frozenset()
    intents: Mapping[str, float] = field(default_factory=dict[str, float])
    kinds: tuple[str, ...] = ()
    implausible: bool = False
    on_topic: bool = False
