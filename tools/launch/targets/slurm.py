"""SLURM on vLLM: one job that starts the engines in order on its machines and stops them together.

An engine within one machine is a step of the job there; an engine across machines is a step with a task on each,
tensor parallel within and pipeline parallel across. vLLM's own processes connect the machines (``--nnodes``): its
packages no longer bring Ray (requirements/cuda.txt, 0.32). Where Ray is installed, ``BACKEND=ray`` uses it instead.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tools.launch import guard, pins, preflight
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.argv.words import wrapped
from tools.launch.checks.shell import check_shell
from tools.launch.checks.slurm import check_sbatch
from tools.launch.checks.vllm import check_flags
from tools.launch.cluster import check_even, cores, devices_on, ram_gib, workers
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.files import Check, LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit, download_arguments
from tools.launch.local_scripts import comments
from tools.launch.readme import readme
from tools.launch.supervision import supervised
from tools.launch.yaml_text import comment_line

BATCH = "rigfit.sbatch"

_FIRST_PORT, _PORTS = 20_000, 12_000
"""Ports that jobs choose from: above the well-known ones, below those that Linux gives to clients (32768)."""


def files(job: Job) -> tuple[LaunchFile, ...]:
    """Return the job's script, one for each engine, what they call, and ``README.md``.

    Raises:
        BadValue: an engine would have unequal shares of several machines; a flag that can't be built.
    """
    for unit in job.units:
        check_even(job, unit)
    made = [LaunchFile(BATCH, _batch(job), executable=True)]
    made += [LaunchFile(f"serve-{unit.name}.sh", _serve_sh(job, unit), executable=True) for unit in job.units]
    made.append(LaunchFile("environment.sh", _environment_sh(job)))
    made.append(LaunchFile("fetch.sh", _fetch_sh(job), executable=True))
    if job.swaps:
        made.append(LaunchFile("swap.sh", _swap_sh(job), executable=True))
    made.append(LaunchFile(guard.FILE, guard.PROGRAM))
    made.append(LaunchFile("preflight.py", preflight.program(job)))
    made.append(LaunchFile("download.py", DOWNLOAD))
    made.append(LaunchFile("README.md", _readme(job)))
    return tuple(made)


def check(job: Job, made: tuple[LaunchFile, ...]) -> tuple[Check, ...]:
    """Return what the validators say about the files of ``files(job)``."""
    commands = [[*argv_of(job, unit), *_span_words(unit, "0", "node", "1")] for unit in job.units]
    return (check_flags(commands), check_sbatch(made[0].content), *check_shell(made))


def argv_of(job: Job, unit: Unit) -> list[str]:
    """Return the words that start an engine, but for its port and its place among machines.

    Others may be on its machines, so every route asks for the key.
    """
    host = "0.0.0.0" if job.choices.open else "127.0.0.1"  # noqa: S104 - only where it was asked for
    return vllm_argv(unit.instance, host=host, gpus=unit.gpus, middleware=guard.CLASS)


def machines(job: Job) -> list[int]:
    """Return the machines that the job needs, by their index in the rig."""
    return sorted({node for unit in job.units for node in unit.nodes})


def cards_of(job: Job, node: int) -> list[int]:
    """Return the cards of a machine that are used, as they are counted there."""
    return sorted({d for unit in job.units if node in unit.nodes for d in devices_on(job, unit, node)})


def _directives(job: Job) -> str:
    """What SLURM is asked for; each machine the same, as much as the one that needs most."""
    here = {node: [unit for unit in job.units if node in unit.nodes] for node in machines(job)}
    wanted = {
        "job-name": "rigfit",
        "nodes": str(len(here)),
        "ntasks-per-node": "1",
        "cpus-per-task": str(max(sum(cores(job, unit) for unit in units) for units in here.values())),
        "mem": f"{max(sum(ram_gib(job, unit) for unit in units) for units in here.values())}G",
        "gres": f"gpu:{max(len(cards_of(job, node)) for node in here)}",
        "time": "08:00:00",
        "output": "rigfit-%j.log",
        # the script itself is told, two minutes before the time is up
        "signal": "B:TERM@120",
    }
    return "\n".join(f"#SBATCH --{name}={value}" for name, value in wanted.items())


def _batch(job: Job) -> str:
    stride = 2 * len(job.units)
    steps = "\n".join(_step(job, unit, index) for index, unit in enumerate(job.units))
    return f"""\
#!/usr/bin/env bash
{_directives(job)}
{comments(job.say("launch_cluster.site"))}
##SBATCH --partition=gpu
##SBATCH --account=NAME
{comments("", *header(job), job.say("launch_cluster.slurm"), job.say("launch_cluster.deepspeed"))}
set -euo pipefail
cd -- "${{SLURM_SUBMIT_DIR:?{_plain(job.say("launch_cluster.not_by_hand"))}}}"
. ./environment.sh
umask 077

{_state(job)}

{comments(job.say("launch_cluster.ports"))}
first_port=$(({_FIRST_PORT} + SLURM_JOB_ID % {_PORTS // stride} * {stride}))
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
{supervised(job)}
{_start_function(job)}
{comments(job.say("launch_cluster.fetch_first"))}
./fetch.sh
export HF_HUB_OFFLINE=1

{comments(job.say("launch.in_order"))}
{steps}

echo {shlex.quote(job.say("launch_cluster.ready"))}
cat "$state/engines"
while all_alive; do quietly sleep 1; done
echo {shlex.quote(job.say("launch.died"))} "$state/" >&2
exit 1
"""


def _state(job: Job) -> str:
    """Lines that make the folder of a job, with the key that its engines ask for."""
    return f"""\
state=job-$SLURM_JOB_ID
mkdir -p "$state"
export RIGFIT_STATE=$PWD/$state
{comments(job.say("launch_cluster.key"))}
if [[ -z ${{VLLM_API_KEY:-}} ]]; then
    VLLM_API_KEY=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')
fi
export VLLM_API_KEY
printf '%s\\n' "$VLLM_API_KEY" >"$state/api-key"
printf 'Authorization: Bearer %s\\n' "$VLLM_API_KEY" >"$state/header\""""


_SAID = ("starting", "died", "late")


def _start_function(job: Job) -> str:
    """Return the function that starts an engine on its machines and waits until it is ready."""
    say = {name: shlex.quote(job.say(f"launch.{name}")) for name in _SAID}
    return f"""\
start() {{ # NAME PORT LIMIT_S MACHINE...
    local name=$1 port=$2 deadline=$((SECONDS + $3)) where
    shift 3
    where=$(IFS=,; echo "$*")
    echo {say["starting"]} "$name ($where, $state/$name-0.log)"
    srun --overlap --nodes=$# --ntasks=$# --ntasks-per-node=1 --cpus-per-task="${{SLURM_CPUS_PER_TASK:-1}}" \\
        --nodelist="$where" --kill-on-bad-exit=1 --output="$state/$name-%t.log" \\
        "./serve-$name.sh" "$port" "$((port + 1))" "$@" &
    pids+=($!)
    until [[ -e $state/$name.ready ]]; do
        if ! all_alive; then
            tail -n 30 "$state/$name"-*.log >&2 || true
            echo {say["died"]} "$state/" >&2
            exit 1
        fi
        if ((SECONDS > deadline)); then
            echo {say["late"]} "$state/" >&2
            exit 1
        fi
        quietly sleep 1
    done
    printf '%s %s %s\\n' "$name" "$1" "$port" >>"$state/engines"
}}
"""


def _plain(text: str) -> str:
    """Text inside ``${NAME:?...}`` within double quotes, where nothing of it may act."""
    return comment_line(text).translate(dict.fromkeys(map(ord, '$`"\\{}'), None))


def _step(job: Job, unit: Unit, index: int) -> str:
    where = machines(job)
    nodes = " ".join(f'"${{nodes[{where.index(node)}]}}"' for node in unit.nodes)
    return f"start {shlex.quote(unit.name)} $((first_port + {2 * index})) {unit.load_s} {nodes}"


def _serve_sh(job: Job, unit: Unit) -> str:
    """Return the script of one engine, which each of its machines runs."""
    notes = [*header(job, unit), job.say("launch_cluster.serve")]
    if unit.needs_bnb:
        notes.append(job.say("launch.bnb", packages=" ".join(pins.BNB_PLUGIN)))
    share = preflight.arguments(job, unit)
    return f"""\
#!/usr/bin/env bash
{comments(*notes)}
set -euo pipefail
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"
. ./environment.sh
export PYTHONPATH="$PWD/guard${{PYTHONPATH:+:$PYTHONPATH}}"
port=$1
{_between(unit)}shift 2
nodes=("$@") rank=0
for index in "${{!nodes[@]}}"; do
    if [[ ${{nodes[index]}} == "${{SLURMD_NODENAME:-}}" ]]; then rank=$index; fi
done

{_cards(job, unit)}
python3 preflight.py {shlex.quote(share[0])} "$cards" {shlex.join(share[2:])}

engine=(
    {wrapped(argv_of(job, unit), indent="    ").replace(f" {chr(92)}{chr(10)}", chr(10))}
)
{_place(unit)}
run "${{engine[@]}}" &
pid=$!
trap 'kill -TERM "$pid" 2>/dev/null || true' INT TERM
if ((rank == 0)); then
    while kill -0 "$pid" 2>/dev/null; do
        if curl -sf -o /dev/null --max-time 5 "http://127.0.0.1:$port/health"; then
{_ready(unit)}
            break
        fi
        sleep 1
    done
fi
code=0
wait "$pid" || code=$?
{comments(job.say("launch_cluster.until_ended"))}
while kill -0 "$pid" 2>/dev/null; do wait "$pid" 2>/dev/null || true; done
exit "$code"
"""


def _between(unit: Unit) -> str:
    return "between=$2\n" if len(unit.nodes) > 1 else ""


def _cards(job: Job, unit: Unit) -> str:
    """Pick the engine's cards among those that SLURM gave to the job, by their order; it may name them as it likes."""
    spread = [[cards_of(job, n).index(d) for d in devices_on(job, unit, n)] for n in unit.nodes]
    rows = " ".join(shlex.quote(" ".join(map(str, places))) for places in spread)
    variables = {
        name: value for name, value in vllm_environment(unit, pick_cards=False).items() if name != "HIP_VISIBLE_DEVICES"
    }
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    if unit.vendor == "amd":
        # SLURM hides the others by ROCR_VISIBLE_DEVICES; HIP counts among what is left
        pick = 'cards=$(IFS=,; echo "${places[*]}")\nunset CUDA_VISIBLE_DEVICES\nexport HIP_VISIBLE_DEVICES=$cards'
    else:
        pick = """\
IFS=, read -r -a given <<<"${CUDA_VISIBLE_DEVICES:-}"
picked=()
for place in "${places[@]}"; do picked+=("${given[place]:-$place}"); done
cards=$(IFS=,; echo "${picked[*]}")
export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=$cards"""
    chosen = f'machines=({rows})\nread -r -a places <<<"${{machines[rank]}}"'
    return "\n".join((comments(job.say("launch_cluster.pick")), chosen, pick, exports))


def _span_words(unit: Unit, rank: str, head: str, port: str) -> list[str]:
    if len(unit.nodes) == 1:
        return []
    return ["--nnodes", str(len(unit.nodes)), "--node-rank", rank, "--master-addr", head, "--master-port", port]


def _place(unit: Unit) -> str:
    if len(unit.nodes) == 1:
        return 'engine+=(--port "$port")'
    nodes, width = len(unit.nodes), len(unit.devices) // len(unit.nodes)
    return f"""\
address=$(getent ahostsv4 "${{nodes[rank]}}" | awk 'NR == 1 {{ print $1 }}') || true
if [[ -n $address ]]; then export VLLM_HOST_IP="${{VLLM_HOST_IP:-$address}}"; fi
if [[ ${{BACKEND:-mp}} == ray ]]; then
    engine=(
        ray symmetric-run --address "${{nodes[0]}}:$between" --min-nodes {nodes} --num-gpus {width} --
        "${{engine[@]}}" --port "$port" --distributed-executor-backend ray
    )
else
    engine+=(--nnodes {nodes} --node-rank "$rank" --master-addr "${{nodes[0]}}" --master-port "$between")
    if ((rank == 0)); then engine+=(--port "$port"); else engine+=(--headless); fi
fi"""


_POST = "curl -sf -o /dev/null -X POST"
"""The key reaches it in a file: what stands on a command line can be read by everybody on the machine."""


def _ready(unit: Unit) -> str:
    sleep = f'            {_POST} -H @"$RIGFIT_STATE/header" "http://127.0.0.1:$port/sleep?level=1&mode=wait"\n'
    return (sleep if unit.sleeps else "") + f'            touch "$RIGFIT_STATE"/{shlex.quote(unit.name + ".ready")}'


def _environment_sh(job: Job) -> str:
    gpu = "--rocm" if job.vendor == "amd" else "--nv"
    image = pins.IMAGES[job.vendor]
    packages = " ".join([f"vllm=={pins.VLLM}", *(pins.BNB_PLUGIN if any(u.needs_bnb for u in job.units) else ())])
    return f"""\
# shellcheck shell=bash
{comments(*header(job), job.say("launch_cluster.environment"))}

# module load cuda/{pins.CUDA}
# source ~/vllm/bin/activate           # python3 -m venv ~/vllm && ~/vllm/bin/pip install {packages}
# conda activate vllm
# export HF_HOME=/scratch/$USER/huggingface
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0

run() {{ # WORD...
    exec "$@"
    # exec apptainer exec {gpu} --bind "${{HF_HOME:-$HOME/.cache/huggingface}}" docker://{image} "$@"
}}
"""


def _fetch_sh(job: Job) -> str:
    return f"""\
#!/usr/bin/env bash
{comments(*header(job), job.say("launch_cluster.fetch_login"))}
set -euo pipefail
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"
. ./environment.sh
run {shlex.join(["python3", "download.py", *download_arguments(job)])}
"""


def _swap_sh(job: Job) -> str:
    names = " ".join(shlex.quote(unit.name) for unit in job.units if unit.can_sleep)
    return f"""\
#!/usr/bin/env bash
{comments(*header(job), job.say("launch_cluster.swap"))}
set -euo pipefail
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"
engines=({names})
id=${{1:-}} wanted=${{2:-}}
if [[ -z $wanted || " ${{engines[*]}} " != *" $wanted "* || ! -e job-$id/engines ]]; then
    echo "usage: $0 JOB NAME    (${{engines[*]}})" >&2
    exit 2
fi

post() {{ # NAME PATH
    local name node port
    while read -r name node port; do
        if [[ $name == "$1" ]]; then
            srun --jobid="$id" --overlap --nodes=1 --ntasks=1 --nodelist="$node" \\
                {_POST} -H "@$PWD/job-$id/header" "http://127.0.0.1:$port$2" </dev/null
        fi
    done <"job-$id/engines"
}}

for engine in "${{engines[@]}}"; do
    if [[ $engine != "$wanted" ]]; then post "$engine" '/sleep?level=1&mode=wait'; fi
done
post "$wanted" /wake_up
echo "$wanted"
"""


def _readme(job: Job) -> str:
    return readme(
        job,
        "slurm",
        bases={unit.name: f"http://127.0.0.1:{unit.port}" for unit in job.units},
        machines=len(machines(job)),
        cards_each=max(len(cards_of(job, node)) for node in machines(job)),
        spans=[unit.name for unit in job.units if len(unit.nodes) > 1],
        width=max((workers(job, unit) for unit in job.units if len(unit.nodes) > 1), default=1),
        tunnel=_tunnel(job.units),
    )


def _tunnel(units: Sequence[Unit]) -> str:
    forwards = " ".join(f"-L {unit.port}:127.0.0.1:PORT_{index + 1}" for index, unit in enumerate(units))
    return f"ssh -N -J LOGIN {forwards} NODE"
