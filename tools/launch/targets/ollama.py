"""Ollama: a Modelfile an engine, the settings of each server, and scripts that make, load and check the models."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

from tools.errors import BadValue
from tools.launch.argv.llamacpp import MADE, cache_type, is_made, made_name
from tools.launch.argv.ollama import (
    ONE_AT_A_TIME,
    is_name,
    model_source,
    modelfile_line,
    parameters,
    server_settings,
    shown_cards,
)
from tools.launch.checks.ollama import check_modelfiles, check_settings
from tools.launch.checks.shell import check_shell
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit
from tools.launch.local_scripts import (
    awake,
    begin,
    comments,
    conversions,
    enough,
    enough_lines,
    is_unified,
    made_function,
    make_files,
    needs,
    readme_words,
    say,
    weight_bytes,
)
from tools.launch.readme import readme
from tools.launch.supervision import supervised, until_stopped

FIRST_PORT = 11_434
"""Ollama's own port (``Host``, ``envconfig/config.go``); further servers take the next ones."""


@dataclass(frozen=True, slots=True)
class Server:
    """One Ollama: the engines it serves have the same cards and the same settings.

    Attributes:
        settings: its environment.
        file: name of the file with these.
    """

    name: str
    units: tuple[Unit, ...]
    settings: dict[str, str]

    @property
    def file(self) -> str:
        """Name of the file with its settings."""
        return f"{self.name}.env"

    @property
    def address(self) -> str:
        """Where it answers."""
        return self.settings["OLLAMA_HOST"]

    @property
    def first(self) -> tuple[Unit, ...]:
        """What it loads at once, in order."""
        return awake(self.units)


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return a Modelfile an engine, an ``.env`` file a server, the scripts, systemd's drop-in and ``README.md``."""
    named, started = model_names(job), servers(job)
    made = [LaunchFile(f"Modelfile.{unit.name}", _modelfile(job, unit)) for unit in job.units]
    made += [LaunchFile(server.file, _env(job, server)) for server in started]
    made.append(LaunchFile("start-all.sh", _start_all_sh(job, started), executable=True))
    made.append(LaunchFile("create.sh", _create_sh(job, started, named), executable=True))
    if len(started) == 1:
        made.append(LaunchFile("systemd/ollama.service.d/rigfit.conf", _dropin(job, started[0])))
    made += make_files(job, conversions(job))
    made.append(LaunchFile("README.md", _readme(job, started, named)))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    return (
        check_modelfiles(file.content for file in made if file.path.startswith("Modelfile.")),
        check_settings(server.settings for server in servers(job)),
        *check_shell(made),
    )


def model_names(job: Job) -> dict[str, tuple[str, ...]]:
    """Return the names of models in Ollama by engine: those that are served where Ollama takes them, else the engine's.

    Ollama compares names without regard to case (``EqualFold``, ``types/model/name.go``).
    """
    taken: set[str] = set()
    found: dict[str, tuple[str, ...]] = {}
    for unit in job.units:
        own: dict[str, str] = {}
        for name in filter(is_name, unit.instance.served_names):
            if name.lower() not in taken:
                own.setdefault(name.lower(), name)
        own = own or {unit.name: unit.name}
        taken |= own.keys()
        found[unit.name] = tuple(own.values())
    return found


def servers(job: Job) -> tuple[Server, ...]:
    """Return the servers that the job needs, in start order.

    A server has one number of sequences, one type of cache and one view of the cards for all its models, and holds a
    file only once (``schedulerModelKey``, ``server/sched.go``): engines that differ in these get servers of their own.
    Engines that take turns on a card have one together, whose scheduler sees to the turns.

    Raises:
        BadValue: engines that take turns differ in sequences or cache.
    """
    groups: dict[object, list[Unit]] = {}
    for unit in job.units:
        turns = _in_turns(job, unit)
        before = sum(_same_file(unit, other) for units in groups.values() for other in units)
        groups.setdefault(turns or (unit.devices, _settings(unit), before), []).append(unit)
    for units in groups.values():
        other = next((unit for unit in units if _settings(unit) != _settings(units[0])), None)
        if other is not None:
            raise BadValue("launch_local.cannot_take_turns", first=units[0].name, second=other.name)
    return tuple(_server(job, units, index, len(groups)) for index, units in enumerate(groups.values()))


def _in_turns(job: Job, unit: Unit) -> frozenset[str]:
    """Names of the engines that a server of its own would disturb: those linked by cards, if any of them sleeps."""
    linked, cards = {unit.name}, set(unit.devices)
    while more := [u for u in job.units if u.name not in linked and cards & set(u.devices)]:
        linked |= {u.name for u in more}
        cards |= {device for u in more for device in u.devices}
    return frozenset(linked if any(u.sleeps for u in job.units if u.name in linked) else ())


def _settings(unit: Unit) -> tuple[object, ...]:
    deployment = unit.instance.deployment
    return deployment.max_num_seqs or 1, cache_type(deployment.kv_dtype), deployment.options.flash_attention


def _same_file(unit: Unit, other: Unit) -> bool:
    return model_source(unit.checkpoint) == model_source(other.checkpoint)


def _server(job: Job, units: list[Unit], index: int, count: int) -> Server:
    awake = sum(not unit.sleeps for unit in units)
    cards = sorted({device for unit in units for device in unit.devices})
    load_s = max(unit.load_s for unit in units)
    settings = {
        "OLLAMA_HOST": f"127.0.0.1:{FIRST_PORT + index}",
        **shown_cards(units[0].vendor, cards, cpu=job.choices.cpu, unified=any(map(is_unified, units))),
        **server_settings([unit.instance for unit in units], loaded=max(1, awake), load_s=load_s),
    }
    return Server("ollama" if count == 1 else f"ollama-{units[0].name}", tuple(units), settings)


def _modelfile(job: Job, unit: Unit) -> str:
    notes = list(header(job, unit))
    if unit.instance.deployment.model.model_type in ONE_AT_A_TIME:
        notes.append(job.say("launch_local.ollama_one"))
    if not is_made(unit.checkpoint):
        notes.append(job.say("launch_local.ollama_sharded"))
    lines = [
        comments(*notes),
        modelfile_line("FROM", model_source(unit.checkpoint)),
        *(
            modelfile_line("PARAMETER", name, str(value))
            for name, value in parameters(unit.instance, cpu=job.choices.cpu).items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _env(job: Job, server: Server) -> str:
    lines = [f"{name}={value}" for name, value in server.settings.items()]
    return "\n".join([comments(*_header(job, server), job.say("launch_local.ollama_env")), *lines]) + "\n"


def _header(job: Job, server: Server) -> tuple[str, ...]:
    return header(replace(job, units=server.units))


def _dropin(job: Job, server: Server) -> str:
    lines = [f'Environment="{name}={value}"' for name, value in server.settings.items()]
    return (
        "\n".join([comments(*_header(job, server), job.say("launch_local.ollama_dropin")), "[Service]", *lines]) + "\n"
    )


def _start_all_sh(job: Job, started: tuple[Server, ...]) -> str:
    awake = [unit for server in started for unit in server.first]
    starts = "\n".join(shlex.join(["start", server.file, server.address]) for server in started)
    checks = "\n".join([enough(job), *enough_lines(job, awake)])
    return f"""\
{begin(job, job.say("launch_local.ollama_start"))}
{needs(job, "ollama", "curl")}
mkdir -p logs

{supervised(job)}
{checks}

start() {{ # SETTINGS ADDRESS
    local log=logs/${{1%.env}}.log
    if quietly curl -s --max-time 2 "http://$2/"; then
        echo "$2:" {say(job, "ollama_running")} >&2
        exit 1
    fi
    (
        set -a
        # shellcheck disable=SC1090  # one of the files beside this script
        . "./$1"
        exec ollama serve
    ) >"$log" 2>&1 &
    pids+=("$!")
    until quietly curl -sf --max-time 5 "http://$2/api/version"; do
        if ! all_alive; then
            tail -n 30 "$log" >&2
            echo {say(job, "launch.died")} "$log" >&2
            exit 1
        fi
        quietly sleep 1
    done
}}
{starts}
./create.sh

{until_stopped(job)}"""


def _create_sh(job: Job, started: tuple[Server, ...], named: dict[str, tuple[str, ...]]) -> str:
    steps = "\n".join(step for server in started for step in _steps(job, server, named))
    return f"{begin(job, job.say('launch_local.ollama_create'))}\n{_create_functions(job)}{steps}\n"


def _create_functions(job: Job) -> str:
    return f"""\
on() {{ # ADDRESS
    export OLLAMA_HOST=$1
    if ! curl -sf -o /dev/null --max-time 5 "http://$1/api/version"; then
        echo {say(job, "ollama_not_running")} "$1" >&2
        exit 1
    fi
}}

room() {{ # MODEL KIB
    local store=${{OLLAMA_MODELS:-$HOME/.ollama/models}} free
    if [[ ! -d $store ]] || ollama show "$1" >/dev/null 2>&1; then return; fi
    free=$(df -Pk "$store" | awk 'NR == 2 {{ print $4 }}')
    printf '%s: %d MiB; %s: %d MiB\\n' {say(job, "to_fetch")} $(($2 / 1024)) {say(job, "disk_free")} $((free / 1024))
    if (($2 > free)); then
        echo {say(job, "ollama_no_disk")} >&2
        exit 1
    fi
}}

{made_function(job)}
loaded() {{ # MODEL PLACED
    local row
    ollama run "$1" "" </dev/null >/dev/null
    row=$(ollama ps | awk -v name="$1" '$1 == name || $1 == name ":latest"')
    echo "$row"
    if [[ $row != *"$2"* ]]; then
        echo "$1" {say(job, "ollama_elsewhere")} >&2
        ollama ps >&2
        exit 1
    fi
}}
"""


def _steps(job: Job, server: Server, named: dict[str, tuple[str, ...]]) -> list[str]:
    steps = ["", shlex.join(["on", server.address])]
    for unit in server.units:
        name, *others = named[unit.name]
        source = model_source(unit.checkpoint)
        if is_made(unit.checkpoint):
            steps.append(shlex.join(["made", MADE + made_name(unit.checkpoint)]))
        else:
            steps.append(shlex.join(["room", source, str(math.ceil(weight_bytes(unit) / 1024))]))
            steps.append(shlex.join(["ollama", "pull", source]))
        steps.append(shlex.join(["ollama", "create", name, "-f", f"Modelfile.{unit.name}"]))
        steps += [shlex.join(["ollama", "cp", name, other]) for other in others]
    return [*steps, *(shlex.join(["loaded", named[unit.name][0], _placed(job, unit)]) for unit in server.first)]


def _placed(job: Job, unit: Unit) -> str:
    """What ``ollama ps`` says of it where all is as planned (``cmd/cmd.go``); a part in RAM has no fixed number."""
    layers = unit.instance.deployment.options.gpu_layers
    if job.choices.cpu or layers == 0:
        return "100% CPU"
    return "100% GPU" if layers is None else "CPU/GPU"


def _readme(job: Job, started: tuple[Server, ...], named: dict[str, tuple[str, ...]]) -> str:
    bases = {unit.name: f"http://{server.address}" for server in started for unit in server.units}
    units = (replace(u, instance=replace(u.instance, served_names=named[u.name])) for u in job.units)
    keyless = replace(job.choices, open=False)
    return readme(
        replace(job, units=tuple(units), choices=keyless),
        "ollama",
        bases=bases,
        servers=started,
        **readme_words(job),
    )
