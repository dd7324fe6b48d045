"""Shell that plain scripts share: how they begin, fetching and converting GGUF files, asking cards."""

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
