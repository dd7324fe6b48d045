"""Plain ``vllm serve`` scripts: one an engine, and one that starts them in order and stops them together."""

from __future__ import annotations

import shlex

from tools.launch import pins
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.words import wrapped
from tools.launch.checks.shell import check_shell
from tools.launch.checks.vllm import check_flags
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit, download_arguments
from tools.launch.readme import readme
from tools.launch.yaml_text import comment_line

_HOST = "127.0.0.1"


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return ``serve-<name>.sh`` for each engine, what starts them in order, ``README.md``, and perhaps ``swap.sh``."""
    made = [LaunchFile(f"serve-{unit.name}.sh", _serve_sh(job, unit), executable=True) for unit in job.units]
    made.append(LaunchFile("start-all.sh", _start_all_sh(job), executable=True))
    made.append(LaunchFile("download.py", DOWNLOAD))
    if job.swaps:
        made.append(LaunchFile("swap.sh", _swap_sh(job), executable=True))
    bases = {unit.name: f"http://{_HOST}:{unit.port}" for unit in job.units}
    made.append(LaunchFile("README.md", readme(job, "vllm", bases=bases)))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    return (check_flags(vllm_argv(unit.instance, host=_HOST, port=unit.port) for unit in job.units), *check_shell(made))


def _comments(*lines: str) -> str:
    return "\n".join(f"# {comment_line(line)}" for line in lines)


def _serve_sh(job: Job, unit: Unit) -> str:
    devices = "HIP_VISIBLE_DEVICES" if unit.vendor == "amd" else "CUDA_VISIBLE_DEVICES"
    environment = [f"export {devices}={shlex.quote(','.join(map(str, unit.devices)))}"]
    if unit.vendor == "nvidia":
        environment.insert(0, "export CUDA_DEVICE_ORDER=PCI_BUS_ID")
    if unit.can_sleep:
        environment.append("export VLLM_SERVER_DEV_MODE=1")
    notes = list(header(job, unit))
    if unit.needs_bnb:
        notes.append(job.say("launch.bnb", packages=" ".join(pins.BNB_PLUGIN)))
    notes.append(job.say("launch.serve_more"))
    lines = [
        "#!/usr/bin/env bash",
        _comments(*notes),
        "set -euo pipefail",
        *environment,
        f"exec {wrapped(vllm_argv(unit.instance, host=_HOST, port=unit.port))} \\",
        '    "$@"',
    ]
    return "\n".join(lines) + "\n"


_SAID = ("starting", "died", "late", "ready", "stopping", "busy")


def _start_all_sh(job: Job) -> str:
    fetch = shlex.join(["python3", "download.py", *download_arguments(job)])
    steps: list[str] = []
    for unit in job.units:
        steps.append(shlex.join(["start", unit.name, str(unit.port), str(unit.load_s)]))
        if unit.sleeps:
            steps.append(shlex.join(["put_to_sleep", unit.name, str(unit.port)]))
    ready = "\n".join(f"echo {shlex.quote(f'  {u.name}: http://{_HOST}:{u.port}/v1')}" for u in job.units)
    say = {name: shlex.quote(job.say(f"launch.{name}")) for name in _SAID}
    return f"""\
#!/usr/bin/env bash
{_comments(*header(job), job.say("launch.start_all"))}
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
mkdir -p logs
for tool in vllm python3 curl; do
    command -v "$tool" >/dev/null || {{ echo {shlex.quote(job.say("launch.no_tool"))} "$tool" >&2; exit 1; }}
done

pids=()

# shellcheck disable=SC2317,SC2329  # the traps call it
stop() {{
    trap - EXIT
    trap '' INT TERM
    echo {say["stopping"]}
    if ((${{#pids[@]}})); then
        kill -TERM "${{pids[@]}}" 2>/dev/null || true
        wait "${{pids[@]}}" 2>/dev/null || true
    fi
}}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

all_alive() {{
    local pid
    for pid in "${{pids[@]}}"; do kill -0 "$pid" 2>/dev/null || return 1; done
}}

start() {{ # NAME PORT LIMIT_S
    echo {say["starting"]} "$1 (logs/$1.log)"
    if curl -s -o /dev/null --max-time 2 "http://{_HOST}:$2/"; then
        echo {say["busy"]} "$2" >&2
        exit 1
    fi
    "./serve-$1.sh" >"logs/$1.log" 2>&1 &
    local pid=$! deadline=$((SECONDS + $3))
    pids+=("$pid")
    until curl -sf -o /dev/null --max-time 5 "http://{_HOST}:$2/health"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 30 "logs/$1.log" >&2
            echo {say["died"]} "logs/$1.log" >&2
            exit 1
        fi
        if ((SECONDS > deadline)); then
            echo {say["late"]} "logs/$1.log" >&2
            exit 1
        fi
        sleep 1
    done
}}
{_sleep_function(job)}
# {comment_line(job.say("launch.fetch"))}
{fetch}
export HF_HUB_OFFLINE=1

# {comment_line(job.say("launch.in_order"))}
{chr(10).join(steps)}

echo {say["ready"]}
{ready}
while all_alive; do sleep 1; done
echo {say["died"]} logs/ >&2
exit 1
"""


def _sleep_function(job: Job) -> str:
    if not job.swaps:
        return ""
    return f"""
put_to_sleep() {{ # NAME PORT
    curl -sf -o /dev/null -X POST "http://{_HOST}:$2/sleep?level=1&mode=wait"
}}
"""


def _swap_sh(job: Job) -> str:
    ports = "\n".join(f"    [{shlex.quote(u.name)}]={u.port}" for u in job.units if u.can_sleep)
    return f"""\
#!/usr/bin/env bash
{_comments(job.say("launch.swap"))}
set -euo pipefail
declare -A ports=(
{ports}
)
wanted=${{1:-}}
if [[ -z $wanted || -z ${{ports[$wanted]:-}} ]]; then
    echo "usage: $0 NAME    (${{!ports[*]}})" >&2
    exit 2
fi
for engine in "${{!ports[@]}}"; do
    if [[ $engine != "$wanted" ]]; then
        curl -sf -o /dev/null -X POST "http://{_HOST}:${{ports[$engine]}}/sleep?level=1&mode=wait"
    fi
done
curl -sf -o /dev/null -X POST "http://{_HOST}:${{ports[$wanted]}}/wake_up"
echo "$wanted"
"""
