"""``rigfit threads``: list conversations, write one to a file, go on with one from a file."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import BadValue
from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines, say

if TYPE_CHECKING:
    from agent.events import ThreadInfo
    from agent.transcripts.files import Imported, Kind

ABOUT = "List conversations, write one as Markdown or JSON, or go on with one from a file."
EXAMPLE = "rigfit threads export 3f2a9c0d --format md > conversation.md"
_NEEDS = {"export": "ID", "import": "FILE"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", nargs="?", default="list", metavar="list|export|import", help="what to do")
    parser.add_argument(
        "what", nargs="?", metavar="ID|FILE", help="a conversation's id, or a file (- is standard input)"
    )
    parser.add("--format", "of an export: md (default) or json", choices=("md", "json"))
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Do it.

    Raises:
        BadValue: no such action, no such conversation, or the file is no transcript.
    """
    language = chosen_language(arguments.lang)
    if arguments.action not in {"list", *_NEEDS}:
        raise BadValue("transcripts.unknown_action", value=arguments.action)
    if arguments.action == "list":
        return _list(language, as_json=arguments.json)
    if not arguments.what:
        raise BadValue("transcripts.missing", action=arguments.action, what=_NEEDS[arguments.action])
    if arguments.action == "export":
        return _export(arguments.what, "json" if arguments.json else arguments.format or "md")
    return _import(arguments.what, language, as_json=arguments.json)


def _list(language: str, *, as_json: bool) -> int:
    import asyncio

    from prompts import text

    found = asyncio.run(_threads())
    if as_json:
        print_json({"threads": [{"id": t.thread_id, "title": t.title, "updated": t.updated} for t in found]})
    elif found:
        print_lines(f"{t.thread_id}  {t.updated}  {t.title}" for t in found)
    else:
        print_lines([text(language, "transcripts.no_threads")])
    return 0


async def _threads() -> tuple[ThreadInfo, ...]:
    from agent.session import Assistant
    from tools.settings import Settings

    async with Assistant.open(Settings.from_env(), rig=None) as assistant:
        return await assistant.threads()


def _export(thread: str, kind: Kind) -> int:
    import asyncio

    sys.stdout.write(asyncio.run(_written(thread, kind)))
    return 0


async def _written(thread: str, kind: Kind) -> str:
    from agent.session import Assistant
    from agent.transcripts.files import write_transcript
    from tools.settings import Settings

    async with Assistant.open(Settings.from_env(), rig=None) as assistant:
        if not (await assistant.history(thread)).turns:
            raise BadValue("transcripts.no_thread", thread=thread)
        return write_transcript(await assistant.transcript(thread), kind)


def _import(path: str, language: str, *, as_json: bool) -> int:
    import asyncio
    from uuid import uuid4

    from agent.transcripts.files import read_transcript
    from prompts import text

    imported = read_transcript(_bytes(path))
    thread = uuid4().hex
    asyncio.run(_adopt(imported, thread))
    count = len(imported.transcript.messages)
    told = [say(language, note) for note in imported.notes]
    if as_json:
        print_json({"thread": thread, "title": imported.transcript.title, "messages": count, "notices": told})
    else:
        counted = text(language, "transcripts.imported", count=count)
        print_lines([*told, counted, text(language, "transcripts.continue_it", thread=thread)])
    return 0


async def _adopt(imported: Imported, thread: str) -> None:
    from agent.session import Assistant
    from tools.settings import Settings

    async with Assistant.open(Settings.from_env(), rig=None) as assistant:
        await assistant.adopt(imported.transcript, thread_id=thread)


def _bytes(path: str) -> bytes:
    """Read a file, no further than shows that it is too large."""
    from agent.transcripts.transcript import MAX_BYTES

    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadValue("errors_ui.cannot_read", path=path, reason=error.strerror or "") from error
