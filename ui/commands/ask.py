"""``rigfit ask``: one conversation turn after another, through the same graph as the page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ui.arguments import Parser, with_llm
from ui.output import chosen_language, print_json, print_lines, read_json

if TYPE_CHECKING:
    from agent.events import TurnResult
    from agent.session import RigSource
    from tools.settings import Settings

ABOUT = "Ask in your own words."
EXAMPLE = 'rigfit ask "Will two Qwen3-30B run at once on an RTX PRO 6000?" --turn "and the second in int4?"'


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("text", metavar="TEXT", help="the question; - is standard input")
    parser.add_argument("--turn", action="append", metavar="TEXT", help="a later message; repeat it")
    parser.add("--thread", "continue or name a conversation", metavar="ID")
    parser.add("--rig", "output of rigfit detect --json, or none; default: this machine", metavar="FILE|none")
    parser.add_llm()
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Ask and print the last answer."""
    import asyncio
    from uuid import uuid4

    from tools.settings import Settings

    language = chosen_language(arguments.lang)
    settings = with_llm(Settings.from_env(), arguments)
    texts = [_typed() if arguments.text == "-" else arguments.text, *(arguments.turn or [])]
    thread = arguments.thread or uuid4().hex
    result = asyncio.run(_converse(texts, thread, _rig(arguments.rig), settings, language))
    if arguments.json:
        print_json(_object(result))
    else:
        print_lines([*result.notices, *result.answer_markdown.splitlines(), *(str(path) for path in result.artifacts)])
    return 0


def _typed() -> str:
    """Read a message from standard input; of what is longer than any message only so much that it is refused."""
    import sys

    from agent.session import MOST_CHARS

    return sys.stdin.buffer.read(4 * (MOST_CHARS + 1)).decode("utf-8", errors="replace")


def _rig(said: str | None) -> RigSource:
    if said is None:
        return "detect"
    if said == "none":
        return None
    from tools.specs.detect import rig_from_json

    return rig_from_json(read_json(said))


async def _converse(texts: Sequence[str], thread: str, rig: RigSource, settings: Settings, language: str) -> TurnResult:
    from agent.events import Finished
    from agent.session import Assistant

    result: TurnResult | None = None
    async with Assistant.open(settings, rig=rig) as assistant:
        for text in texts:
            async for event in assistant.ask(text, thread_id=thread, language_hint="ru" if language == "ru" else "en"):
                if isinstance(event, Finished):
                    result = event.result
    if result is None:
        raise RuntimeError("a turn ended without a result")
    return result


def _object(result: TurnResult) -> dict[str, Any]:
    from tools.plan.report import plan_json

    return {
        "thread": result.thread_id,
        "answer_markdown": result.answer_markdown,
        "language": result.language,
        "reading": dict(result.reading),
        "tool_calls": [dict(call) for call in result.tool_calls],
        "plan": None if result.plan is None else plan_json(result.plan, result.language),
        "artifacts": [str(path) for path in result.artifacts],
        "sources": [dict(source) for source in result.sources],
        "asks": list(result.asks),
        "suggestions": list(result.suggestions),
        "grounded": result.grounded,
        "llm": result.llm,
        "notices": list(result.notices),
    }
