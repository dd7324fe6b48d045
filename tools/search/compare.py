"""What pages say beside what Rigfit computes with: the same, or a difference that has to be told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

TOLERANCE: Mapping[str, float] = {
    "params": 0.05, "active": 0.10, "context": 0.01, "weights": 0.06, "memory": 0.04, "bandwidth": 0.03,
}  # fmt: skip
"""How far two figures of one thing may be apart: pages round ("8B" for 8.19 billion) and count in GB or GiB."""
_OF_MODELS = frozenset({"params", "active", "context", "weights"})
_OF_CARDS = frozenset({"memory", "bandwidth"})
_MANY = re.compile(r"\bvs\.?\b|\bversus\b|\bcompar\w+|\bсравн\w+|\bпротив\b|\bbest\b|\btop\b", re.IGNORECASE)
_OTHER_MODEL = re.compile(r"[A-Za-z][A-Za-z]+[\w.]{0,20}-\d{1,4}(?:\.\d{1,2})?[BbT]\b(?:-[A-Za-z]\d{1,3}[Bb])?")
_TOKEN = re.compile(r"[a-zа-я]+|\d+(?:\.\d+)?")
_SAME_MODEL = frozenset(
    {"instruct", "chat", "it", "hf", "model", "card", "hugging", "face", "huggingface", "on", "by", "readme", "specs"}
)
"""What may follow a model's name where the page still is about that model and its own files."""
_OTHER_CARD = frozenset(
    {"ti", "super", "laptop", "mobile", "max", "d", "xt", "xtx", "gre", "ada", "pcie", "nvl", "sxm"}
)
_COMPANY = frozenset({"nvidia", "geforce", "amd", "radeon", "intel"})


@dataclass(frozen=True, slots=True)
class Known:
    """What Rigfit knows of a model or a card.

    Attributes:
        name: its name in the catalogue.
        kind: ``model`` or ``card``.
        values: by quantity all values it may have: a model's weights have one in each format.
    """

    name: str
    kind: str
    values: Mapping[str, tuple[float, ...]]


def compared(pages: Sequence[Mapping[str, Any]], known: Sequence[Known], limit: int = 4) -> list[dict[str, Any]]:
    """Set what pages say beside what is known.

    Args:
        pages: each ``{title, url, date, figures: [{quantity, values, quote}]}``.
        known: the models and cards of the conversation.
        limit: most rows.

    Returns:
        Rows of ``{quantity, quote, title, url, date, about, agrees, known}``, differences first; ``agrees`` is None
        where nothing is known to compare with.
    """
    rows = [row for page in pages for row in _of_page(page, known)]
    rows.sort(key=lambda row: {False: 0, True: 1, None: 2}[row["agrees"]])
    told: set[tuple[Any, ...]] = set()
    first: list[dict[str, Any]] = []
    for row in rows:
        key = (row["about"], row["quantity"], row["agrees"]) if row["about"] else (row["quote"],)
        if key not in told:
            told.add(key)
            first.append(row)
    return first[:limit]


def _of_page(page: Mapping[str, Any], known: Sequence[Known]) -> Iterator[dict[str, Any]]:
    subjects = [one for one in known if is_about(page, one)]
    subject = subjects[0] if len(subjects) == 1 else None
    by_quantity: dict[str, list[Mapping[str, Any]]] = {}
    for figure in page["figures"]:
        by_quantity.setdefault(figure["quantity"], []).append(figure)
    for quantity, figures in by_quantity.items():
        own = [one for one in figures if subject and not _of_another(one["piece"], subject)]
        values = subject.values.get(quantity, ()) if subject else ()
        if subject and own and values:
            yield _judged(page, quantity, own, subject, values)
        else:
            yield _row(page, quantity, figures[0], None, None, None)


def _judged(
    page: Mapping[str, Any],
    quantity: str,
    figures: Sequence[Mapping[str, Any]],
    subject: Known,
    values: Sequence[float],
) -> dict[str, Any]:
    """Return the figure of a page that agrees with what is known, or its first one as a difference."""
    for figure in figures:
        agreeing = next((v for v in values if _near(quantity, figure["values"], v)), None)
        if agreeing is not None:
            return _row(page, quantity, figure, subject.name, True, agreeing)
    nearest = min(values, key=lambda v: abs(v - figures[0]["values"][0]))
    return _row(page, quantity, figures[0], subject.name, False, nearest)


def _near(quantity: str, values: Sequence[float], known: float) -> bool:
    return any(abs(value - known) <= TOLERANCE[quantity] * known for value in values)


def _row(
    page: Mapping[str, Any],
    quantity: str,
    figure: Mapping[str, Any],
    subject: str | None,
    agrees: bool | None,
    known: float | None,
) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "quote": figure["quote"],
        "title": page["title"],
        "url": page["url"],
        "date": page["date"],
        "about": subject,
        "agrees": agrees,
        "known": known,
    }


def is_about(page: Mapping[str, Any], known: Known) -> bool:
    """Tell whether a page is about one model or card: its title or address names that one and compares no others.

    >>> is_about({"title": "Qwen/Qwen3-8B · Hugging Face", "url": ""}, Known("Qwen/Qwen3-8B", "model", {}))
    True
    >>> is_about({"title": "Qwen3-8B vs Llama 3.1 8B", "url": ""}, Known("Qwen/Qwen3-8B", "model", {}))
    False
    """
    title = str(page["title"]).lower()
    if _MANY.search(title):
        return False
    name = _tokens(known.name.rsplit("/", 1)[-1] if known.kind == "model" else known.name)
    name = [token for token in name if token not in _COMPANY] if known.kind == "card" else name
    try:
        path = unquote(urlsplit(str(page["url"])).path).lower()
    except ValueError:
        path = ""
    places = [_tokens(title), *(_tokens(part) for part in path.split("/"))]
    return bool(name) and any(_holds(place, name, known.kind) for place in places)


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _holds(place: Sequence[str], name: Sequence[str], kind: str) -> bool:
    for at in range(len(place) - len(name) + 1):
        if list(place[at : at + len(name)]) != list(name):
            continue
        after = place[at + len(name)] if at + len(name) < len(place) else ""
        if kind == "card":
            return after not in _OTHER_CARD
        return not after or after in _SAME_MODEL
    return False


def _of_another(piece: str, subject: Known) -> bool:
    """Whether a sentence speaks of another model by name, or of what is no matter of this one."""
    if subject.kind == "card":
        return False
    own = "".join(_tokens(subject.name.rsplit("/", 1)[-1]))
    return any("".join(_tokens(found)) != own for found in _OTHER_MODEL.findall(piece))


def known_of(specs: Mapping[str, Any] | None, made: Mapping[str, Any] | None) -> list[Known]:
    """Return what a turn's look-up and calculation know, as plain data of ``tools.tool_results``."""
    found = [_known_model(row, made) for row in (specs or {}).get("models", ())]
    return found + [_known_card(row) for row in (specs or {}).get("gpus", ())]


def _known_model(row: Mapping[str, Any], made: Mapping[str, Any] | None) -> Known:
    sizes = [one for one in (made or {}).get("sizes", ()) if one.get("model") == row["name"]]
    weights = [rung.get("parameter_bytes") for one in sizes for rung in one.get("rungs", ())]
    weights += [one.get("published_bytes") for one in sizes]
    values = {
        "params": [row.get("params_total")],
        "active": [row.get("params_active")],
        "context": [row.get("max_context")],
        "weights": weights,
    }
    return Known(row["name"], "model", _given(values))


def _known_card(row: Mapping[str, Any]) -> Known:
    values = {"memory": [row.get("memory_bytes")], "bandwidth": [row.get("bandwidth_bytes_per_s")]}
    return Known(row["name"], "card", _given(values))


def _given(values: Mapping[str, Sequence[Any]]) -> dict[str, tuple[float, ...]]:
    known = {key: tuple(float(one) for one in found if one) for key, found in values.items()}
    return {key: found for key, found in known.items() if found}
