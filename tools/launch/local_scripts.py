"""Shell that plain scripts share: starting and stopping engines, fetching and converting GGUF files, asking cards."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tools.domain import Checkpoint
from tools.launch.argv.llamacpp import MADE, device_environment, gguf_type, is_made, llamacpp_flags, made_name
from tools.launch.files import LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit
from tools.launch.yaml_text import comment_line
from tools.units import MIB

LOCAL = "127.0.0.1"

CONVERTED = {"F32": "f32", "F16": "f16", "BF16": "bf16", "Q8_0": "q8_0", "MXFP4": "auto"}
"""Types that ``convert_hf_to_gguf.py --outtype`` writes by itself; others are made from BF16 by ``llama-quantize``."""


def comments(*lines: str) -> str:
    """Return lines of shell comment."""
    return "\n".join(f"# {comment_line(line)}".rstrip() for line in lines)


def begin(job: Job, *lines: str, unit: Unit | None = None) -> str:
    """Return how every script begins: the comment, strictness, its own folder as the working one."""
    return (
        f"#!/usr/bin/env bash\n{comments(*header(job, unit), *lines)}\nset -euo pipefail\n"
        'cd -- "$(dirname -- "${BASH_SOURCE[0]}")"\n'
    )


def cards_of(job: Job, unit: Unit) -> Mapping[str, str]:
    """Return the variables that show an engine its cards only; none where it runs on the processor."""
    return dict[str, str]() if job.choices.cpu else device_environment(unit.vendor, unit.devices)


def is_unified(unit: Unit) -> bool:
    """Whether a card of an engine shares the processor's memory."""
    return any(gpu.unified for gpu in unit.gpus)


def readme_words(job: Job) -> dict[str, Any]:
    """Return what ``templates/gguf.*.md.j2`` names beside the usual."""
    return {
        "converted": any(is_made(checkpoint) for checkpoint in job.checkpoints),
        "unified": any(map(is_unified, job.units)) and not job.choices.cpu,
        "asks": asks_cards(job),
    }


def say(job: Job, code: str, **params: str) -> str:
    """Return a message as one word of shell; a code without a dot is one of ``launch_local``."""
    return shlex.quote(comment_line(job.say(code if "." in code else f"launch_local.{code}", **params)))


def awake(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Return the engines that start at once; of those that all take turns, the last."""
    return tuple(unit for unit in units if not unit.sleeps) or tuple(units[-1:])


def key_needed(job: Job, *variables: str) -> list[str]:
    """Return the lines that end a script where other machines may ask and a secret is not set."""
    lines: list[str] = []
    for name in variables if job.choices.open else ():
        lines += [
            f"if [[ -z ${{{name}:-}} ]]; then",
            f"    echo {say(job, 'needs_key', variable=name)} >&2",
            "    exit 1",
            "fi",
            f"export {name}",
        ]
    return lines


def needs(job: Job, *tools: str) -> str:
    """Return the lines that end a script where a program is not there."""
    return f"""\
for tool in {shlex.join(tools)}; do
    command -v "$tool" >/dev/null || {{ echo {say(job, "launch.no_tool")} "$tool" >&2; exit 1; }}
done"""


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
    trap '' INT TERM
    echo {say(job, "launch.stopping")}
{stopping}
}}
trap stop EXIT
trap 'exit 130' INT
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


def fetch_files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``fetch.sh`` and, where a file has to be converted, ``make-gguf.sh``."""
    return (LaunchFile("fetch.sh", _fetch_sh(job), executable=True), *make_files(job, conversions(job)))


def make_files(job: Job, made: Sequence[Conversion]) -> tuple[LaunchFile, ...]:
    """Return ``make-gguf.sh`` where something has to be converted."""
    return (LaunchFile("make-gguf.sh", make_gguf_sh(job, made), executable=True),) if made else ()


def _fetch_sh(job: Job) -> str:
    fetched = [unit for unit in job.units if not is_made(unit.checkpoint)]
    lines = [begin(job, job.say("launch_local.fetch")), _made_first(job)]
    if fetched:
        sizes = "\n".join(shlex.join(["missing", folder, str(kib)]) for folder, kib in sorted(_folders(fetched)))
        fetch = "\n".join(dict.fromkeys(f"    {shlex.join(_download(unit))}" for unit in fetched))
        lines.append(f"""
{comments(job.say("launch_local.cache"))}
cache=${{LLAMA_CACHE:-${{HF_HUB_CACHE:-${{HF_HOME:+$HF_HOME/hub}}}}}}
cache=${{cache:-${{XDG_CACHE_HOME:-$HOME/.cache}}/huggingface/hub}}
mkdir -p "$cache"

needed=0
missing() {{ # FOLDER KIB
    local have=0
    if [[ -d $cache/$1 ]]; then have=$(du -sk "$cache/$1" | cut -f 1); fi
    if ((have < $2)); then needed=$((needed + $2 - have)); fi
}}
{sizes}
free=$(df -Pk "$cache" | awk 'NR == 2 {{ print $4 }}')
printf '%s: %d MiB; %s: %d MiB\\n' {say(job, "to_fetch")} $((needed / 1024)) {say(job, "disk_free")} $((free / 1024))
if ((needed > free)); then
    echo {say(job, "no_disk")} >&2
    exit 1
fi
if command -v llama >/dev/null; then
{fetch}
else
    echo {say(job, "fetched_later")}
fi
""")
    return "".join(lines)


def _download(unit: Unit) -> list[str]:
    """What ``llama-server`` would fetch with the same flags."""
    flags = llamacpp_flags(unit.instance)
    return ["llama", "download", "--hf-repo", str(flags["hf-repo"]), *["--no-mmproj"] * ("no-mmproj" in flags)]


def _folders(units: Iterable[Unit]) -> Iterable[tuple[str, int]]:
    """Folders of the hub's cache with the KiB that belong into them."""
    sizes: dict[str, dict[str, int]] = {}
    for unit in units:
        repo = "models--" + unit.checkpoint.repo.replace("/", "--")
        sizes.setdefault(repo, {})[gguf_type(unit.checkpoint)] = weight_bytes(unit)
    return [(repo, math.ceil(sum(types.values()) / 1024)) for repo, types in sizes.items()]


def weight_bytes(unit: Unit) -> int:
    """Bytes of the file: as published, else about what the cards hold of it."""
    return unit.checkpoint.file_bytes or unit.instance.footprint.parameter_bytes * max(1, len(unit.devices))


def _made_first(job: Job) -> str:
    calls = made_calls(step.file for step in conversions(job))
    return f"\n{made_function(job)}{calls}\n" if calls else ""


def made_calls(files: Iterable[str]) -> str:
    """Return a call of ``made`` for each file."""
    return "\n".join(shlex.join(["made", file]) for file in sorted(set(files)))


def made_function(job: Job) -> str:
    """Return the function ``made FILE``, which ends a script where a converted file is not there yet."""
    return f"""\
made() {{ # FILE
    if [[ ! -e $1 ]]; then
        echo {say(job, "not_made")} "$1" >&2
        exit 1
    fi
}}
"""


class Conversion(NamedTuple):
    """A GGUF file that is made of a repository: the folder that this is fetched into, and the file."""

    checkpoint: Checkpoint
    source: str
    file: str


def conversions(job: Job) -> list[Conversion]:
    """Return what has to be converted before the engines start."""
    made = {made_name(one): one for one in job.checkpoints if is_made(one)}
    return [
        Conversion(one, MADE + name.removesuffix(f"-{gguf_type(one)}.gguf"), MADE + name)
        for name, one in sorted(made.items())
    ]


def make_gguf_sh(job: Job, made: Iterable[Conversion]) -> str:
    """Return the script that converts repositories of which no GGUF file is known."""
    steps = "\n".join(shlex.join(_step(conversion)) for conversion in made)
    return f"""{begin(job, job.say("launch_local.make_gguf"))}
if [[ ! -e ${{LLAMA_CPP:-}}/convert_hf_to_gguf.py ]]; then
    echo {say(job, "no_source")} >&2
    exit 1
fi

make() {{ # REPOSITORY FOLDER FILE WRITTEN_AS TYPE
    if [[ -e $3 ]]; then return; fi
    mkdir -p "$(dirname "$3")"
    hf download "$1" --local-dir "$2" --exclude 'original/*' --exclude '*.gguf' --exclude '*.pth'
    python3 "$LLAMA_CPP/convert_hf_to_gguf.py" "$2" --outtype "$4" --outfile "$3.part"
    if [[ -n $5 ]]; then
        llama-quantize "$3.part" "$3.quantised" "$5"
        mv "$3.quantised" "$3.part"
    fi
    mv "$3.part" "$3"
}}
{steps}
"""


def _step(made: Conversion) -> list[str]:
    kind = gguf_type(made.checkpoint)
    quantised = "" if kind in CONVERTED else kind
    return ["make", made.checkpoint.repo, made.source, made.file, CONVERTED.get(kind, "bf16"), quantised]


ENOUGH = """\
enough() {{ # CARD MIB
    local free
    free=$(nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits --id="$1" 2>/dev/null) || return 0
    if [[ $free =~ ^[0-9]+$ ]] && ((free < $2)); then
        echo {card} "$1: $free MiB" {free} "$2 MiB" {needed} >&2
        exit 1
    fi
}}
"""
"""A card's free memory; where ``nvidia-smi`` can't tell (no permission, memory shared with the processor) it passes."""


def enough(job: Job) -> str:
    """Return the shell function ``enough CARD MIB``, which ends the script where a card has too little free memory."""
    words = {name: say(job, f"enough_{name}") for name in ("card", "free", "needed")}
    return ENOUGH.format(**words) if asks_cards(job) else ""


def asks_cards(job: Job) -> bool:
    """Whether the cards' free memory can be asked for."""
    return job.vendor == "nvidia" and not job.choices.cpu


def enough_lines(job: Job, units: Iterable[Unit]) -> list[str]:
    """Return a call of ``enough`` for each card of engines that start together."""
    if not asks_cards(job):
        return []
    needed: dict[int, int] = {}
    for unit in units:
        for card, device in zip(unit.instance.gpu_indices, unit.devices, strict=True):
            needed[device] = needed.get(device, 0) + unit.instance.bytes_on(card)
    return [f"enough {device} {math.ceil(size / MIB)}" for device, size in sorted(needed.items())]
