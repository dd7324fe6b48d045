"""The plan panel: verdict, bars, options, flags, files and where each figure comes from."""

from __future__ import annotations

from collections.abc import Sequence

from prompts import text
from tools.domain import Band, Costs, Footprint, Gpu, InstancePlan, Option, Placement, Plan
from tools.launch.argv import engine_argv, own_cards
from tools.launch.argv.words import wrapped
from tools.units import gib, span
from ui.files import FilesView, files_section
from ui.markup import Markup, join, tag
from ui.output import say
from ui.picture import instance_names, letter, memory_picture

_SIGNS = {"fits": "✓", "fits_with_changes": "≈", "does_not_fit": "✗"}
_FOOTPRINT_ROWS = (
    ("parameter_bytes", "how_parameters"),
    ("weights_bytes", "how_weights"),
    ("kv_bytes_per_token", "how_kv_token"),
    ("kv_pool_bytes", "how_kv_pool"),
    ("activation_bytes", "how_activation"),
    ("cuda_graph_bytes", "how_graphs"),
    ("context_bytes", "how_context"),
    ("total_bytes", "how_total"),
)


def plan_panel(
    plan: Plan,
    *,
    language: str,
    option: str | None = None,
    files: FilesView | None = None,
    caption: str | None = None,
) -> Markup:
    """Show a plan.

    Args:
        plan: what was planned.
        language: ``en`` or ``ru``.
        option: the option to show, ``"as_asked"``, or None for as asked where it fits, else the recommended one.
        files: the files to fetch for that option; None shows none.
        caption: a line above it all, such as that this is an example.
    """
    shown = option or plan.recommended
    placement = plan.placement(shown)
    return tag(
        "section",
        tag("p", caption, class_="rf-caption") if caption else None,
        _verdict(plan, language),
        _shown(plan, shown, language),
        memory_picture(plan, placement, language),
        instance_names(placement, language),
        _options(plan, shown, language),
        files_section(files, language, fits=placement.verdict != "does_not_fit") if files else None,
        _flags(placement, plan.request.rig.gpus, language),
        _how(plan, placement, language),
        class_="rf-panel",
        aria_label=text(language, "ui.plan_label"),
    )


def empty_panel(language: str) -> Markup:
    """Show that there is no plan yet."""
    return tag("section", tag("p", text(language, "ui.plan_empty"), class_="rf-note"), class_="rf-panel")


def _badge(verdict: str, language: str, words: str | None = None) -> Markup:
    label = words or text(language, f"ui.verdict_{verdict}")
    return tag("span", f"{_SIGNS[verdict]} {label}", class_=f"rf-badge rf-{verdict}")


def _verdict(plan: Plan, language: str) -> Markup:
    asked = plan.as_asked
    short = text(language, "ui.short_by", deficit=gib(asked.deficit_bytes)) if asked.deficit_bytes else None
    return tag(
        "div",
        tag("h2", _badge(plan.verdict, language)),
        tag("p", text(language, "ui.as_asked"), ": ", short, class_="rf-short") if short else None,
        tag("p", tag("b", _recommended(plan, language)), " ", say(language, plan.reason), class_="rf-reason"),
        class_="rf-verdict",
    )


def _recommended(plan: Plan, language: str) -> str:
    return text(language, "ui.recommended_title", title=_title(plan, plan.recommended, language))


def _title(plan: Plan, identity: str, language: str) -> str:
    option = next((one for one in plan.options if one.id == identity), None)
    return text(language, "ui.as_asked").lower() if option is None else say(language, option.title)


def _shown(plan: Plan, shown: str, language: str) -> Markup:
    return tag("h3", text(language, "ui.shown_option", title=_title(plan, shown, language)), class_="rf-shown")


def _options(plan: Plan, shown: str, language: str) -> Markup:
    heads = ("option_column", "fits_column", "context_column", "speed_column")
    head = tag("tr", *(tag("th", text(language, f"ui.{name}"), scope="col") for name in heads))
    rows = [_option_row("as_asked", text(language, "ui.as_asked"), plan.as_asked, Costs(), (), plan, shown, language)]
    rows += [
        _option_row(
            one.id, say(language, one.title), one.placement, one.costs, _needs(one, language), plan, shown, language
        )
        for one in plan.options
    ]
    return join(
        tag("h3", text(language, "ui.options_heading")),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="rf-options"),
    )


def _needs(option: Option, language: str) -> tuple[str, ...]:
    return tuple(say(language, need).removesuffix(".") for need in option.needs)


def _option_row(
    identity: str,
    title: str,
    placement: Placement,
    costs: Costs,
    needs: Sequence[str],
    plan: Plan,
    shown: str,
    language: str,
) -> Markup:
    recommended = identity == plan.recommended
    mark = tag("span", text(language, "ui.recommended"), class_="rf-mark") if recommended else None
    button = tag(
        "button",
        title,
        type="button",
        class_="rf-pick",
        data_rf_option=identity,
        aria_pressed="true" if identity == shown else "false",
    )
    paid = [*_cost(costs, language), *needs]
    price = tag("div", " · ".join(paid), class_="rf-needs") if paid else None
    context = costs.context_tokens or _context(placement)
    return tag(
        "tr",
        tag("td", button, mark, price, class_="rf-what"),
        tag("td", _room(placement, language), data_label=text(language, "ui.fits_column")),
        tag("td", f"{context:,}".replace(",", " ") if context else "–", data_label=text(language, "ui.context_column")),
        tag("td", _speed(costs, language), data_label=text(language, "ui.speed_column")),
        class_="rf-current" if identity == shown else None,
    )


def _context(placement: Placement) -> int | None:
    lengths = [one.deployment.max_model_len for one in placement.instances if one.deployment.max_model_len]
    return min(lengths, default=None)


def _room(placement: Placement, language: str) -> Markup:
    if placement.deficit_bytes:
        words = text(language, "ui.short_by", deficit=gib(placement.deficit_bytes))
    else:
        free = min((gpu.free_bytes for gpu in placement.gpus), default=0)
        words = text(language, "ui.free_left", free=gib(max(0, free)))
    return _badge(placement.verdict, language, words.replace(" GiB", "\u00a0GiB"))


def _speed(costs: Costs, language: str) -> str:
    speed = costs.decode_tokens_per_s
    return "–" if speed is None else text(language, "ui.speed_value", span=span(speed.low, speed.high))


def _cost(costs: Costs, language: str) -> list[str]:
    pieces = [
        say(language, costs.quality) if costs.quality else None,
        text(language, "ui.wake_value", span=span(costs.wake_s.low, costs.wake_s.high)) if costs.wake_s else None,
        text(language, "ui.ram_value", ram=gib(costs.ram_bytes)) if costs.ram_bytes else None,
        text(language, "ui.download_value", size=gib(costs.download_bytes)) if costs.download_bytes else None,
    ]
    return [piece.replace(" GiB", "\u00a0GiB") for piece in pieces if piece]


def _flags(placement: Placement, gpus: Sequence[Gpu], language: str) -> Markup | None:
    made = (
        _command(position, instance, engine_argv(instance, own_cards(instance, placement, gpus)), language)
        for position, instance in enumerate(placement.instances)
    )
    blocks = [block for block in made if block]
    if not blocks:
        return None
    return tag("details", tag("summary", text(language, "ui.flags_heading")), *blocks, class_="rf-fold")


def _command(position: int, instance: InstancePlan, argv: Sequence[str], language: str) -> Markup | None:
    if not argv:
        return None
    command = wrapped(argv, indent="  ")
    copy = tag("button", text(language, "ui.copy"), type="button", class_="rf-copy", data_rf_copy=command)
    copy_done = text(language, "ui.copied")
    return tag(
        "div",
        tag("div", tag("b", letter(position), " · ", instance.name), copy, class_="rf-row", data_rf_copied=copy_done),
        tag("pre", tag("code", command), tabindex="0"),
        class_="rf-command",
    )


def _how(plan: Plan, placement: Placement, language: str) -> Markup:
    tables = [
        tag(
            "div",
            tag("h4", letter(position), " · ", instance.deployment.checkpoint.repo),
            _parts(instance.footprint, language),
        )
        for position, instance in enumerate(placement.instances)
    ]
    assumed = [tag("li", say(language, note)) for note in plan.assumptions]
    return tag(
        "details",
        tag("summary", text(language, "ui.how_heading")),
        *tables,
        tag("h4", text(language, "ui.assumed_heading")) if assumed else None,
        tag("ul", *assumed, class_="rf-assumed") if assumed else None,
        class_="rf-fold",
    )


def _parts(footprint: Footprint, language: str) -> Markup:
    heads = ("how_part", "how_size", "how_source")
    rows = [tag("tr", *(tag("th", text(language, f"ui.{name}"), scope="col") for name in heads))]
    for field, code in _FOOTPRINT_ROWS:
        size = getattr(footprint, field)
        if size is None:
            continue
        status = footprint.provenance.get(field)
        rows.append(
            tag(
                "tr",
                tag("td", text(language, f"ui.{code}", backend=footprint.backend)),
                tag("td", _size(field, size, language)),
                tag("td", text(language, f"ui.provenance_{status}") if status else "–"),
            )
        )
    return tag("table", tag("tbody", *rows), class_="rf-parts")


def _size(field: str, size: int | Band, language: str) -> str:
    if field == "kv_bytes_per_token":
        return f"{size:,} B".replace(",", " ")
    if isinstance(size, Band):
        if size.low == size.high:
            return gib(size.value, 2)
        return text(language, "ui.how_band", value=gib(size.value, 2), low=gib(size.low, 2), high=gib(size.high, 2))
    return gib(size, 2)
