"""The memory picture: one bar a card, from 0 to what the engine sees, drawn to scale as plain HTML.

Colours come from CSS variables (``static/page.css``); letters, hatching and the legend carry the same meaning, so that
colour is never the only sign. Screen readers get a sentence and a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from prompts import text
from tools.domain import GpuUse, InstancePlan, Placement, Plan
from tools.units import GIB, gib
from ui.markup import Markup, join, tag

PartKind = Literal["in_use", "weights", "kv", "asleep", "overheads", "free"]

_NARROWEST_BAR_PX = 300
"""A bar on a 390 px phone; a label is drawn only where it fits even there."""
_LABEL_PX_PER_CHARACTER = 7.5
_HUES = 6
_SMALLEST_SHOWN_BYTES = GIB // 100


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a bar. ``instance`` is the position of its instance in the placement, None for shared parts."""

    kind: PartKind
    size_bytes: int
    instance: int | None = None


def letter(position: int) -> str:
    """Name an instance by its position: A ... Z, then A2, B2, ..."""
    lap, within = divmod(position, 26)
    return chr(ord("A") + within) + (str(lap + 1) if lap else "")


def gpu_parts(gpu: GpuUse, placement: Placement) -> tuple[Part, ...]:
    """Split a card into parts, in the order in which they are drawn.

    The parts of a card that is not over-full sum to its ``total_bytes``; those of an over-full one sum to more.

    Args:
        gpu: the card.
        placement: what is put on the cards.

    Returns:
        in use, then weights and cache of each instance in start order, sleeping instances, overheads, free.
    """
    here = [
        (position, instance)
        for position, instance in enumerate(placement.instances)
        if gpu.index in instance.gpu_indices
    ]
    here.sort(key=lambda item: item[1].start_order)
    parts = [Part("in_use", gpu.reserved_bytes)]
    overheads = 0
    for position, instance in here:
        if not instance.awake:
            continue
        weights, cache, rest = _split(instance, gpu.index)
        parts += [Part("weights", weights, position), Part("kv", cache, position)]
        overheads += rest
    parts += _sleeping(gpu, here, sum(part.size_bytes for part in parts) + overheads)
    parts.append(Part("overheads", overheads))
    free = gpu.total_bytes - sum(part.size_bytes for part in parts)
    parts.append(Part("free", max(0, free)))
    return tuple(part for part in parts if part.size_bytes > 0)


def _split(instance: InstancePlan, card: int) -> tuple[int, int, int]:
    """Return weights, cache and the remaining overheads of an instance on one of its cards, in bytes.

    Where cards hold different parts, the shares of the fullest one stand for all.
    """
    footprint = instance.footprint
    pool = footprint.kv_pool_bytes
    cache = footprint.kv_needed_bytes if pool is None else round(pool.value)
    cache = max(0, min(cache, footprint.total_bytes - footprint.weights_bytes))
    taken, whole = instance.bytes_on(card), max(1, footprint.total_bytes)
    weights, cache = footprint.weights_bytes * taken // whole, cache * taken // whole
    return weights, cache, max(0, taken - weights - cache)


def _sleeping(gpu: GpuUse, here: Sequence[tuple[int, InstancePlan]], drawn_bytes: int) -> list[Part]:
    """Share what the plan counts beyond the waking instances among those that sleep."""
    asleep = [position for position, instance in here if not instance.awake]
    residue = gpu.total_bytes - gpu.free_bytes - drawn_bytes
    if not asleep or residue <= 0:
        return []
    return [Part("asleep", residue // len(asleep), position) for position in asleep]


def memory_picture(plan: Plan, placement: Placement, language: str) -> Markup:
    """Draw a placement.

    Args:
        plan: the plan it belongs to; tells which card totals are estimated.
        placement: instances on cards.
        language: ``en`` or ``ru``.

    Returns:
        A ``<figure>`` of well-formed HTML; every name in it is escaped.
    """
    bars: list[Markup] = []
    explained: set[tuple[Part, ...]] = set()
    for gpu in placement.gpus:
        parts = gpu_parts(gpu, placement)
        bars.append(_gpu_row(gpu, parts, placement, plan, language, explain=parts not in explained))
        explained.add(parts)
    return tag("figure", *bars, class_="rf-picture")


def _gpu_row(
    gpu: GpuUse, parts: tuple[Part, ...], placement: Placement, plan: Plan, language: str, *, explain: bool
) -> Markup:
    drawn = sum(part.size_bytes for part in parts)
    over = max(0, drawn - gpu.total_bytes)
    total = gib(gpu.total_bytes)
    known = plan.request.rig.gpus
    if gpu.index < len(known) and known[gpu.index].total_provenance != "measured":
        total = f"≈ {total}"
    heading = tag(
        "div",
        tag("span", text(language, "ui.gpu_heading", index=gpu.index, name=gpu.name), class_="rf-gpu-name"),
        tag("span", total, class_="rf-gpu-total"),
        class_="rf-gpu-head",
    )
    note = (
        tag("p", "▲ ", _overflow(over, placement, language), class_="rf-over-note")
        if over
        else tag("p", text(language, "ui.bar_free", free=gib(_free(parts))), class_="rf-note")
    )
    return tag(
        "div",
        heading,
        _bar(gpu, parts, placement, language, drawn=drawn, over=over),
        note,
        _legend(parts, placement, language) if explain else None,
        _table(gpu, parts, placement, language),
        class_="rf-gpu" + (" rf-overfull" if over else ""),
    )


def _overflow(over: int, placement: Placement, language: str) -> str:
    """Say what does not fit; the plan's deficit is larger where it keeps a reserve free."""
    if len(placement.gpus) == 1 and placement.deficit_bytes > over:
        return text(language, "ui.bar_over_reserve", over=gib(over), deficit=gib(placement.deficit_bytes))
    return text(language, "ui.bar_over", over=gib(over))


def _free(parts: Sequence[Part]) -> int:
    return sum(part.size_bytes for part in parts if part.kind == "free")


def _bar(gpu: GpuUse, parts: Sequence[Part], placement: Placement, language: str, *, drawn: int, over: int) -> Markup:
    widths = percentages([part.size_bytes for part in parts])
    cells = [
        tag(
            "span",
            _bar_label(part, width),
            class_=f"rf-part {_part_class(part)}",
            style=f"width:{width:.4f}%",
            title=f"{part_name(part, placement, language)}: {gib(part.size_bytes)}",
        )
        for part, width in zip(parts, widths, strict=True)
    ]
    end = tag("span", class_="rf-card-end", style=f"left:{100 * gpu.total_bytes / drawn:.4f}%") if over else None
    spoken = ", ".join(f"{part_name(part, placement, language)} {gib(part.size_bytes)}" for part in parts)
    code = "ui.bar_spoken_over" if over else "ui.bar_spoken"
    label = text(language, code, name=gpu.name, total=gib(gpu.total_bytes), parts=spoken, over=gib(over))
    return tag("div", *cells, end, class_="rf-bar", role="img", aria_label=label)


def percentages(sizes: Sequence[int]) -> list[float]:
    """Return each size's share of their sum in percent, to four decimals, so that the shares sum to exactly 100."""
    total = sum(sizes)
    marks = [0] * (len(sizes) + 1)
    running = 0
    for position, size in enumerate(sizes, start=1):
        running += size
        marks[position] = round(1_000_000 * running / total)
    return [(after - before) / 10_000 for before, after in pairwise(marks)]


def _bar_label(part: Part, width_percent: float) -> str:
    size = f"{part.size_bytes / GIB:.1f}"
    longest = size if part.instance is None else f"{letter(part.instance)} {size}"
    room = width_percent / 100 * _NARROWEST_BAR_PX
    return next((label for label in (longest, size) if len(label) * _LABEL_PX_PER_CHARACTER + 6 <= room), "")


def _part_class(part: Part) -> str:
    return f"rf-{part.kind}" + ("" if part.instance is None else f" rf-hue-{part.instance % _HUES}")


def part_name(part: Part, placement: Placement, language: str) -> str:
    """Say what a part is, in words: ``A weights``, ``in use by others``."""
    which = "" if part.instance is None else letter(part.instance)
    return text(language, f"ui.part_{part.kind}", letter=which)


def _legend(parts: Sequence[Part], placement: Placement, language: str) -> Markup:
    entries = [
        tag(
            "li",
            tag("span", class_=f"rf-swatch {_part_class(part)}", aria_hidden="true"),
            tag("span", part_name(part, placement, language)),
            tag("b", gib(part.size_bytes)),
        )
        for part in parts
        if part.size_bytes >= _SMALLEST_SHOWN_BYTES
    ]
    return tag("ul", *entries, class_="rf-legend", aria_hidden="true")


def _table(gpu: GpuUse, parts: Sequence[Part], placement: Placement, language: str) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", part_name(part, placement, language), scope="row"),
            tag("td", gib(part.size_bytes)),
        )
        for part in parts
    ]
    caption = tag("caption", text(language, "ui.gpu_heading", index=gpu.index, name=gpu.name))
    return tag("table", caption, tag("tbody", *rows), class_="rf-sr")


def instance_names(placement: Placement, language: str) -> Markup:
    """List the instances with their letters: which model and checkpoint each letter of the picture stands for."""
    rows = [
        tag(
            "li",
            tag("span", letter(position), class_=f"rf-letter rf-weights rf-hue-{position % _HUES}"),
            tag("span", _describe(instance, language)),
        )
        for position, instance in enumerate(placement.instances)
    ]
    return tag("ul", *rows, class_="rf-instances")


def _describe(instance: InstancePlan, language: str) -> Markup:
    deployment = instance.deployment
    pieces: list[object] = [tag("b", deployment.checkpoint.repo), " ", tag("span", deployment.checkpoint.precision)]
    if len(instance.gpu_indices) > 1:
        cards = ", ".join(str(index) for index in instance.gpu_indices)
        pieces += [" · ", text(language, "ui.on_cards", cards=cards)]
    if not instance.awake:
        pieces += [" · ", text(language, "ui.asleep")]
    if len(instance.served_names) > 1:
        pieces += [" · ", text(language, "ui.served_as", names=", ".join(instance.served_names))]
    return join(*pieces)
