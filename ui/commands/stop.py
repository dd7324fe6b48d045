"""``rigfit stop``: end a run, and what one that crashed left behind."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from prompts import text
from tools.errors import BadValue
from tools.settings import Settings
from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from serving.runs import RunRecord, Runs

ABOUT = "Stop what rigfit serve runs; running requests are finished first."
EXAMPLE = "rigfit stop --port 8000"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_number("--port", "the run of this gateway port (default: the only one)", least=1)
    parser.add_argument("--all", action="store_true", help="every run")
    parser.add_argument("--now", action="store_true", help="do not wait for running requests")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Stop the runs."""
    from serving.ending import end_run
    from serving.runs import Runs

    language = chosen_language(arguments.lang)
    runs = Runs(Settings.from_env().data_dir)
    rows: list[dict[str, object]] = []
    for one in wanted(runs, arguments.port, everything=arguments.all):
        ended = end_run(runs, one, now=arguments.now)
        rows.append({"port": one.port, "stopped": ended.stopped, "left_over": list(ended.left_over)})
        if not arguments.json:
            print_lines(_lines(one, ended.stopped, ended.left_over, language))
    if arguments.json:
        print_json({"runs": rows})
    elif not rows:
        print_lines([text(language, "run.nothing_runs")])
    return 0


def wanted(runs: Runs, port: int | None, *, everything: bool) -> list[RunRecord]:
    """Return the runs that are meant: that of a port, else those that run and those that crashed.

    Raises:
        BadValue: several run and none is named, or there is no run on that port.
    """
    from serving.runs import STOPPED

    known = runs.all()
    if port is not None:
        here = [one for one in known if one.port == port]
        if not here:
            raise BadValue("run.no_run_on", port=port)
        return here
    found = [one for one in known if one.running or one.ended != STOPPED]
    running = [one for one in found if one.running]
    if len(running) > 1 and not everything:
        raise BadValue("run.several_run", ports=", ".join(str(one.port) for one in running))
    return found


def _lines(one: RunRecord, stopped: bool, left_over: tuple[int, ...], language: str) -> list[str]:
    lines = [text(language, "run.stopped" if stopped else "run.was_gone", port=one.port)]
    if left_over:
        lines.append(text(language, "run.cleaned_up", pids=", ".join(map(str, left_over))))
    return lines
