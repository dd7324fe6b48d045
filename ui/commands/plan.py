"""``rigfit plan``: will these models fit on this hardware, and what else would work."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from tools.units import gib
from ui.arguments import PLAN_WORDS, Parser
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from tools.domain import Plan, Rig

ABOUT = "Plan models on cards: as asked first, then every way that works, with its cost."
EXAMPLE = 'rigfit plan 2xQwen/Qwen3-30B-A3B --gpu "RTX PRO 6000"'


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_plan()
    parser.add_argument("--check", action="store_true", help="exit code 1 where nothing fits")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the plan."""
    language = chosen_language(arguments.lang)
    plan = plan_from_words(arguments)
    if arguments.json:
        from tools.plan.report import plan_json

        print_json(plan_json(plan, language))
    else:
        from ui.commands.plan_text import plan_lines

        print_lines(plan_lines(plan, language))
    return 1 if arguments.check and plan.verdict == "does_not_fit" else 0


def plan_from_words(arguments: Namespace, known: Rig | None = None) -> Plan:
    """Make the plan of a command line.

    Args:
        arguments: its words.
        known: this machine's hardware, for where no card is named.

    Raises:
        RequestError: a word can't be read or names something unknown.
    """
    from tools.errors import NotYetExact
    from tools.plan.measured import with_own
    from tools.plan.planner import make_plan
    from tools.plan.resolve import resolve_arguments
    from ui.catalogue import open_measured, open_models

    words = {name: getattr(arguments, name) for name in PLAN_WORDS if getattr(arguments, name) is not None}
    request = resolve_arguments(arguments.models, models=open_models(), known=known, **words)
    request = with_own(request, open_measured())
    try:
        return make_plan(request)
    except NotYetExact as error:
        models = (one.model for one in request.instances)
        sizes = {m.name: gib(m.published_bytes) for m in models if not m.layers and m.published_bytes}
        if not sizes:
            raise
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise NotYetExact("errors_ui.not_yet_exact", models=told) from error
