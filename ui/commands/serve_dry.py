"""``rigfit serve --dry-run``: what would be started, in which order, and what would stand in its way now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.errors import RigfitError
from ui.commands.serve_text import command_line, shown_environment
from ui.output import print_json, print_lines, sentence

if TYPE_CHECKING:
    from serving.run import Run
    from serving.spec import EngineSpec
    from tools.launch.job import Job
    from tools.settings import Settings


def dry_run(job: Job, made: Run, settings: Settings, *, as_json: bool) -> int:
    """Print what would be started; returns the exit code."""
    refusals = list(_refusals(job, made, settings))
    shortages = asyncio.run(_shortages(made))
    if as_json:
        print_json(_json(made, refusals, shortages))
    else:
        print_lines(_lines(made, refusals, shortages))
    return 0


def _refusals(job: Job, made: Run, settings: Settings) -> Iterator[str]:
    """Yield what ``rigfit serve`` itself would refuse now."""
    from serving.locks import lock_folder, taken
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
        folder = lock_folder(settings.lock_dir)
        found = [taken(folder, card) for card in made.cards]
        yield from (sentence(language, error) for error in found if error is not None)
    except RigfitError as error:
        yield sentence(language, error)


async def _shortages(made: Run) -> dict[str, str]:
    """Return what each engine would lack now, if it were the next one to start."""
    from serving.room import MachineRoom

    room, found = MachineRoom(), dict[str, str]()
    for spec in made.specs if made.wish.memory_check else ():
        short = await room.shortage(spec)
        if short is not None:
            found[spec.name] = text(made.wish.language, short.code, **short.params)
    return found


def _lines(made: Run, refusals: list[str], shortages: dict[str, str]) -> Iterator[str]:
    language = made.wish.language
    yield text(language, "run.dry", option=made.option)
    for number, spec in enumerate(made.specs, start=1):
        yield ""
        yield f"{number}. {spec.name}: {', '.join(spec.served_names)}"
        yield f"   {', '.join(spec.cards)}, {spec.url}"
        yield from (f"   {name}={value}" for name, value in shown_environment(spec).items())
        yield f"   {command_line(spec)}"
        room = shortages.get(spec.name) or text(
            language, "run.room_enough" if made.wish.memory_check else "run.room_unasked"
        )
        yield f"   {room}"
    yield ""
    if made.config.groups:
        yield from (text(language, "run.take_turns", models=", ".join(group)) for group in made.config.groups)
    names = ", ".join((*made.config.models, *made.config.aliases))
    yield text(language, "run.would_listen", url=f"http://{made.wish.host}:{made.wish.port}/v1", models=names)
    yield from (text(language, "run.would_refuse", reason=reason) for reason in refusals)


def _json(made: Run, refusals: list[str], shortages: dict[str, str]) -> dict[str, Any]:
    return {
        "dry_run": True,
        "url": f"http://{made.wish.host}:{made.wish.port}",
        "models": [*made.config.models, *made.config.aliases],
        "option": made.option,
        "engines": [_engine_json(spec, shortages.get(spec.name)) for spec in made.specs],
        "take_turns": [list(group) for group in made.config.groups],
        "refusals": refusals,
    }


def _engine_json(spec: EngineSpec, shortage: str | None) -> dict[str, Any]:
    from serving.run_state import predicted

    return {
        "name": spec.name,
        "models": list(spec.served_names),
        "cards": list(spec.cards),
        "port": spec.port,
        "command": list(spec.argv),
        "environment": dict(shown_environment(spec)),
        "predicted": dict(predicted(spec)),
        "shortage": shortage,
    }
