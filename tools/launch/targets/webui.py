"""text-generation-webui: a page for each model, loaded as planned, started in order on ports of their own."""

from __future__ import annotations

import shlex
from typing import Any

from tools.domain import Checkpoint
from tools.launch.argv.llamacpp import device_environment, gguf_type
from tools.launch.argv.webui import folder_name, loader_of, must_be_made, webui_flags
from tools.launch.argv.words import FlagValue
from tools.launch.checks.shell import check_shell
from tools.launch.checks.webui import check_cmd_flags, check_user_config, recorded
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit
from tools.launch.local_scripts import (
    LOCAL,
    Conversion,
    begin,
    comments,
    enough,
    enough_lines,
    key_needed,
    made_calls,
    made_function,
    make_files,
    readme_words,
    weight_bytes,
)
from tools.launch.readme import readme
from tools.launch.supervision import begun, not_yet, start_each, supervised, until_stopped
from tools.launch.webui_scripts import FETCH
from tools.launch.yaml_text import dump

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
        LaunchFile("fetch_models.py", comments(*header(job)) + "\n" + FETCH),
        LaunchFile("start-models.sh", _start(job), executable=True),
        *make_files(job, _conversions(job)),
    ]
    bases = {unit.name: f"http://{LOCAL}:{FIRST_API + number}" for number, unit in enumerate(job.units)}
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
    lines = [comments(*header(job, unit))]
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
            size = str(checkpoint.file_bytes or (0 if checkpoint.in_flight else weight_bytes(unit)))
            words[folder] = [checkpoint.repo, checkpoint.revision or "", f"{FIRST_DATA}/models/{folder}", kind, size]
    return [word for row in words.values() for word in row]


def _start(job: Job) -> str:
    steps = {unit.name: _steps(job, number, unit) for number, unit in enumerate(job.units)}
    script = "start_macos.sh" if job.vendor == "apple" else "start_linux.sh"
    return f"""\
{begin(job, job.say("launch_webui.start"))}
set -m
if [[ ! -f {script} || ! -f server.py ]]; then
    echo {shlex.quote(job.say("launch_webui.not_here", script=script))} >&2
    exit 1
fi
{NEWLINE.join([*key_needed(job, "WEBUI_API_KEY", "WEBUI_LOGIN"), *_fetch(job)])}
mkdir -p logs

{supervised(job, groups=True)}
{made_function(job) if _conversions(job) else ""}
{enough(job)}
{_start_function(job, script)}
{start_each(job, steps)}
{until_stopped(job)}"""


NEWLINE = "\n"


def _fetch(job: Job) -> list[str]:
    """The page's own Python has what fetches from the hub."""
    words = _fetch_words(job)
    if not words:
        return []
    return [
        "python=installer_files/env/bin/python",
        "if [[ ! -x $python ]]; then python=python3; fi",
        f'"$python" {shlex.join(["fetch_models.py", *words])}',
    ]


def _start_function(job: Job, script: str) -> str:
    return f"""\
loaded() {{ # API_PORT MODEL
    curl -sf --max-time 5 -H "Authorization: Bearer ${{WEBUI_API_KEY:-}}" \\
        "http://{LOCAL}:$1/v1/internal/model/info" 2>/dev/null | grep -qF "\\"$2\\""
}}

start() {{ # NAME API_PORT LIMIT_S DATA MODEL [VARIABLE=VALUE ...]
{begun(job)}
    local port=$2 limit=$3 data=$4 model=$5 words=(--user-data-dir "$4")
    if [[ -n ${{WEBUI_API_KEY:-}} ]]; then words+=(--api-key "$WEBUI_API_KEY"); fi
    if [[ -n ${{WEBUI_LOGIN:-}} ]]; then words+=(--gradio-auth "$WEBUI_LOGIN"); fi
    if [[ $data != {FIRST_DATA} ]]; then
        for part in {FIRST_DATA}/*; do
            if [[ $part != {FIRST_DATA}/models && ! -e $data/${{part##*/}} ]]; then cp -r "$part" "$data/"; fi
        done
    fi
    env "${{@:6}}" ./{script} "${{words[@]}}" >"logs/$1.log" 2>&1 &
    local pid=$! since=$SECONDS
    pids+=("$pid")
    until loaded "$port" "$model"; do
{not_yet(job, "limit")}
    done
}}
"""


def _steps(job: Job, number: int, unit: Unit) -> list[str]:
    visible = [f"{name}={value}" for name, value in device_environment(unit.vendor, unit.devices).items()]
    port, folder = str(FIRST_API + number), folder_name(unit.checkpoint)
    words = [unit.name, port, str(unit.load_s), data_folder(job, unit), folder, *visible]
    made = made_calls([_conversion(unit.checkpoint).file] if must_be_made(unit.checkpoint) else [])
    return [*([made] if made else []), *enough_lines(job, [unit]), shlex.join(["start", *words])]


def _conversion(checkpoint: Checkpoint) -> Conversion:
    folder = folder_name(checkpoint)
    file = f"{FIRST_DATA}/models/{folder}/model-{gguf_type(checkpoint)}.gguf"
    return Conversion(checkpoint, f"rigfit-sources/{folder}", file)


def _conversions(job: Job) -> list[Conversion]:
    return [_conversion(checkpoint) for checkpoint in job.checkpoints if must_be_made(checkpoint)]


def _more(job: Job) -> dict[str, Any]:
    """What the README says beside what every README does."""
    pages = [
        {
            "name": unit.name,
            "page": f"http://{LOCAL}:{FIRST_PAGE + number}",
            "data": data_folder(job, unit),
            "loader": loader_of(unit.checkpoint),
        }
        for number, unit in enumerate(job.units)
    ]
    return {**readme_words(job), "converted": bool(_conversions(job)), "pages": pages}
