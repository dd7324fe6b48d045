"""User units of systemd: the weights first, then one engine after the other, each only once the last one answers.

Nothing foreign stands in a unit but in its comments: units call the scripts, which are quoted for the shell.
"""

from __future__ import annotations

from collections.abc import Sequence

from tools.launch.files import LaunchFile
from tools.launch.header import header
from tools.launch.job import Job, Unit
from tools.launch.local_scripts import comments
from tools.launch.targets.vllm_scripts import WEIGHTS, holder, weights_port

PREFIX = "rigfit"
TARGET = f"{PREFIX}.target"
FETCH = f"{PREFIX}-fetch.service"
FOLDER = "systemd/"
HOME = "%h/rigfit"
"""Where the scripts lie (``%h``: the user's home, systemd.unit(5))."""

_PATH = "Environment=PATH=%h/vllm/bin:/usr/local/bin:/usr/bin:/bin"
_SECRETS = "EnvironmentFile=-%h/.config/rigfit/rigfit.env"

_HARDENED = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
    "UMask=0077",
)
"""What a CUDA process bears (systemd.exec(5)). Not ``MemoryDenyWriteExecute`` (kernels are compiled while it runs),
``PrivateDevices`` (no cards) or ``PrivateTmp`` (sockets between engines lie there)."""


def service(label: str) -> str:
    """Return the file name of an engine's unit: ``rigfit-a.service``."""
    return f"{PREFIX}-{label}.service"


def unit_files(job: Job, *, weights: bool = False) -> tuple[LaunchFile, ...]:
    """Return ``systemd/rigfit-*.service`` in start order and ``systemd/rigfit.target``.

    Args:
        job: what is started.
        weights: the daemon that holds shared weights starts before the engines.
    """
    made = [LaunchFile(FOLDER + FETCH, _fetch(job))]
    before = [FETCH]
    if weights:
        daemon = _engine(job, WEIGHTS, weights_port(job), before, load_s=holder(job).load_s)
        made.append(LaunchFile(FOLDER + service(WEIGHTS), daemon))
        before = [*before, service(WEIGHTS)]
    for unit in job.units:
        text = _engine(job, unit.name, unit.port, before, unit=unit, load_s=unit.load_s)
        made.append(LaunchFile(FOLDER + service(unit.name), text))
        before = [*before[: 2 if weights else 1], service(unit.name)]
    names = [file.path.removeprefix(FOLDER) for file in made]
    return (*made, LaunchFile(FOLDER + TARGET, _target(job, names)))


def _top(job: Job, unit: Unit | None = None) -> str:
    return comments(*header(job, unit), job.say("launch_vllm.unit_place"))


def _fetch(job: Job) -> str:
    return f"""\
{_top(job)}
[Unit]
Description={job.say("launch_vllm.unit_fetch")}
PartOf={TARGET}

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={HOME}
{_PATH}
{_SECRETS}
ExecStart={HOME}/fetch.sh
TimeoutStartSec=infinity
{_lines(_HARDENED)}
"""


def _engine(job: Job, label: str, port: int, before: Sequence[str], *, load_s: int, unit: Unit | None = None) -> str:
    sleeps = " sleep" if unit and unit.sleeps else ""
    # after a failure three starts at most, however long each takes
    return f"""\
{_top(job, unit)}
[Unit]
Description={job.say("launch_vllm.unit_engine", name=label)}
PartOf={TARGET}
Requires={" ".join(before)}
After={" ".join(before)}
StartLimitIntervalSec={4 * (load_s + 120)}
StartLimitBurst=3

[Service]
Type=exec
WorkingDirectory={HOME}
{_PATH}
Environment=HF_HUB_OFFLINE=1
{_SECRETS}
ExecStart={HOME}/serve-{label}.sh
ExecStartPost={HOME}/wait-ready.sh {port} {load_s}{sleeps}
TimeoutStartSec={load_s + 60}
TimeoutStopSec=120
KillMode=mixed
Restart=on-failure
RestartSec=10
LimitNOFILE=65535
{_lines(_HARDENED)}
"""


def _target(job: Job, names: Sequence[str]) -> str:
    return f"""\
{_top(job)}
[Unit]
Description={job.say("launch_vllm.unit_all")}
Wants={" ".join(names)}
After={" ".join(names)}

[Install]
WantedBy=default.target
"""


def _lines(settings: Sequence[str]) -> str:
    return "\n".join(settings)
