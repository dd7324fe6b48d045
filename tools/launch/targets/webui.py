"""text-generation-webui: a page for each model, loaded as planned, started in order on ports of their own."""

from __future__ import annotations

import shlex
from typing import Any

from tools.launch.argv.llamacpp import device_environment, gguf_type
from tools.launch.argv.webui import folder_name, loader_of, must_be_made, webui_flags
from tools.launch.argv.words import FlagValue
from tools.launch.checks.shell import check_shell
from tools.launch.checks.webui import check_cmd_flags, check_user_config, recorded
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit
from tools.launch.readme import readme
from tools.launch.webui_scripts import FETCH
from tools.launch.yaml_text import comment_line, dump

FIRST_PAGE, FIRST_API = 7860, 5000
"""Ports of the first page and of its API, the page's own defaults; the next model has the next ones."""

FIRST_DATA = "user_data"
"""Folder of the first page's settings, and of every model's weights."""


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return a ``CMD_FLAGS.txt`` for each model, one ``config-user.yaml``, what fetches and starts, and a README."""
    made = [
        LaunchFile(f"{data_folder(job, unit)}/CMD_FLAGS.txt", _cmd_flags(job, number, unit))
        for number, unit in enumerate(job.units)
    ]
    made += [
        LaunchFile(f"{FIRST_DATA}/models/config-user.yaml", _user_config(job)),
        LaunchFile("fetch_models.py", "\n".join(f"# {comment_line(line)}" for line in header(job)) + "\n" + FETCH),
        LaunchFile("start-models.sh", _start(job), executable=True),
    ]
    bases = {unit.name: f"http://127.0.0.1:{FIRST_API + number}" for number, unit in enumerate(job.units)}
    made.append(LaunchFile("README-rigfit.md", readme(job, "webui", bases=bases, **_more(job))))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    flags = tuple(check_cmd_flags(file.path, file.content) for file in made if file.path.endswith("CMD_FLAGS.txt"))
    config = next(file.content for file in made if file.path.endswith("config-user.yaml"))
    return (*flags, check_user_config(config), *check_shell(made))


def data_folder(job: Job, unit: Unit) -> str:
    """Return the folder of a page's settings; the second and later pages have one each."""
    return FIRST_DATA if unit is job.units[0] else f"{FIRST_DATA}-{unit.name}"


def _cmd_flags(job: Job, number: int, unit: Unit) -> str:
    """The flags, one a line; the page joins the lines and reads them as a shell would."""
    flags: dict[str, FlagValue] = {
        **webui_flags(unit.instance),
        "model-dir": f"{FIRST_DATA}/models",
        "listen-port": FIRST_PAGE + number,
        "api": True,
        "api-port": FIRST_API + number,
    }
    if job.choices.open:
        flags["listen"] = True
    lines = [f"# {comment_line(line)}" for line in header(job, unit)]
    for name, value in flags.items():
        lines.append(f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}")
    return "\n".join(lines) + "\n"


def _user_config(job: Job) -> str:
    """The same settings for the page's model menu, by a pattern that only the model's folder matches."""
    table: dict[str, Any] = {}
    for unit in job.units:
        settings = _settings(webui_flags(unit.instance))
        table.setdefault(f"{_escaped(folder_name(unit.checkpoint).lower())}$", settings)
    return dump(table, header=header(job), dollar="$")


def _settings(flags: dict[str, FlagValue]) -> dict[str, Any]:
    loader = str(flags["loader"])
    known = recorded()["loaders"][loader]
    found: dict[str, Any] = {"loader": loader}
    for name, value in flags.items():
        key = recorded()["flags"][f"--{name}"]["dest"]
        if key in known:
            found[key] = value
    return found


def _escaped(name: str) -> str:
    """A name of ``[a-z0-9_.-]`` as a pattern that is matched from its start."""
    return name.replace(".", "\\.")


def _fetch_words(job: Job) -> list[str]:
    """For each model folder once: repository, revision, folder, GGUF type, bytes."""
    words: dict[str, list[str]] = {}
    for unit in job.units:
        checkpoint = unit.checkpoint
        if not must_be_made(checkpoint):
            kind = gguf_type(checkpoint) if loader_of(checkpoint) == "llama.cpp" else ""
            folder = folder_name(checkpoint)
            size = str(checkpoint.file_bytes or 0)
            words[folder] = [checkpoint.repo, checkpoint.revision or "", f"{FIRST_DATA}/models/{folder}", kind, size]
    return [word for row in words.values() for word in row]


_SAID = ("starting", "died", "late", "ready", "stopping", "busy", "not_here", "made_first", "nothing")


def _start(job: Job) -> str:
    say = {name: shlex.quote(job.say(f"launch_webui.{name}")) for name in _SAID}
    calls = "\n".join(_call(job, number, unit) for number, unit in enumerate(job.units))
    awake = shlex.join(unit.name for unit in job.units if not unit.sleeps)
    fetched = _fetch_words(job)
    fetch = f"python3 fetch_models.py {shlex.join(fetched)}" if fetched else ":"
    comments = "\n".join(f"# {comment_line(line)}" for line in (*header(job), job.say("launch_webui.start")))
    return _START.format(comments=comments, say=say, calls=calls, awake=awake, fetch=fetch, first=FIRST_DATA)


def _call(job: Job, number: int, unit: Unit) -> str:
    visible = [f"{name}={value}" for name, value in device_environment(unit.vendor, unit.devices).items()]
    words = [unit.name, data_folder(job, unit), folder_name(unit.checkpoint), str(FIRST_API + number), str(unit.load_s)]
    return shlex.join(["start_wanted", *words, *visible])


def _more(job: Job) -> dict[str, Any]:
    """What the README says beside what every README does."""
    made = {folder_name(u.checkpoint): u.checkpoint for u in job.units if must_be_made(u.checkpoint)}
    return {
        "pages": [
            {
                "name": unit.name,
                "page": f"http://127.0.0.1:{FIRST_PAGE + number}",
                "data": data_folder(job, unit),
                "loader": loader_of(unit.checkpoint),
                "folder": folder_name(unit.checkpoint),
            }
            for number, unit in enumerate(job.units)
        ],
        "conversions": [_conversion(folder, checkpoint) for folder, checkpoint in made.items()],
    }


def _conversion(folder: str, checkpoint: Any) -> dict[str, str]:
    """The commands that make a GGUF file: to 16 bits (or Q8_0) at once, other types through a 16-bit file."""
    kind = gguf_type(checkpoint)
    source, made = f"{FIRST_DATA}/models/{folder}-source", f"{FIRST_DATA}/models/{folder}"
    direct = kind.lower() if kind in {"BF16", "F16", "F32", "Q8_0"} else "bf16"
    convert = ["python3", "llama.cpp/convert_hf_to_gguf.py", source, "--outtype", direct, "--outfile"]
    lines = [
        shlex.join(["hf", "download", checkpoint.repo, "--local-dir", source]),
        shlex.join(["mkdir", "-p", made]),
    ]
    if kind.lower() == direct:
        lines.append(shlex.join([*convert, f"{made}/model-{kind}.gguf"]))
    else:
        lines.append(shlex.join([*convert, f"{source}/model-BF16.gguf"]))
        lines.append(shlex.join(["llama-quantize", f"{source}/model-BF16.gguf", f"{made}/model-{kind}.gguf", kind]))
    return {"folder": folder, "repo": checkpoint.repo, "kind": kind, "commands": "\n".join(lines)}


_START = """\
#!/usr/bin/env bash
{comments}
set -euo pipefail
set -m
cd "$(dirname "${{BASH_SOURCE[0]}}")"
if [[ ! -f start_linux.sh || ! -f server.py ]]; then
    echo {say[not_here]} >&2
    exit 1
fi
mkdir -p logs

wanted=("$@")
if ((${{#wanted[@]}} == 0)); then wanted=({awake}); fi

pids=()
secret=()
if [[ -n ${{WEBUI_API_KEY:-}} ]]; then secret=(--api-key "$WEBUI_API_KEY"); fi

# shellcheck disable=SC2317,SC2329  # the traps call it
stop() {{
    trap - EXIT
    trap '' INT TERM
    echo {say[stopping]}
    for pid in "${{pids[@]}}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

loaded() {{ # API_PORT MODEL
    curl -sf --max-time 5 -H "Authorization: Bearer ${{WEBUI_API_KEY:-}}" \\
        "http://127.0.0.1:$1/v1/internal/model/info" 2>/dev/null | grep -qF "\\"$2\\""
}}

start() {{ # NAME DATA MODEL API_PORT LIMIT_S [VARIABLE=VALUE ...]
    local name=$1 data=$2 model=$3 port=$4 limit=$5
    shift 5
    echo {say[starting]} "$name (logs/$name.log)"
    if curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$port/"; then
        echo {say[busy]} "$port" >&2
        exit 1
    fi
    if [[ ! -d {first}/models/$model ]]; then
        echo {say[made_first]} "{first}/models/$model" >&2
        exit 1
    fi
    if [[ $data != {first} ]]; then
        for part in {first}/*; do
            if [[ $part != {first}/models && $part != {first}/CMD_FLAGS.txt ]]; then cp -rn "$part" "$data/"; fi
        done
    fi
    env "$@" ./start_linux.sh --user-data-dir "$data" "${{secret[@]}}" >"logs/$name.log" 2>&1 &
    local pid=$! deadline=$((SECONDS + limit))
    pids+=("$pid")
    until loaded "$port" "$model"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 30 "logs/$name.log" >&2
            echo {say[died]} "logs/$name.log" >&2
            exit 1
        fi
        if ((SECONDS > deadline)); then
            echo {say[late]} "logs/$name.log" >&2
            exit 1
        fi
        sleep 2
    done
}}

start_wanted() {{
    local one
    for one in "${{wanted[@]}}"; do
        if [[ $one == "$1" ]]; then start "$@"; fi
    done
}}

{fetch}

{calls}

if ((${{#pids[@]}} == 0)); then
    echo {say[nothing]} >&2
    exit 2
fi
echo {say[ready]}
wait -n || true
echo {say[died]} logs/ >&2
exit 1
"""
