"""``rigfit logs``: what engines print."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import BadValue
from tools.settings import Settings
from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from serving.runs import EngineRecord, RunRecord, Runs

ABOUT = "Print what engines of rigfit serve wrote."
EXAMPLE = "rigfit logs qwen3-8b --follow"
LINES = 50
_POLL_S = 0.3


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="an engine, or a model that it answers for (default: all)"
    )
    parser.add_number("--port", "the run of this gateway port (default: the last one)", least=1)
    parser.add_argument(
        "-n", "--lines", type=_count, metavar="N", default=LINES, help=f"last lines of each (default: {LINES})"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl+C")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the logs."""
    from serving.runs import Runs
    from ui.log_tail import Tail

    chosen_language(arguments.lang)
    engines = engines_of(Runs(Settings.from_env().data_dir), arguments.port, arguments.model)
    tails = {one.name: Tail(Path(one.log)) for one in engines if one.log}
    last = {name: tail.last(arguments.lines) for name, tail in tails.items()}
    if arguments.json and not arguments.follow:
        rows = [{"name": one.name, "log": one.log or None, "lines": last.get(one.name, [])} for one in engines]
        print_json({"engines": rows})
        return 0
    several = len(tails) > 1
    for name, lines in last.items():
        _print(name, lines, several=several, as_json=arguments.json)
    while arguments.follow:
        for name, tail in tails.items():
            _print(name, tail.more(), several=several, as_json=arguments.json)
        sys.stdout.flush()
        time.sleep(_POLL_S)
    return 0


def engines_of(runs: Runs, port: int | None, model: str | None) -> tuple[EngineRecord, ...]:
    """Return the engines that are meant.

    Raises:
        BadValue: there is no such run, or no such engine.
    """
    found = [one for one in runs.all() if port in {None, one.port}]
    if not found:
        raise BadValue("run.no_run" if port is None else "run.no_run_on", port=port)
    if model is None:
        return chosen(found).engines
    named = [one for one in found if one.engine(model)]
    engine = chosen(named).engine(model) if named else None
    if engine is None:
        known = sorted({name for one in found for engine in one.engines for name in engine.models})
        raise BadValue("run.no_engine", name=model[:100], names=", ".join(known))
    return (engine,)


def chosen(found: list[RunRecord]) -> RunRecord:
    """Return the run that began last, of those that run where any does."""
    return next((one for one in found if one.running), found[0])


def _print(name: str, lines: list[str], *, several: bool, as_json: bool) -> None:
    if as_json:
        for line in lines:
            print_json({"name": name, "line": line})
    else:
        print_lines(f"{name} | {line}" if several else line for line in lines)


def _count(word: str) -> int:
    value = int(word)
    if not 0 <= value <= 1_000_000:
        raise ValueError(word)
    return value


_count.__name__ = "whole number from 0"
