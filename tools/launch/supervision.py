"""Shell that starts engines one after the other, waits until each is ready, and stops all of them together."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from tools.launch.job import Job
from tools.launch.local_scripts import LOCAL, awake, comments, say

QUIETLY = """\
quietly() { # COMMAND...
    "$@" >/dev/null 2>&1 &
    wait "$!"
}"""
"""Runs a command without its output, so that Ctrl-C is always heard. A SIGINT that comes just as bash begins to wait
for a program in the foreground may have it spin for ever, sending the signal to itself again and again
(``wait_sigint_handler``, jobs.c of bash 5.2); its own ``wait`` does not do that."""


def supervised(job: Job, *, groups: bool = False, last: bool = False) -> str:
    """Return the functions that keep a list of processes, ``pids``, and stop all of them when the script ends.

    Args:
        job: what is started.
        groups: stop each with all that it started itself; the script needs ``set -m``.
        last: stop the first process after the others have ended.
    """
    stopping = _ended("[@]:1", more_than=1) + "\n" + _ended("[0]") if last else _ended("[@]", groups=groups)
    return f"""\
pids=()

{QUIETLY}

# shellcheck disable=SC2317,SC2329  # the traps call it
stop() {{
    trap - EXIT
    trap '' HUP INT PIPE TERM
    echo {say(job, "launch.stopping")} 2>/dev/null || true
{stopping}
}}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

all_alive() {{
    local pid
    for pid in "${{pids[@]}}"; do kill -0 "$pid" 2>/dev/null || return 1; done
}}
"""


def _ended(which: str, *, groups: bool = False, more_than: int = 0) -> str:
    """Return the lines that end some of ``pids``, which must be more than so many, and wait for them."""
    pids = f"${{pids{which}}}"
    return f"""\
    if ((${{#pids[@]}}{f" > {more_than}" * bool(more_than)})); then
        kill -TERM -- "{"${pids[@]/#/-}" if groups else pids}" 2>/dev/null || true
        wait "{pids}" 2>/dev/null || true
    fi"""


def begun(job: Job) -> str:
    """Return the lines that end a script where a port is taken, and say what starts: of a function NAME PORT."""
    return f"""\
    echo {say(job, "launch.starting")} "$1 (logs/$1.log)"
    if quietly curl -s --max-time 2 "http://{LOCAL}:$2/"; then
        echo {say(job, "launch.busy")} "$2" >&2
        exit 1
    fi"""


def not_yet(job: Job, limit: str = "") -> str:
    """Return the body of a loop that waits for the engine ``$1`` of process ``$pid``.

    Args:
        job: what is started.
        limit: seconds it may take, as shell reads them; empty = any time.
    """
    late = f"""
        if ((SECONDS - since > {limit})); then
            echo {say(job, "launch.late")} "logs/$1.log" >&2
            exit 1
        fi"""
    return f"""\
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 30 "logs/$1.log" >&2
            echo {say(job, "launch.died")} "logs/$1.log" >&2
            exit 1
        fi{late if limit else ""}
        quietly sleep 1"""


def start_function(job: Job, *, limited: bool = False, told: bool = True) -> str:
    """Return the function ``start NAME PORT [LIMIT_S]``, which runs ``serve-NAME.sh`` and waits until it is ready.

    Args:
        job: what is started.
        limited: it takes the longest time as well.
        told: it says then where the engine answers.
    """
    say = f'\n    echo "  $1: http://{LOCAL}:$2/v1"' if told else ""
    since = " since=$SECONDS" if limited else ""
    return f"""\
start() {{ # NAME PORT{" LIMIT_S" if limited else ""}
{begun(job)}
    "./serve-$1.sh" >"logs/$1.log" 2>&1 &
    local pid=$!{since}
    pids+=("$pid")
    until quietly curl -sf --max-time 5 "http://{LOCAL}:$2/health"; do
{not_yet(job, "$3" if limited else "")}
    done{say}
}}
"""


def start_each(job: Job, steps: Mapping[str, Sequence[str]]) -> str:
    """Return the lines that start the engines named on the command line, else those that start at once, in order.

    Args:
        job: what is started.
        steps: by engine name, lines of shell.
    """
    rows = "\n".join(
        "\n".join([f"    {shlex.quote(name)})", *(f"        {line}" for line in lines), "        ;;"])
        for name, lines in steps.items()
    )
    return f"""\
start_named() {{
    case $1 in
{rows}
    *)
        echo {say(job, "unknown")} "$1" >&2
        exit 2
        ;;
    esac
}}

{comments(job.say("launch_local.in_order"))}
if (($# == 0)); then
    set -- {shlex.join(unit.name for unit in awake(job.units))}
fi
for name in "$@"; do start_named "$name"; done
"""


def until_stopped(job: Job, *more: str) -> str:
    """Return a script's end: everything is ready, and stays so until one process ends or Ctrl-C is pressed.

    Args:
        job: what runs.
        more: what to say besides, by line.
    """
    said = "\n".join([f"echo {say(job, 'launch.ready')}", *(f"echo {shlex.quote(line)}" for line in more)])
    return f"""\
{said}
while all_alive; do quietly sleep 1; done
echo {say(job, "launch.died")} logs/ >&2
exit 1
"""
