"""How a command line is read: argparse, because it costs 10 ms where typer, which now loads pydantic, costs 90."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from tools.errors import BadValue

if TYPE_CHECKING:
    from tools.settings import Settings


class Command(Protocol):
    """A module of ``ui.commands``."""

    ABOUT: str
    EXAMPLE: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the command's arguments."""
        ...

    def run(self, arguments: Namespace) -> int:
        """Do it; returns the exit code."""
        ...


class Parser(ArgumentParser):
    """A parser that raises ``BadValue`` instead of printing its usage and leaving."""

    def __init__(self, name: str, about: str, example: str) -> None:
        super().__init__(
            prog=name,
            description=about,
            epilog=f"example:\n  {example}",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        # "-5GB" and "-5xRTX 3090" are then values that the option itself refuses, in its own words
        self._negative_number_matcher = re.compile(r"-\d")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse could not read.

        Raises:
            BadValue: always.
        """
        raise BadValue("errors_ui.usage", detail=message, command=self.prog)

    def add(self, name: str, about: str, *, metavar: str | None = None, choices: Sequence[str] | None = None) -> None:
        """Add an option that takes one word."""
        self.add_argument(name, help=about, metavar=metavar, choices=choices)

    def add_number(self, name: str, about: str, *, least: int | None = None) -> None:
        """Add an option that takes a whole number, not below ``least``."""

        def whole(word: str) -> int:
            value = int(word)
            if least is not None and value < least:
                raise ValueError(word)
            return value

        whole.__name__ = "whole number" if least is None else f"whole number from {least}"
        self.add_argument(name, help=about, metavar="N", type=whole)

    def add_output(self) -> None:
        """Add what every command has: ``--json`` and ``--lang``."""
        self.add_argument("--json", action="store_true", help="print JSON and nothing else")
        self.add_argument("--lang", metavar="en|ru", help="language of the words (default: yours)")

    def add_llm(self) -> None:
        """Add who decides and writes instead of the built-in rules; ``with_llm`` reads it."""
        self.add("--llm-url", "an OpenAI-compatible endpoint that decides and writes, or local:FILE", metavar="URL")
        self.add("--llm-model", "a model of that endpoint (default: the only one it has)", metavar="NAME")

    def add_plan(self) -> None:
        """Add the words of a plan: models, cards, and what they are to carry."""
        self.add_argument("models", nargs="*", metavar="MODEL[@PRECISION]", help="name, alias or hub id; 2xMODEL twice")
        self.add_argument("--gpu", action="append", metavar="NAME", help="a card, or 2xNAME; repeat for unequal cards")
        self.add("--vram", "memory of an unnamed card, e.g. 98GB", metavar="SIZE")
        self.add_number("--nodes", "machines with these cards each")
        self.add("--ram", "system memory of a machine", metavar="SIZE")
        self.add("--reserved", "memory that others already use on each card", metavar="SIZE")
        self.add_number("--context", "tokens a sequence may have (default: 8192)")
        self.add_number("--users", "sequences at once (default: 4)")
        self.add("--engine", "vllm (default), sglang, llama.cpp, ...", metavar="E")
        self.add("--kv-dtype", "type of the KV cache: auto or fp8", metavar="D")
        self.add("--residency", "all awake at once, or swapped", choices=("auto", "together", "swap"))
        self.add("--config", "a folder with a config.json, instead of a model's name", metavar="DIR")

    def add_choices(self) -> None:
        """Add what may be chosen about launch files."""
        from tools.launch.choices import ALLOWED

        self.add(
            "--endpoint",
            "in front of several engines: nginx (default), or Rigfit's gateway",
            choices=ALLOWED["endpoint"],
        )
        self.add("--page", "a chat page beside the engines", choices=ALLOWED["page"])
        self.add("--share", "equal models: one engine under all names, or shared weights", choices=ALLOWED["share"])
        self.add("--sharing", "how Kubernetes shares a card", choices=ALLOWED["sharing"])
        self.add_argument("--cpu", action="store_true", help="run on the processor, to try the files out")
        self.add_argument("--open", action="store_true", help="let other machines in, with an API key")


def with_llm(settings: Settings, arguments: Namespace) -> Settings:
    """Return the settings with the endpoint of a command line.

    Raises:
        BadValue: the address is none of HTTP, the file can't be run, or a model is named and no endpoint.
    """
    from tools.settings import LOCAL

    url = arguments.llm_url or settings.llm_url
    if arguments.llm_model and not url:
        raise BadValue("errors_ui.llm_without_url")
    if url and url.startswith(LOCAL):
        _check_file(Path(url.removeprefix(LOCAL)).expanduser())
    elif url and not re.match(r"https?://[^/\s]", url):
        raise BadValue("errors_ui.bad_llm_url", value=url)
    return replace(settings, llm_url=url, llm_model=arguments.llm_model or settings.llm_model)


def _check_file(path: Path) -> None:
    """Say before a page opens that a model in a file can't answer on it."""
    from importlib.util import find_spec

    if not path.is_file():
        raise BadValue("errors_ui.no_llm_file", path=str(path))
    if find_spec("xllamacpp") is None:
        raise BadValue("errors_ui.no_llm_extra")


PLAN_WORDS = (
    "gpu",
    "vram",
    "nodes",
    "ram",
    "reserved",
    "context",
    "users",
    "engine",
    "kv_dtype",
    "residency",
    "config",
)
"""The options of ``Parser.add_plan`` by their names in a Namespace."""
