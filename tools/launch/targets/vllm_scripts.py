"""Shell scripts that start vLLM: one an engine, one that starts them in order, and the small ones they call."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from tools.launch import guard, pins, preflight
from tools.launch.argv.vllm import needs_remote_code, preload_argv, vllm_argv
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.argv.words import wrapped
from tools.launch.header import header
from tools.launch.job import Job, Unit, download_arguments
from tools.launch.local_scripts import LOCAL, begin, comments, needs
from tools.launch.supervision import start_function, supervised, until_stopped
from tools.plan.kernels import runs_on

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only where it was asked for, with an API key

_GUARDED = 'export PYTHONPATH="$here/guard${PYTHONPATH:+:$PYTHONPATH}"'

WEIGHTS = "weights"
"""Name of the daemon that holds weights for several engines; no engine has it."""


def host(job: Job, unit: Unit) -> str:
    """Return where an engine listens: on this machine, or everywhere where that was asked for.

    An engine that sleeps stays on this machine: an API key does not guard the routes that put it to sleep
    (``GUARDED_PREFIX``, vllm/entrypoints/serve/middleware/authenticate.py 0.32.0).
    """
    return EVERYWHERE if job.choices.open and not unit.can_sleep else LOCAL


def argv(job: Job, unit: Unit) -> list[str]:
    """Return the command that starts an engine."""
    at = host(job, unit)
    return vllm_argv(
        unit.instance,
        host=at,
        port=unit.port,
        middleware=guard.CLASS if at == EVERYWHERE else None,
        gpus=unit.gpus,
        cpu=job.choices.cpu,
    )


def holder(job: Job) -> Unit:
    """Return the engine whose weights the daemon holds, the first of those that map them."""
    return next(unit for unit in job.units if unit.instance.deployment.weights_elsewhere)


def weights_port(job: Job) -> int:
    """Return where the daemon that holds shared weights says that it is ready: the port after the engines'."""
    return max(unit.port for unit in job.units) + 1


def serve_sh(job: Job, unit: Unit) -> str:
    """Return ``serve-<name>.sh``: checks the cards, then becomes the engine."""
    notes = list(header(job, unit))
    if unit.needs_bnb:
        notes.append(job.say("launch.bnb", packages=" ".join(pins.BNB_PLUGIN)))
    notes += said_of_cards(job, unit)
    if needs_remote_code(unit.instance.deployment):
        notes.append(job.say("launch_vllm.remote_code"))
    notes.append(job.say("launch_vllm.alone"))
    check = shlex.join(["preflight.py", *preflight.arguments(job, unit)])
    lines = [
        "#!/usr/bin/env bash",
        comments(*notes),
        "set -euo pipefail",
        'here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)',
        *((*_key_needed(job), _GUARDED) if host(job, unit) == EVERYWHERE else ()),
        *_exports(vllm_environment(unit, cpu=job.choices.cpu)),
        *(_shared_cores(len(job.units)) if job.choices.cpu else ()),
        f'python3 "$here"/{check}',
        f"exec {wrapped(argv(job, unit))} \\",
        '    "$@"',
    ]
    return "\n".join(lines) + "\n"


def said_of_cards(job: Job, unit: Unit) -> list[str]:
    """Return what has to be said about an engine's checkpoint on its cards: float16 set, weights unpacked (Marlin)."""
    if job.choices.cpu:
        return []
    notes = [note for gpu in unit.gpus for note in runs_on(unit.checkpoint, gpu).needs if note.code != _PLUGIN]
    return list(dict.fromkeys(job.note(note) for note in notes))


_PLUGIN = "plan.needs_plugin"
"""Said with the package's version elsewhere."""


def weights_sh(job: Job) -> str:
    """Return ``serve-weights.sh``: the daemon whose weights the engines map."""
    unit = holder(job)
    lines = [
        "#!/usr/bin/env bash",
        comments(*header(job), job.say("launch_vllm.weights")),
        "set -euo pipefail",
        *_exports(vllm_environment(unit)),
        f"exec {wrapped(preload_argv(unit.instance, health_port=weights_port(job), gpus=unit.gpus))}",
    ]
    return "\n".join(lines) + "\n"


def _key_needed(job: Job) -> Sequence[str]:
    return (
        "if [[ -z ${VLLM_API_KEY:-} ]]; then",
        f"    echo {shlex.quote(job.say('launch_vllm.no_key'))} >&2",
        "    exit 1",
        "fi",
    )


def _exports(variables: Mapping[str, str]) -> Sequence[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _shared_cores(engines: int) -> Sequence[str]:
    return (
        "unset VLLM_CPU_KVCACHE_SPACE",
        f"cores=$(($(nproc) / {engines}))",
        'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > 0 ? cores : 1))}"',
    )


def fetch_sh(job: Job) -> str:
    """Return ``fetch.sh``: the weights, into the hub's cache."""
    return f"""\
#!/usr/bin/env bash
{comments(*header(job), job.say("launch_vllm.fetch"))}
set -euo pipefail
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"
exec {shlex.join(["python3", "download.py", *download_arguments(job)])}
"""


def wait_ready_sh(job: Job) -> str:
    """Return ``wait-ready.sh``, which a service manager runs after it has started an engine."""
    return f"""\
#!/usr/bin/env bash
{comments(job.say("launch_vllm.wait"))}
set -euo pipefail
base=http://{LOCAL}:$1 deadline=$((SECONDS + $2))
until curl -sf -o /dev/null --max-time 5 "$base/health"; do
    if ((SECONDS > deadline)); then
        echo {shlex.quote(job.say("launch.late"))} journalctl --user >&2
        exit 1
    fi
    sleep 1
done
if [[ ${{3:-}} == sleep ]]; then
    curl -sf -o /dev/null -X POST "$base/sleep?level=1&mode=wait"
fi
"""


def start_all_sh(job: Job, *, weights: bool = False) -> str:
    """Return ``start-all.sh``: fetches, starts one engine after the other, stops all of them together.

    Args:
        job: the engines to start.
        weights: start the daemon that holds their weights first, and stop it last.
    """
    return f"""\
{begin(job, job.say("launch.start_all"))}mkdir -p logs
{needs(job, "vllm", "python3", "curl")}
{_key_check(job)}
{supervised(job, last=weights)}
{start_function(job, limited=True, told=False)}{_sleep_function(job)}
{comments(job.say("launch.fetch"))}
./fetch.sh
export HF_HUB_OFFLINE=1

{comments(job.say("launch.in_order"))}
{chr(10).join(_steps(job, weights=weights))}

{until_stopped(job, *(f"  {unit.name}: http://{LOCAL}:{unit.port}/v1" for unit in job.units))}"""


def _key_check(job: Job) -> str:
    needed = any(host(job, unit) == EVERYWHERE for unit in job.units)
    return "\n".join(_key_needed(job)) + "\n" if needed else ""


def _steps(job: Job, *, weights: bool) -> Sequence[str]:
    steps: list[str] = []
    if weights:
        steps.append(shlex.join(["start", WEIGHTS, str(weights_port(job)), str(holder(job).load_s)]))
    for unit in job.units:
        steps.append(shlex.join(["start", unit.name, str(unit.port), str(unit.load_s)]))
        if unit.sleeps:
            steps.append(shlex.join(["put_to_sleep", unit.name, str(unit.port)]))
    return steps


def _sleep_function(job: Job) -> str:
    if not job.swaps:
        return ""
    return f"""
put_to_sleep() {{ # NAME PORT
    curl -sf -o /dev/null -X POST "http://{LOCAL}:$2/sleep?level=1&mode=wait"
}}
"""


def swap_sh(job: Job) -> str:
    """Return ``swap.sh``, which wakes one engine and puts the others to sleep."""
    ports = "\n".join(f"    [{shlex.quote(u.name)}]={u.port}" for u in job.units if u.can_sleep)
    return f"""\
#!/usr/bin/env bash
{comments(*header(job), job.say("launch.swap"))}
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
        curl -sf -o /dev/null -X POST "http://{LOCAL}:${{ports[$engine]}}/sleep?level=1&mode=wait"
    fi
done
curl -sf -o /dev/null -X POST "http://{LOCAL}:${{ports[$wanted]}}/wake_up"
echo "$wanted"
"""
