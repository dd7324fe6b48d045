"""What sets copies of one model apart: a variant for one of them, two precisions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.model_name import ModelMention
from agent.reader.quants import Precision
from agent.reader.sheet import Sheet
from tools.domain import ModelAsk

EVERY = -1
"""A variant for all the copies."""

_MOST = 16
"""Copies told apart, at most."""
_VARIANTS = frozenset({"coder", "instruct", "thinking", "reasoning", "chat", "base", "vl", "vision", "math", "omni"})
_BEFORE = Lazy(
    r"(?:^|.*[^\w])(?:(first|1st|перв\w+)|(second|2nd|other|another|втор\w+|друг\w+)|"
    r"(?<!which\s)(?<!first\s)(?<!second\s)(?<!2nd\s)(?<!other\s)(?<!another\s)(one|одн[аоуи]\w*))"
    r"(?:[^\w?]+(?!better|best|лучше)[^\W\d_]+){0,4}[^\w?]*"
)
_BOTH = Lazy(r"(?:.*[^\w])?(?:both|обе|оба)(?:[^\w?]+[^\W\d_]+){0,3}[^\w?]*")
_SIDE_BY_SIDE = Lazy(r"\s*(?:,|/|&|\+|and|и|плюс|plus|as well as)\s*(?:(?:and|и|also|in|at|в|the)\s)*")
_OR = Lazy(r"\s*,?\s*(?:or|vs|versus|или|либо|против)\s(?:[^\W\d_]+\s){0,2}")
"""Between precisions these ask which of them to take."""
_NOT_WEIGHTS = Lazy(r"\s?-?(?:activation\w*|kv|cache|lora|adapter\w*|активац\w+|кеш\w*|кэш\w*)")
_AT_ONCE = Lazy(
    r"(?:at once|at the same time|simultaneously|side by side|together|in parallel|both (?:loaded|running|resident)|"
    r"сразу|одновременно|рядом|вместе|параллельно|разом)(?![^\W_])"
)


def instances(models: Sequence[ModelAsk]) -> list[ModelAsk]:
    """Return copies of one model as one entry each."""
    return [replace(m, copies=1) for m in models for _ in range(min(m.copies or 1, _MOST))]


def find_variants(sheet: Sheet, lexicon: Lexicon, instance: int | None) -> list[tuple[str, int]]:
    """Return variants that belong to no name, each with the number of the copy that it is for.

    Args:
        sheet: the text, with everything claimed that other rules have read.
        lexicon: words.
        instance: the copy that the turn speaks of, where a variant has none of its own; None = none.
    """
    found: list[tuple[str, int]] = []
    for word in sheet.words:
        said = lexicon.after_family.get(word.text, word.text)
        if said not in _VARIANTS or not sheet.free(word.start, word.end):
            continue
        start, _ = sheet.sentence(word.start)
        at = _copy_meant(sheet.low[max(start, word.start - 60) : word.start], len(found), instance)
        if at is not None:
            found.append(("VL" if said == "vl" else said.capitalize(), at))
    return [(said, 0) if len(found) > 1 and at is _ANY else (said, 1 if at is _ANY else at) for said, at in found][
        :_MOST
    ]


_ANY = 1 << 16
"""The first of several that are told apart by "one": the first copy, or where it is alone the second."""


def _copy_meant(before: str, earlier: int, instance: int | None) -> int | None:
    marked = _BEFORE.fullmatch(before)
    if marked:
        first, second, _ = marked.groups()
        return 0 if first else 1 if second else earlier or _ANY
    return EVERY if _BOTH.fullmatch(before) else instance


def with_variants(models: Sequence[ModelAsk], variants: Sequence[tuple[str, int]]) -> list[ModelAsk]:
    """Give copies of one model their variants; what is no several copies stays as it is."""
    entries = instances(models)
    if len(entries) < 2 or not variants:
        return list(models)
    if all(at == EVERY for _, at in variants):
        return [replace(m, variant=variants[-1][0]) for m in models]
    for said, at in variants:
        number = min(at, len(entries) - 1)
        entries[number] = replace(entries[number], variant=said)
    return entries


def like(known: ModelAsk, new: ModelAsk) -> ModelAsk:
    """Return the model that one copy is changed to, of the known size where only the family is repeated."""
    family = (new.name or "").split("-")[0].lower()
    if new.size_b is None and new.variant and family and (known.name or "").lower().startswith(family):
        return ModelAsk(known.name, known.size_b, new.variant.capitalize(), new.precision or known.precision)
    return replace(new, copies=1)


def side_by_side(sheet: Sheet, loose: Sequence[Precision], found: Sequence[ModelMention]) -> list[str]:
    """Return precisions named in a row ("in AWQ and FP8"), the model's own first; empty where there is only one."""
    if len(found) > 1:
        return []
    own = found[0].ask.precision if found else None
    end = found[0].end if own else -1
    row: list[str] = [own] if own else []
    for one in loose:
        gap = sheet.low[end : one.start] if 0 <= end <= one.start else ""
        if _OR.fullmatch(gap):
            return []
        if not row or not _SIDE_BY_SIDE.fullmatch(gap):
            row = row if len(row) > 1 else [one.said]
        elif one.said not in row and not _NOT_WEIGHTS.match(sheet.low, one.end):
            row.append(one.said)
        end = one.end
    return row if len(row) > 1 and (own is None or own in row) else []


def in_precisions(model: ModelAsk, row: Sequence[str], *, at_once: bool) -> tuple[list[ModelAsk], bool]:
    """Return the model once in each precision, and whether all of them run together."""
    together = at_once or model.copies == len(row)
    copies = 1 if together else model.copies
    return [replace(model, precision=said, copies=copies) for said in row], together


def are_at_once(sheet: Sheet) -> bool:
    """Whether the text wants what it names to run at the same time."""
    return bool(_AT_ONCE.search(sheet.low))
