"""Plain ``llama-server`` scripts: one an engine, and one that starts them in order and stops them together."""

from __future__ import annotations

import shlex

from tools.launch.argv.llamacpp import is_made, llamacpp_argv, sees
from tools.launch.argv.words import wrapped
from tools.launch.checks.llamacpp import check_llama_flags
from tools.launch.checks.shell import check_shell
from tools.launch.files import Check, LaunchFile
from tools.launch.job import Job, Unit
from tools.launch.local_scripts import (
    LOCAL,
    begin,
    cards_of,
    enough,
    enough_lines,
    fetch_files,
    key_needed,
    needs,
    readme_words,
)
from tools.launch.readme import readme
from tools.launch.supervision import start_each, start_function, supervised, until_stopped


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``serve-<name>.sh`` for each engine, what fetches the files and starts the engines, ``README.md``."""
    made = [LaunchFile(f"serve-{unit.name}.sh", _serve_sh(job, unit), executable=True) for unit in job.units]
    made.append(LaunchFile("start-all.sh", _start_all_sh(job), executable=True))
    made += fetch_files(job)
    bases = {unit.name: f"http://{LOCAL}:{unit.port}" for unit in job.units}
    waiting = [unit.name for unit in job.units if unit.sleeps]
    made.append(LaunchFile("README.md", readme(job, "llamacpp", bases=bases, waiting=waiting, **readme_words(job))))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    return (check_llama_flags(argv(job, unit) for unit in job.units), *check_shell(made))


def argv(job: Job, unit: Unit) -> list[str]:
    """Return the command of one engine."""
    host = "0.0.0.0" if job.choices.open else LOCAL  # noqa: S104 - asked for, and only with an API key
    return [*llamacpp_argv(unit.instance, host=host, port=unit.port), *chosen_flags(job, keyed=job.choices.open)]


def chosen_flags(job: Job, *, keyed: bool) -> list[str]:
    """Return the flags that choices add.

    Args:
        job: what is started.
        keyed: the engine asks for an API key. One that does not must not answer to what a web page in a browser on the
            same machine asks (llama-server warns of it: ggml-org/llama.cpp#25655).
    """
    return [*(["--device", "none"] * job.choices.cpu), *([] if keyed else ["--cors-origins", "localhost"])]


def _serve_sh(job: Job, unit: Unit) -> str:
    notes = [job.say("launch.serve_more")]
    if unit.checkpoint.revision and not is_made(unit.checkpoint):
        notes.append(job.say("launch_local.no_revision", revision=unit.checkpoint.revision))
    if sees(unit.instance.deployment):
        notes.append(job.say("launch_local.no_images" if is_made(unit.checkpoint) else "launch_local.images_in_ram"))
    cards = cards_of(job, unit)
    lines = [
        begin(job, *notes, unit=unit).rstrip(),
        *(f"export {name}={shlex.quote(value)}" for name, value in cards.items()),
        *key_needed(job, "LLAMA_API_KEY"),
        f"exec {wrapped(argv(job, unit))} \\",
        '    "$@"',
    ]
    return "\n".join(lines) + "\n"


def _start_all_sh(job: Job) -> str:
    steps = {
        unit.name: [*enough_lines(job, [unit]), shlex.join(["start", unit.name, str(unit.port)])] for unit in job.units
    }
    return f"""\
{begin(job, job.say("launch_local.start_all"))}
{needs(job, "llama-server", "curl")}
./fetch.sh
mkdir -p logs

{supervised(job)}
{enough(job)}
{start_function(job)}
{start_each(job, steps)}
{until_stopped(job)}"""
