"""``rigfit detect``: this machine's cards and memory."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines, say

if TYPE_CHECKING:
    from tools.domain import Rig

ABOUT = "Print this machine's cards and memory, memory in use included."
EXAMPLE = "rigfit detect --json > rig.json"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the rig."""
    from tools.specs.detect import detect_rig, rig_json

    language = chosen_language(arguments.lang)
    rig = detect_rig()
    if arguments.json:
        print_json(rig_json(rig))
    else:
        print_lines(_human(rig, language))
    return 0


def _human(rig: Rig, language: str) -> Iterator[str]:
    from prompts import text
    from tools.units import gib

    for gpu in rig.gpus:
        sizes = {"total": gpu.memory_bytes, "seen": gpu.cuda_total_bytes, "used": gpu.reserved_bytes}
        yield text(language, "cli.card", name=gpu.name, **{key: gib(size, 2) for key, size in sizes.items()})
    if not rig.gpus:
        yield text(language, "cli.no_cards")
    if rig.ram_bytes is not None:
        yield text(language, "cli.ram", ram=gib(rig.ram_bytes))
    yield from (f"- {say(language, note)}" for note in rig.notes)
