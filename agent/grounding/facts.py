"""What a conversation may state: values, each with what it is of, whose it is, and whether it is of the present."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.grounding.figures import Figure
from agent.grounding.names import Names
from agent.grounding.words import tokens_of
from prompts import text as say
from tools.errors import BadValue
from tools.units import GIB, parse_size

KEYS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("weights_bytes", "parameter_bytes", "weights_bytes_per_gpu", "parameter_bytes_per_gpu", "published_bytes",
         "shown_weights_bytes"), ("weights", "bytes")),
    **dict.fromkeys(
        ("cache_bytes", "kv_pool_bytes_per_gpu", "kv_needed_bytes", "asked_cache_bytes", "kv-cache-memory-bytes"),
        ("kv", "bytes")),
    "kv_bytes_per_token": ("kv_token", "bytes"), "kv_bytes_per_token_per_gpu": ("kv_token", "bytes"),
    "first_token_s": ("first_token", "seconds"),
    "rest_bytes": ("overhead", "bytes"), "activation_bytes": ("overhead", "bytes"),
    "cuda_graph_bytes": ("overhead", "bytes"), "context_bytes": ("overhead", "bytes"),
    "total_bytes": ("total", "bytes"), "total_bytes_per_gpu": ("total", "bytes"), "bytes_by_gpu": ("total", "bytes"),
    "used_bytes": ("used", "bytes"), "free_bytes": ("free", "bytes"), "deficit_bytes": ("missing", "bytes"),
    "room_bytes": ("card", "bytes"), "cuda_total_bytes": ("card", "bytes"), "memory_bytes": ("card", "bytes"),
    "reserved_bytes": ("reserved", "bytes"), "ram_bytes": ("ram", "bytes"), "download_bytes": ("download", "bytes"),
    "band": ("card", "gib"), "gib": ("reserved", "gib"), "mib": ("card", "mib"),
    "kv_pool_tokens": ("pool", "tokens"), "pool_tokens": ("pool", "tokens"),
    **dict.fromkeys(("context_tokens", "max_context", "context", "max-model-len", "max_model_len"),
                    ("context", "tokens")),
    **dict.fromkeys(("users", "at_once", "max_concurrency", "max-num-seqs"), ("requests", "requests")),
    "count": ("cards", "cards"), "tp": ("cards", "cards"), "copies": ("copies", "copies"), "bits": ("bits", "bits"),
    "params_total": ("params", "params"), "params": ("params", "params"), "params_active": ("active", "active"),
    "decode_tokens_per_s": ("decode", "speed"), "throughput_tokens_per_s": ("throughput", "speed"),
    "prefill_tokens_per_s": ("prefill", "speed"),
    "bandwidth_bytes_per_s": ("bandwidth", "bandwidth"), "percent": ("reserved", "percent"),
}  # fmt: skip
"""A result's key -> what its value is of, and in what it is counted."""
INTRINSIC = frozenset({"params", "active", "kv_token", "bandwidth", "max_context", "card"})
"""What does not change with the question: an earlier turn's is true still."""
OF_CARDS = frozenset({"used", "free", "missing", "card", "reserved", "ram", "download"})
"""What belongs to cards or the whole plan, whichever model a sentence is about."""
_SCALE = {"gib": ("bytes", float(GIB)), "mib": ("bytes", 2.0**20)}
_BANDS = frozenset({"low", "value", "high"})
MARKETED_GB = frozenset({8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 98, 128, 141, 180, 192, 288})
"""Sizes that cards are sold as; what the engine sees is a little less."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One value that may be stated.

    Attributes:
        kind: as of ``Figure``.
        slack: how far the value itself may be off, for one that was told rounded.
        quantity: what it is of; None = not known.
        models: of whom; empty = of the plan, a card, or nobody in particular.
        instance: of which of several equal models.
        cards: of which cards; empty = of any.
        index: of which card by number.
        precisions: in which formats; empty = in any.
        old: of an earlier turn.
        listed: one of a table of all formats, not of the plan.
        parts: how many instances it is a sum over.
        span: ``part`` where it is of one card among several that hold the same, ``whole`` where it is of all of them.
    """

    kind: str
    value: float
    slack: float = 0.0
    quantity: str | None = None
    models: frozenset[str] = frozenset()
    instance: str | None = None
    cards: frozenset[str] = frozenset()
    index: int | None = None
    precisions: frozenset[str] = frozenset()
    old: bool = False
    listed: bool = False
    parts: int = 1
    span: str | None = None


class Facts:
    """What a conversation may state.

    Attributes:
        names: its models and cards.
        planned: formats in which the present plan runs each model.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.planned: dict[str, set[str]] = {}
        self._facts: dict[str, list[Fact]] = {}
        self._sorted: dict[str, tuple[list[float], list[Fact]]] = {}

    def add(self, fact: Fact) -> None:
        """Learn one value."""
        self._facts.setdefault(fact.kind, []).append(fact)
        self._sorted.clear()

    def add_text(self, text: str, about: Fact | None = None) -> None:
        """Learn every figure of a text, with what its words say of it."""
        tokens = tokens_of(text)
        marks, found = self.names.marks(text, tokens)
        quantities = {value for mark in marks if mark.kind == "quantity" for value in mark.value}
        for figure in found:
            base = about or Fact("", 0)
            quantity = _quantity(figure.kind, quantities) if len(found) == 1 or not about else None
            for value in figure.values:
                fact = replace(base, kind=figure.kind, value=value, quantity=quantity, slack=figure.slack * (value % 1))
                self.add(fact)

    def add_data(self, data: Any, *, old: bool = False) -> None:
        """Learn every number of plain data; its keys tell what it is of and in which unit."""
        self._learn_names(data, present=not old)
        _Walk(self, old).visit(data, "", Fact("", 0, old=old))

    def _learn_names(self, data: Any, *, present: bool) -> None:
        for key, mapping in _mappings(data, ""):
            model, params = mapping.get("model"), mapping.get("params_total")
            if isinstance(model, str):
                self.names.add_model(model)
                if isinstance(params, (int, float)):
                    self.names.sizes[model] = float(params)
                instance = mapping.get("instance") or (mapping.get("name") if "at_once" in mapping else None)
                if isinstance(instance, str) and present:
                    self.names.add_instance(model, instance)
                    self.planned.setdefault(model, set()).add(str(mapping.get("precision")))
            elif key == "models" and isinstance(mapping.get("name"), str) and params:
                self.names.add_model(mapping["name"])
                self.names.sizes[mapping["name"]] = float(params)
            card = mapping.get("card") or (mapping.get("name") if key == "gpus" and "size_b" not in mapping else None)
            if isinstance(card, str):
                self.names.add_card(card)

    def add_result(self, content: str, *, old: bool = False) -> None:
        """Learn what a tool told a model: JSON, or plain words."""
        self.add_data(_loaded(content), old=old)

    def near(self, figure: Figure) -> Iterator[Fact]:
        """Yield the facts whose value a figure shows, within its rounding."""
        if figure.kind not in self._facts:
            return
        if figure.kind not in self._sorted:
            ordered = sorted(self._facts[figure.kind], key=lambda fact: fact.value)
            self._sorted[figure.kind] = ([fact.value for fact in ordered], ordered)
        values, facts = self._sorted[figure.kind]
        for value in figure.values:
            reach = figure.slack + 1e-6 * abs(value)
            for at in range(bisect_left(values, value - reach), bisect_right(values, value + reach)):
                fact = facts[at]
                if abs(fact.value - value) <= reach:
                    yield fact

    def of_kind(self, kind: str) -> list[Fact]:
        """Return the facts of a kind."""
        return self._facts.get(kind, [])


def _mappings(data: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(data, Mapping):
        yield key, data
        for name, value in data.items():
            yield from _mappings(value, str(name))
    elif isinstance(data, (list, tuple)):
        for item in data:
            yield from _mappings(item, key)


_OF_ASKED = frozenset({"weights_bytes", "asked_cache_bytes"})
"""Sums of ``tools.tool_results`` over the instances as asked for."""


_OF_ALL = frozenset({"weights_bytes", "shown_weights_bytes", "used_bytes", "free_bytes", "room_bytes"})
"""Sums over all cards; that of the cache is over instances."""


def _is_split(result: Mapping[str, Any]) -> bool:
    """Whether the rows of a result are of one card among several that share a model: they are less than its sums."""
    sums, rows = result.get("sums"), result.get("rows")
    if not isinstance(sums, Mapping) or not isinstance(rows, (list, tuple)):
        return False
    shown = sum(_bytes(row.get("weights_bytes")) for row in rows if isinstance(row, Mapping))
    return 0 < 1.05 * shown < _bytes(sums.get("shown_weights_bytes"))


class _Walk:
    """Goes through a result and learns its numbers, each with what stands around it."""

    def __init__(self, facts: Facts, old: bool) -> None:
        self._facts, self._old = facts, old

    def visit(self, data: Any, key: str, about: Fact) -> None:
        """Learn what is under a key."""
        if isinstance(data, Mapping):
            self._mapping(data, key, about)
        elif isinstance(data, (list, tuple)):
            if key == "gpus" and len(data) > 1:
                about = replace(about, span="part")
            for item in data:
                self.visit(item, key, about)
        elif isinstance(data, bool) or data is None:
            return
        elif isinstance(data, (int, float)):
            self._number(key, float(data), 0.0, about)
        elif isinstance(data, str):
            self._string(key, data, about)

    def _mapping(self, data: Mapping[str, Any], key: str, about: Fact) -> None:
        if data.keys() <= {"code", "params"} and "code" in data:
            self._facts.add_text(say("en", data["code"], **data.get("params", {})), about)
            self.visit(data.get("params", {}), "params", about)
            return
        own = self._owner(data, key, about)
        spans = {"rows": "part", "sizes": "whole"} if _is_split(data) else {}
        for name, value in data.items():
            if name == "sums":
                self._totals(value, data, own)
            else:
                about = replace(own, span=spans[name]) if name in spans else own
                self.visit(value, key if name in _BANDS else str(name), about)
        if ("title" in data and "parts" in data) or "footprints" in data:
            self._sums(data.get("parts") or data.get("footprints") or (), own)
        if isinstance(data.get("gpus"), (list, tuple)) and data["gpus"]:
            self._cards(data["gpus"], own)

    def _owner(self, data: Mapping[str, Any], key: str, about: Fact) -> Fact:
        """Tell from a mapping's own words whose numbers it holds."""
        changed: dict[str, Any] = {}
        model, card, precision = data.get("model"), data.get("card"), data.get("precision")
        if key == "models" and "params_total" in data:
            model = data.get("name")
        if key == "gpus":
            card = data.get("name")
            changed["index"] = data.get("index")
        if isinstance(model, str):
            changed |= {"models": frozenset({model}), "instance": data.get("instance"), "parts": 1}
            if "at_once" in data:
                changed["instance"] = data.get("name")
        if isinstance(card, str):
            changed["cards"] = frozenset({card})
        if isinstance(precision, str):
            changed["precisions"] = frozenset({precision.lower()})
        if isinstance(data.get("tp"), int) and data["tp"] > 1:
            changed["span"] = "part"
        changed["listed"] = about.listed or key in {"rungs", "sizes"}
        if isinstance(data.get("title"), str):
            changed |= self._of_title(data["title"])
        if key == "compared" or (isinstance(data.get("cards"), (list, tuple)) and "models" in data):
            changed |= self._of_setup(data)
        return replace(about, **changed)

    def _of_title(self, title: str) -> dict[str, Any]:
        marks, _ = self._facts.names.marks(title, tokens_of(title))
        cards = frozenset(card for mark in marks if mark.kind == "card" for card in mark.value)
        formats = frozenset(code for mark in marks if mark.kind == "precision" for code in mark.value)
        return {"cards": cards, "precisions": formats}

    def _of_setup(self, data: Mapping[str, Any]) -> dict[str, Any]:
        said = [str(card.get("name")) for card in data.get("cards", ()) if isinstance(card, Mapping)]
        marks, _ = self._facts.names.marks(" + ".join(said), tokens_of(" + ".join(said)))
        return {"cards": frozenset(card for mark in marks if mark.kind == "card" for card in mark.value)}

    def _string(self, key: str, text: str, about: Fact) -> None:
        if key in KEYS and KEYS[key][1] == "bytes":
            try:
                size = parse_size(text.lstrip("-"))
            except BadValue:
                return
            slack = 0.05 * GIB if text.endswith("GiB") else 0.5
            self._number(key, -size if text.startswith("-") else size, slack, about)
        elif key not in {"reason", "url", "source", "query"}:
            self._facts.add_text(text, about)

    def _number(self, key: str, value: float, slack: float, about: Fact) -> None:
        quantity, kind = KEYS.get(key) or _guessed(key)
        if not kind:
            return
        kind, factor = _SCALE.get(kind, (kind, 1.0))
        if quantity == "free" and value < 0:
            quantity = "missing"
        if quantity == "total" and about.cards and not about.models:
            quantity = "card"
        old = self._old and not (quantity in INTRINSIC or (about.listed and quantity == "weights"))
        fact = replace(about, kind=kind, value=abs(value) * factor, slack=slack, quantity=quantity, old=old)
        if kind == "speed" or quantity in OF_CARDS:
            fact = replace(fact, models=frozenset(), parts=1)
        self._facts.add(fact)

    def _totals(self, sums: Mapping[str, Any], result: Mapping[str, Any], about: Fact) -> None:
        """Learn the sums of a result: some are of what was asked for, the others of what is recommended."""
        shown = result.get("rows") or ()
        asked = result.get("plan", {}).get("as_asked", {}).get("footprints") or shown
        for name, value in sums.items():
            parts = [part for part in (asked if name in _OF_ASKED else shown) if isinstance(part, Mapping)]
            models = frozenset(str(part["model"]) for part in parts if "model" in part)
            many = (
                len(parts) > 1
                or _is_split(result)
                or len(result.get("plan", result).get("as_asked", {}).get("gpus", ())) > 1
            )
            span = "whole" if many and name in _OF_ALL else None
            self.visit(value, name, replace(about, models=models, parts=len(parts), span=span))

    def _sums(self, parts: Any, about: Fact) -> None:
        """Add up the weights of all instances: what they take together."""
        rows = [part for part in parts if isinstance(part, Mapping)]
        copies = [int(part.get("copies") or 1) for part in rows]
        cards = [max(1, len(part.get("gpu_indices") or ()), int(part.get("tp") or 1)) for part in rows]
        each = [_bytes(part.get("weights_bytes_per_gpu")) for part in rows]
        sizes = [size * many * count for size, many, count in zip(each, cards, copies, strict=True)]
        if not rows or not all(sizes):
            return
        models = frozenset(str(part.get("model")) for part in rows)
        formats = frozenset(str(part.get("precision")) for part in rows)
        slack = 0.05 * GIB * len(rows)
        known = {"precisions": formats, "old": self._old, "parts": sum(copies)}
        span = "whole" if max(cards) > 1 else None
        self._facts.add(Fact("bytes", sum(sizes), slack * max(cards), "weights", models, span=span, **known))
        self._facts.add(Fact("copies", sum(copies), old=self._old))

    def _cards(self, gpus: Any, about: Fact) -> None:
        """Count the cards, and say how full each is."""
        rows = [gpu for gpu in gpus if isinstance(gpu, Mapping) and "index" in gpu]
        if not rows:
            return
        names = frozenset(str(gpu.get("name")) for gpu in rows)
        self._facts.add(Fact("cards", len(rows), cards=names if len(names) == 1 else frozenset(), old=self._old))
        for gpu in rows:
            total = _bytes(gpu.get("total_bytes"))
            for key in ("used", "free"):
                size = _bytes(gpu.get(f"{key}_bytes"))
                if total and size >= 0:
                    own = {"cards": frozenset({str(gpu.get("name"))}), "index": gpu.get("index"), "old": self._old}
                    self._facts.add(Fact("percent", 100 * size / total, 0.1, key, **own))


def _bytes(value: Any) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return float(parse_size(str(value))) if value else 0.0
    except BadValue:
        return -1.0


def _guessed(name: str) -> tuple[str | None, str]:
    """Tell a number's unit from a key that is not listed."""
    endings = (("bandwidth", "bandwidth"), ("tokens_per_s", "speed"), ("bytes", "bytes"), ("token", "tokens"),
               ("context", "tokens"), ("model_len", "tokens"),
               ("model-len", "tokens"), ("params", "params"))  # fmt: skip
    for word, kind in endings:
        if word in name:
            return None, kind
    if name.endswith(("_s", "seconds")):
        return None, "seconds"
    if name.endswith(("gib", "_gb")):
        return None, "gib"
    return (None, "mib") if name.endswith("mib") else (None, "")


def _quantity(kind: str, quantities: set[str]) -> str | None:
    return next(iter(quantities)) if kind == "bytes" and len(quantities) == 1 else None


def _loaded(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
