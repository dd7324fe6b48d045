"""``rigfit serve --dry-run``: what would be started, in which order, and what would stand in its way now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.errors import RigfitError
from ui.commands.serve_text import command_line, shown_environment
from ui.output import print_json, print_lines, say, sentence

if TYPE_CHECKING:
    from serving.run import Run
    from serving.spec import EngineSpec
    from tools.domain import Note
    from tools.launch.job import Job
    from tools.settings import Settings


@dataclass(frozen=True, slots=True)
class Memory:
    """How an engine's memory stands now, if it were the next one to start.

    Attributes:
        state: ``free``, ``short``, ``unknown``, or ``unasked``.
        said: the same for people.
    """

    state: str
    said: str


def dry_run(job: Job, made: Run, settings: Settings, *, as_json: bool) -> int:
    """Print what would be started; returns the exit code."""
    refusals = list(_refusals(job, made, settings))
    memory = asyncio.run(_memory(made))
    if as_json:
        print_json(_json(made, refusals, memory))
    else:
        print_lines(_lines(made, refusals, memory))
    return 0


def _refusals(job: Job, made: Run, settings: Settings) -> Iterator[str]:
    """Yield what ``rigfit serve`` itself would refuse now."""
    from serving.locks import shared_folder, taken
    from ui.commands.serve_plan import missing_cards, needed_vllm
    from ui.server import require_free_port

    language = made.wish.language
    yield from missing_cards(job, language)
    try:
        needed_vllm(settings)
    except RigfitError as error:
        yield sentence(language, error)
    try:
        require_free_port(made.wish.host, made.wish.port, "serve")
    except RigfitError as error:
        yield sentence(language, error)
    try:
        folder = settings.lock_dir or shared_folder()
        found = [taken(folder, card) for card in made.cards]
        yield from (sentence(language, error) for error in found if error is not None)
    except RigfitError as error:
        yield sentence(language, error)


async def _memory(made: Run) -> dict[str, Memory]:
    """Return how the memory of each engine stands."""
    if made.wish.memory_check:
        return {spec.name: await _look(spec, made.wish.language) for spec in made.specs}
    unasked = Memory("unasked", text(made.wish.language, "run.room_unasked"))
    return {spec.name: unasked for spec in made.specs}


async def _look(spec: EngineSpec, language: str) -> Memory:
    from serving.room import MachineRoom

    unknown: list[Note] = []
    short = await MachineRoom(say=unknown.append).shortage(spec)
    if short is not None:
        return Memory("short", say(language, short))
    if unknown:
        return Memory("unknown", " ".join(say(language, note) for note in unknown))
    return Memory("free", text(language, "run.room_enough"))


def _lines(made: Run, refusals: list[str], memory: dict[str, Memory]) -> Iterator[str]:
    language = made.wish.language
    yield text(language, "run.dry", option=made.option)
    for number, spec in enumerate(made.specs, start=1):
        yield ""
        yield f"{number}. {spec.name}: {', '.join(spec.served_names)}"
        yield f"   {', '.join(spec.cards)}, {spec.url}"
        yield from (f"   {name}={value}" for name, value in shown_environment(spec).items())
        yield f"   {command_line(spec)}"
        yield f"   {memory[spec.name].said}"
    yield ""
    if made.config.groups:
        yield from (text(language, "run.take_turns", models=", ".join(group)) for group in made.config.groups)
    names = ", ".join((*made.config.models, *made.config.aliases))
    yield text(language, "run.would_listen", url=f"http://{made.wish.host}:{made.wish.port}/v1", models=names)
    yield from (text(language, "run.would_refuse", reason=reason) for reason in refusals)


def _json(made: Run, refusals: list[str], memory: dict[str, Memory]) -> dict[str, Any]:
    return {
        "dry_run": True,
        "url": f"http://{made.wish.host}:{made.wish.port}",
        "models": [*made.config.models, *made.config.aliases],
        "option": made.option,
        "engines": [_engine_json(spec, memory[spec.name]) for spec in made.specs],
        "take_turns": [list(group) for group in made.config.groups],
        "refusals": refusals,
    }


def _engine_json(spec: EngineSpec, memory: Memory) -> dict[str, Any]:
    from serving.run_state import predicted

    return {
        "name": spec.name,
        "models": list(spec.served_names),
        "cards": list(spec.cards),
        "port": spec.port,
        "command": list(spec.argv),
        "environment": dict(shown_environment(spec)),
        "predicted": dict(predicted(spec)),
        "memory": memory.state,
        "shortage": memory.said if memory.state == "short" else None,
    }
