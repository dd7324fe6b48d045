"""``rigfit ps``: what runs."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.settings import Settings
from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from serving.runs import RunRecord, Runs

ABOUT = "List what rigfit serve runs: engines, stages, cards, memory measured against predicted."
EXAMPLE = "rigfit ps --all"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--all", action="store_true", help="also what its user stopped")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the runs."""
    from serving.runs import STOPPED, Runs

    language = chosen_language(arguments.lang)
    runs = Runs(Settings.from_env().data_dir)
    shown = [one for one in runs.all() if arguments.all or one.running or one.ended != STOPPED]
    if arguments.json:
        print_json({"runs": [_json(one) for one in shown], "damaged": [str(path) for path in runs.damaged()]})
    else:
        print_lines(_lines(shown, runs, language))
    return 0


def state_of(one: RunRecord) -> str:
    """Return ``running``, ``stopped``, ``interrupted``, ``failed``, or ``gone`` where it had no time to say."""
    return "running" if one.running else one.ended or "gone"


def _lines(shown: list[RunRecord], runs: Runs, language: str) -> Iterator[str]:
    from ui.commands.serve_text import engine_table, lasting

    if not shown:
        yield text(language, "run.nothing_runs")
    for number, one in enumerate(shown):
        if number:
            yield ""
        state, now = state_of(one), time.time()
        since = one.started if one.running else one.ended_at or max([e.since for e in one.engines], default=one.started)
        said = {"port": one.port, "url": f"{one.url}/v1", "pid": one.pid, "lasting": lasting(now - since)}
        yield text(language, f"run.run_{state}", **said)
        yield from engine_table(one.engines, language, now, running=one.running)
    yield from (text(language, "run.damaged", path=str(path)) for path in runs.damaged())


def _json(one: RunRecord) -> dict[str, Any]:
    from ui.commands.serve_text import engine_json

    return {
        "port": one.port,
        "url": one.url,
        "state": state_of(one),
        "pid": one.pid,
        "started": one.started,
        "ready": one.ready,
        "ended_at": one.ended_at,
        "option": one.option,
        "engines": [engine_json(engine, running=one.running) for engine in one.engines],
    }
