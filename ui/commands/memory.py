"""``rigfit memory``: what is remembered of the asker: list it, add hardware, write all to a file, delete it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tools.errors import BadValue
from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines, say

if TYPE_CHECKING:
    from agent.session import Assistant

ABOUT = "List, add, export or delete what is remembered: your hardware by name, preferences, plans, conversations."
EXAMPLE = 'rigfit memory remember home --gpu "2xRTX 3090" --ram 64GB'
_ACTIONS = ("list", "remember", "export", "forget")
T = TypeVar("T")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", nargs="?", default="list", metavar="|".join(_ACTIONS), help="what to do")
    parser.add_argument("what", nargs="?", metavar="NAME|FILE", help="hardware by name, or the file of an export")
    parser.add_argument("--gpu", action="append", metavar="NAME", help="a card, or 2xNAME; repeat for unequal cards")
    parser.add("--ram", "system memory of the machine", metavar="SIZE")
    parser.add_argument("--all", action="store_true", help="forget everything, conversations too")
    parser.add_argument("--yes", action="store_true", help="with --all: really")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Do it.

    Raises:
        BadValue: no such action, no such hardware, or a file that can't be written.
        StorageError: not everything could be deleted.
    """
    language = chosen_language(arguments.lang)
    if arguments.action not in _ACTIONS:
        raise BadValue("recall.unknown_action", value=arguments.action)
    done = {"list": _list, "remember": _remember, "export": _export, "forget": _forget}[arguments.action]
    done(arguments, language)
    return 0


def _list(arguments: Namespace, language: str) -> None:
    found = _with(lambda assistant: assistant.memory.export())
    if arguments.json:
        print_json(found)
    else:
        print_lines(_listed(found, language))


def _listed(found: dict[str, Any], language: str) -> Iterator[str]:
    from agent.answer.recalled import liked_words
    from agent.recall.tool import label
    from prompts import text

    if not any(found.values()):
        yield text(language, "recall.nothing_known")
    for one in found["rigs"]:
        yield f"{one['name']}  {label(one['rig'])}"
    if found["preferences"]:
        yield text(language, "recall.known_liked", what=liked_words(found["preferences"], language))
    if found["plans"]:
        yield text(language, "recall.plans")
    for plan in found["plans"]:
        verdict = text(language, f"ui.verdict_{plan['verdict']}")
        yield f"  {plan['at'][:16]}  {plan['rig']}  {verdict}  {plan['question']}"


def _remember(arguments: Namespace, language: str) -> None:
    from tools.specs.gpus import GpuCatalogue
    from ui.rig_panel import RigFields, rig_label, rig_of_fields

    fields = RigFields(card=" + ".join(arguments.gpu or []), ram=arguments.ram or "")
    rig = rig_of_fields(fields, GpuCatalogue.load())
    if rig is None or not arguments.what:
        raise BadValue("recall.what_to_remember")
    name = _with(lambda assistant: assistant.memory.save_rig(arguments.what, assistant.workbench.rig_json(rig)))
    _tell(arguments, language, "recall.remembered_rig", name=name, rig=rig_label(rig))


def _export(arguments: Namespace, language: str) -> None:
    found = _with(lambda assistant: assistant.export())
    written = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    if not arguments.what or arguments.what == "-":
        sys.stdout.write(written)
        return
    try:
        Path(arguments.what).write_text(written, encoding="utf-8")
    except OSError as error:
        raise BadValue("recall.cannot_write", path=arguments.what, reason=error.strerror or "") from error
    counts = {key: len(found[key]) for key in ("rigs", "plans", "threads")}
    _tell(arguments, language, "recall.saved_file", path=arguments.what, **counts)


def _forget(arguments: Namespace, language: str) -> None:
    from tools.settings import Settings

    if arguments.all and not arguments.yes:
        raise BadValue("recall.sure_cli")
    if arguments.all:
        _with(lambda assistant: assistant.erase())
        _tell(arguments, language, "recall.erased")
        folder = Settings.from_env().data_dir / "files"
        if folder.is_dir() and not arguments.json:
            _tell(arguments, language, "recall.files_stay", folder=str(folder))
        return
    if not arguments.what:
        names = [one["name"] for one in _with(lambda assistant: assistant.memory.export())["rigs"]]
        raise BadValue("recall.what_to_forget", names=", ".join(names) or "–")
    _with(lambda assistant: assistant.memory.forget_rig(arguments.what))
    _tell(arguments, language, "recall.forgotten", name=arguments.what)


def _tell(arguments: Namespace, language: str, code: str, **params: Any) -> None:
    from tools.domain import Note

    if arguments.json:
        print_json({"done": arguments.action, **params})
    else:
        print_lines([say(language, Note(code, params))])


def _with(do: Callable[[Assistant], Awaitable[T]]) -> T:
    import asyncio

    from agent.session import Assistant
    from tools.settings import Settings

    async def doing() -> T:
        async with Assistant.open(Settings.from_env(), rig=None) as assistant:
            return await do(assistant)

    return asyncio.run(doing())
