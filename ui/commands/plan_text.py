"""A plan as a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from prompts import text
from tools.domain import Option, Placement, Plan
from tools.plan.serve_words import serve_line
from tools.units import gib
from ui.output import columns, say

_BAR_CHARS = 48
_SIGNS = {"fits": "✓", "fits_with_changes": "≈", "does_not_fit": "✗"}


def plan_lines(plan: Plan, language: str) -> Iterator[str]:
    """Yield the verdict, a bar a card, the options as a table, the recommendation and what was assumed."""
    yield f"{_SIGNS[plan.verdict]} {text(language, f'cli.verdict_{plan.verdict}')}"
    yield ""
    yield text(language, "cli.as_asked") + ":"
    yield from _placement_lines(plan.as_asked, language)
    if plan.options:
        yield ""
        yield text(language, "cli.options") + ":"
        yield from columns([_option_row(option, plan.recommended, language) for option in plan.options])
    yield ""
    advised = text(language, "cli.as_asked").lower() if plan.recommended == "as_asked" else plan.recommended
    yield text(language, "cli.recommended", option=advised, reason=say(language, plan.reason))
    line = serve_line(plan)
    if line:
        yield text(language, "cli.to_run", line=line)
    if plan.assumptions:
        yield ""
        yield text(language, "cli.assumed") + ":"
        yield from (f"- {say(language, note)}" for note in plan.assumptions)


def _placement_lines(placement: Placement, language: str) -> Iterator[str]:
    for instance in placement.instances:
        footprint, checkpoint = instance.footprint, instance.deployment.checkpoint
        yield (
            f"  {instance.name}: {checkpoint.repo} {checkpoint.precision}, "
            + text(language, "cli.takes", weights=gib(footprint.weights_bytes), total=gib(footprint.total_bytes))
        )
    for gpu in placement.gpus:
        filled = gpu.total_bytes - gpu.free_bytes
        yield f"  {_bar(filled, gpu.total_bytes)} {gpu.name}: {gib(filled)} / {gib(gpu.total_bytes)}"
    if placement.deficit_bytes:
        yield "  " + text(language, "cli.deficit", deficit=gib(placement.deficit_bytes))


def _bar(filled: int, total: int) -> str:
    marks = round(_BAR_CHARS * filled / max(total, 1))
    over = max(0, marks - _BAR_CHARS)
    inside = min(max(marks, 0), _BAR_CHARS)
    return "[" + "█" * inside + "·" * (_BAR_CHARS - inside) + "]" + "▶" * min(over, _BAR_CHARS // 2)


def _option_row(option: Option, recommended: str, language: str) -> tuple[str, ...]:
    costs = option.costs
    return (
        ("→ " if option.id == recommended else "  ") + _SIGNS[option.placement.verdict],
        option.id,
        say(language, option.title),
        text(language, "cli.free", free=gib(_least_free(option.placement))),
        "" if costs.context_tokens is None else text(language, "cli.tokens", tokens=costs.context_tokens),
    )


def _least_free(placement: Placement) -> int:
    return min((gpu.free_bytes for gpu in placement.gpus), default=0)
