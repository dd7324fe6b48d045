"""The command line. Each command lives in a module of ``ui.commands`` and is imported only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import cast

from tools.errors import RigfitError
from ui.arguments import Command, Parser
from ui.output import LANGUAGES, chosen_language, report

COMMANDS = {
    "ui": "page",
    "ask": "ask",
    "plan": "plan",
    "launch": "launch",
    "estimate": "estimate",
    "explain": "explain",
    "read": "read",
    "threads": "threads",
    "memory": "memory",
    "specs": "specs",
    "search": "search",
    "detect": "detect",
    "gateway": "gateway",
    "serve": "serve",
    "ps": "ps",
    "logs": "logs",
    "stop": "stop",
}
"""Command name -> module of ``ui.commands``."""
_ABOUT = "Will these models fit on this hardware, and how do I run them?"
_EXAMPLE = 'rigfit plan 2xQwen/Qwen3-30B-A3B --gpu "RTX PRO 6000"'


def run(words: Sequence[str]) -> int:
    """Run one command line, without the program's name.

    Returns:
        The exit code: 0 answered, 1 does not fit.

    Raises:
        RigfitError: the request can't be read or a service is missing.
        SystemExit: help was printed.
    """
    if not words or words[0] not in COMMANDS:
        return _no_command(words)
    command = _command(words[0])
    parser = Parser(f"rigfit {words[0]}", command.ABOUT, command.EXAMPLE)
    command.add_arguments(parser)
    return command.run(parser.parse_intermixed_args(words[1:]))


def _command(name: str) -> Command:
    return cast(Command, import_module(f"ui.commands.{COMMANDS[name]}"))


def _no_command(words: Sequence[str]) -> int:
    """Print the list of commands or the version; anything else is a mistake."""
    parser = Parser("rigfit", _ABOUT, _EXAMPLE)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_argument_group("commands (rigfit COMMAND --help shows more)")
    helping = not words or words[0] in {"-h", "--help"}
    for name in COMMANDS:
        commands.add_argument(name, nargs="?", help=_command(name).ABOUT if helping else None)
    parser.usage = "rigfit COMMAND [OPTIONS]"
    if words and words[0] == "--version":
        from importlib.metadata import version

        print(version("rigfit"))
    elif helping:
        parser.print_help()
    else:
        parser.error(f"there is no command {words[0]!r}; there are: {', '.join(COMMANDS)}")
    return 0


def main() -> None:
    """Run the process's command line; exit code 2 is an unreadable request, 3 a missing service."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = _reader_gone()
    except Exception as error:  # noqa: BLE001 - the edge: one line for a person
        code = report(error, _language(sys.argv))
    sys.exit(code)


def _language(words: list[str]) -> str:
    """Return the language for a problem, also where the command line itself can't be read."""
    said = [after for before, after in pairwise(words) if before == "--lang"]
    said += [word.removeprefix("--lang=") for word in words if word.startswith("--lang=")]
    try:
        return chosen_language(said[-1] if said and said[-1] in LANGUAGES else None)
    except RigfitError:
        return "en"


def _reader_gone() -> int:
    """Whoever read our output has enough; keep the interpreter from complaining while it flushes."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    main()
