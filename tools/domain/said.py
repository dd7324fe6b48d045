"""What was said: a question as read, nothing filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tools.domain.words import Relation


@dataclass(frozen=True, slots=True)
class ModelAsk:
    """A model as the asker named it. ``None`` = the text does not say; ``copies`` None = it is what is asked."""

    name: str | None = None
    size_b: float | None = None
    variant: str | None = None
    precision: str | None = None
    copies: int | None = 1


@dataclass(frozen=True, slots=True)
class GpuAsk:
    """A card as the asker named it. ``memory_gb`` is per card and only where stated; ``count`` is over all nodes."""

    name: str | None = None
    memory_gb: float | None = None
    count: int | None = 1
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question says, and only that, plus what must be asked before it can be answered.

    Field meanings are those of the command line's ``rigfit read``.
    """

    language: Literal["en", "ru"] = "en"
    models: tuple[ModelAsk, ...] = ()
    models_relation: Relation | None = None
    gpus: tuple[GpuAsk, ...] = ()
    gpus_relation: Relation | None = None
    ram_gb: float | None = None
    reserved_gb: float | None = None
    context: int | None = None
    users: int | None = None
    nodes: int | None = None
    engine: str | None = None
    kv_cache: str | None = None
    intent: str = "other"
    config_kind: str | None = None
    must_ask: tuple[str, ...] = ()
    expect: Literal["answer", "ask", "correct", "scope"] = "answer"
    wants_search: bool = False
    """The asker said "search" / "поискать": the web is to be searched even if the catalogue knows the answer."""
    wants_this_machine: bool = False
    """The asker means the machine Rigfit runs on ("this machine", "detect my hardware")."""
    same_model: bool | None = None
    """Whether several copies are one model twice (True), different models (False), or it was not said (None)."""
