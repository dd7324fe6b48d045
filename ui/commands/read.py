"""``rigfit read``: what a question says, and only that."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tools.errors import BadValue
from ui.arguments import Parser
from ui.output import chosen_language, columns, each_row, print_batch, print_json, print_lines

ABOUT = "Print what a question says, and what must be asked before it can be answered."
EXAMPLE = 'rigfit read "two Qwen3-30B on my 98 GB card?" --json'


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the question")
    parser.add_argument("--turn", action="append", metavar="TEXT", help="a later message; repeat it")
    parser.add("--batch", "JSON lines with id and text or turns; - is standard input", metavar="FILE|-")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the reading.

    Raises:
        BadValue: there is no question.
    """
    language = chosen_language(arguments.lang)
    if arguments.batch is not None:
        print_batch(each_row(arguments.batch, _row, language))
        return 0
    if arguments.text is None:
        raise BadValue("errors_ui.no_text")
    result = _row({"turns": [arguments.text, *(arguments.turn or [])]})
    if arguments.json:
        print_json(result)
    else:
        print_lines(
            columns((name, _short(value)) for name, value in result.items() if value not in (None, [], "", False))
        )
    return 0


def _read(turns: list[str]) -> dict[str, Any]:
    from agent.reader import read
    from agent.reader.report import reading_json

    return reading_json(read(turns))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Read a batch row: ``turns`` (asker's messages), or ``text`` / ``question``."""
    turns = row.get("turns") or row.get("text") or row.get("question")
    turns = [turns] if isinstance(turns, str) else turns
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise BadValue("errors_ui.no_text")
    return {"id": row.get("id"), **{name: value for name, value in _read(turns).items() if name != "id"}}


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item not in (None, False))
    return str(value)
