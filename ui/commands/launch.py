"""``rigfit launch``: the files that run a plan."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.errors import BadValue
from tools.launch.choices import choices_from
from tools.launch.generate import TARGETS, default_target, generate, write
from ui.arguments import PLAN_WORDS, Parser
from ui.output import chosen_language, print_json, print_lines, read_json

if TYPE_CHECKING:
    from tools.domain import Note, Plan

ABOUT = "Write the files that run a plan, and check them."
EXAMPLE = 'rigfit launch 2xQwen/Qwen3-30B-A3B@fp8 --gpu "RTX PRO 6000" --target compose --out two-qwens'
_CHECK_WORDS = {True: "ok", False: "failed", None: "not_checked"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_plan()
    parser.add("--plan", "output of rigfit plan --json, or - for standard input", metavar="FILE")
    parser.add("--option", "an option's id (default: the recommended one)", metavar="ID")
    parser.add("--target", f"{', '.join(TARGETS)} (default: by the engine)", metavar="TARGET")
    parser.add_choices()
    parser.add("--out", "folder for the files (default: rigfit-files)", metavar="DIR")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Write the files."""
    language = chosen_language(arguments.lang)
    out = Path(arguments.out or "rigfit-files")
    plan = _plan(arguments)
    made = generate(
        plan,
        option=arguments.option,
        target=arguments.target or default_target(plan.request.engine),
        language=language,
        choices=choices_from(vars(arguments)),
    )
    write(made, out)
    result = {
        "target": made.target,
        "option": made.option,
        "files": [str(out / file.path) for file in made.files],
        "notes": [text(language, note.code, **note.params) for note in (*_mapped(plan), *made.notes)],
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in made.checks],
    }
    if arguments.json:
        print_json(result)
    else:
        print_lines(_human(result, language))
    return 0


def _mapped(plan: Plan) -> Iterator[Note]:
    """What the plan says of formats that were asked for and that its engine does not load."""
    return (note for note in plan.assumptions if note.code in {"plan.precision_mapped", "plan.precision_mapped_to"})


def _plan(arguments: Namespace) -> Plan:
    if arguments.plan is None:
        from ui.commands.plan import plan_from_words

        target = TARGETS.get(arguments.target)
        if target and arguments.engine is None and arguments.option is None:
            arguments.engine = target.engine  # an option's id is one of the plan that rigfit plan showed
        return plan_from_words(arguments)
    if arguments.models or any(getattr(arguments, name) is not None for name in PLAN_WORDS):
        raise BadValue("errors_ui.plan_twice")
    from tools.plan.report import plan_from_json
    from tools.specs.gpus import GpuCatalogue
    from ui.catalogue import open_models

    return plan_from_json(read_json(arguments.plan), open_models(), GpuCatalogue.load())


def _human(result: dict[str, Any], language: str) -> Iterator[str]:
    yield from result["notes"]
    yield text(language, "cli.written", option=result["option"], target=result["target"])
    yield from (f"  {path}" for path in result["files"])
    for check in result["checks"]:
        word = text(language, f"cli.check_{_CHECK_WORDS[check['ok']]}")
        yield f"  {word}  {check['name']}" + (f": {check['detail']}" if check["detail"] else "")
