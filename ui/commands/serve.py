"""``rigfit serve``: a plan's engines and one endpoint in front of them."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.errors import BadValue
from tools.settings import Settings
from ui.arguments import PLAN_WORDS, Parser
from ui.endpoint_arguments import add_endpoint, client_keys, engine_keys, notice, turn_seconds
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from serving.run import Run
    from serving.runs import Runs
    from serving.wish import Wish
    from tools.launch.job import Job

AGAINST_RAM = "specs.against_ram"
ABOUT = "Start a plan's engines, with one OpenAI endpoint in front of them."
EXAMPLE = "rigfit serve Qwen/Qwen3-8B Qwen/Qwen3-14B@fp8 --port 8000"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_plan()
    parser.add("--plan", "output of rigfit plan --json, or - for standard input", metavar="FILE")
    parser.add("--option", "an option's id (default: the recommended one)", metavar="ID")
    parser.add_argument("--cpu", action="store_true", help="run on the processor; without a card, plan for the RAM")
    parser.add_argument(
        "--upstream",
        action="append",
        metavar="NAME=URL",
        help="a further engine elsewhere, also for a model served here",
    )
    add_endpoint(parser)
    parser.add_argument("--no-memory-check", action="store_true", help="start engines though memory seems short")
    parser.add_argument("--dry-run", action="store_true", help="show what would be started, and start nothing")
    parser.add_argument("--resume", action="store_true", help="start again what ran last and was not stopped")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Serve until it is stopped."""
    from serving.runs import Runs

    settings, language = Settings.from_env(), chosen_language(arguments.lang)
    runs = Runs(settings.data_dir)
    if arguments.resume:
        found = _resumed(arguments, runs, language)
        if found is None:
            return 0
        job, wish, plan = found
    else:
        job, wish, plan = _asked(arguments, settings, language)
    if arguments.dry_run:
        from ui.commands.serve_dry import dry_run

        made = _composed(job, wish, plan, settings, dry=True)
        return dry_run(job, made, settings, as_json=arguments.json)
    return _serve(arguments, job, wish, plan, settings, runs)


def _asked(arguments: Namespace, settings: Settings, language: str) -> tuple[Job, Wish, dict[str, Any]]:
    """Plan what the command line says."""
    from tools.plan.report import plan_json
    from ui.commands.serve_plan import job_of, launch_command, plan_of

    wish = _wish(arguments, settings, language)
    plan = plan_of(arguments, language)
    job = job_of(plan, arguments.option, cpu=wish.cpu, language=language, again=launch_command(arguments))
    return job, wish, plan_json(plan, language)


def _wish(arguments: Namespace, settings: Settings, language: str) -> Wish:
    from serving.wish import Wish

    min_awake_s, max_wait_s, ttl_s = turn_seconds(arguments)
    return Wish(
        host=arguments.host or "127.0.0.1",
        port=arguments.port or 8000,
        cpu=arguments.cpu,
        aliases=tuple(arguments.alias or ()),
        upstreams=tuple(arguments.upstream or ()),
        upstream_keys=tuple(arguments.upstream_key or ()),
        far=arguments.allow_public_upstreams,
        origins=tuple(arguments.allow_origin or ()),
        key_file=arguments.api_key_file and str(Path(arguments.api_key_file).absolute()),
        keys_from_variable=arguments.api_key_file is None and bool(settings.gateway_keys()),
        sleep_level=arguments.sleep_level or 1,
        min_awake_s=min_awake_s,
        max_wait_s=max_wait_s,
        ttl_s=ttl_s,
        pins=tuple(arguments.pin or ()),
        memory_check=not arguments.no_memory_check,
        language=language,
    )


def _resumed(arguments: Namespace, runs: Runs, language: str) -> tuple[Job, Wish, dict[str, Any]] | None:
    """Plan again what ran last; None where nothing is to be started, which is said.

    Raises:
        RigfitError: its plan or its option is there no longer; something else is on the command line.
    """
    from ui.commands.serve_plan import job_of, plan_from_file

    if arguments.models or arguments.plan or any(getattr(arguments, name) is not None for name in PLAN_WORDS):
        raise BadValue("run.resume_alone")
    last = runs.last_to_resume(arguments.port)
    if last is None:
        running = [str(run.port) for run in runs.all() if run.running]
        code = "run.nothing_to_resume_running" if running else "run.nothing_to_resume"
        said = text(language, code, ports=", ".join(running))
        if arguments.json:
            print_json({"resumed": None, "reason": said})
        else:
            print_lines([said])
        return None
    plan = plan_from_file(dict(last.plan))
    again = f"rigfit launch --plan {runs.path(last.port)}"
    job = job_of(plan, last.option, cpu=last.wish.cpu, language=last.wish.language, again=again)
    notice(text(language, "run.resumes", port=last.port, models=", ".join(m for e in last.engines for m in e.models)))
    return job, last.wish, dict(last.plan)


def _composed(job: Job, wish: Wish, plan: dict[str, Any], settings: Settings, *, dry: bool = False) -> Run:
    """Put the run together.

    Raises:
        RigfitError: vLLM is not installed (unless that is only shown), or keys can't be read.
    """
    from serving.config import read_upstreams
    from serving.run import compose
    from ui.commands.serve_plan import needed_vllm, vllm_command

    keys = client_keys(wish.key_file, settings)
    if wish.keys_from_variable and not keys:
        raise BadValue("run.keys_gone")
    elsewhere = read_upstreams(wish.upstreams, far=wish.far, keys=wish.upstream_keys) if wish.upstreams else ()
    return compose(
        job,
        wish,
        plan=plan,
        command=(vllm_command(settings) or Path("vllm")) if dry else needed_vllm(settings),
        keys=keys if wish.keys_from_variable or wish.key_file else (),
        upstream_secrets=engine_keys(one.key_env for one in elsewhere if one.key_env is not None),
    )


def _serve(arguments: Namespace, job: Job, wish: Wish, plan: dict[str, Any], settings: Settings, runs: Runs) -> int:
    """Check what can be checked at once, say what is started, and serve."""
    from serving.locks import lock_folder
    from serving.measuring import Measuring
    from serving.room import MachineRoom
    from serving.run import Anything, serve
    from ui.commands.serve_plan import missing_cards
    from ui.commands.serve_progress import Progress
    from ui.server import is_loopback, require_free_port
    from ui.side_writer import SideWriter

    for sentence in missing_cards(job, wish.language):
        raise BadValue("run.refused", reason=sentence)
    made = _composed(job, wish, plan, settings)
    require_free_port(wish.host, wish.port, "serve")
    if not made.config.keys and not is_loopback(wish.host):
        notice(text(wish.language, "serving.exposed", host=wish.host))
    models = [*made.config.models, *made.config.aliases]
    engines = (spec.name for spec in made.specs)
    writer = SideWriter(sys.stderr.fileno())
    progress = Progress(
        wish.language,
        models,
        engines,
        _introduction(job, made),
        as_json=arguments.json,
        put=writer.put,
        live=sys.stderr.isatty(),
    )

    def told(note: Any) -> None:
        progress.said(text(wish.language, note.code, **note.params))

    try:
        serve(
            made,
            runs,
            lock_folder(settings.lock_dir),
            MachineRoom(say=told) if wish.memory_check else Anything(),
            progress,
            measure=Measuring(settings.data_dir, say=told).measure,
        )
    finally:
        writer.close()
    return 0


def _introduction(job: Job, made: Run) -> list[str]:
    """Return what is going to start, in a few lines."""
    from serving.run_state import first_records
    from ui.commands.serve_text import plan_table
    from ui.output import say

    language = made.wish.language
    title = say(language, job.chosen.title) if job.chosen else text(language, "cli.as_asked")
    notes = [say(language, note) for note in job.plan.assumptions if note.code == AGAINST_RAM]
    lines = [text(language, "run.starts", option=job.option, title=title), *notes]
    return [*lines, *plan_table(made, first_records(made.specs, 0.0), language)]
