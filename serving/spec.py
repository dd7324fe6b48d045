"""What the fleet runs: one engine each, as a command, an environment and a place to listen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_argv
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.job import Job, Unit
from tools.settings import passed_on

LOOPBACK = "127.0.0.1"
"""Engines listen here alone: their controls (``/sleep``, ``/collective_rpc``) ask for no key."""

PROCESSOR = "cpu"
"""Lock name of the processor and the machine's RAM, which engines without cards share."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine to run.

    Attributes:
        name: unique in the fleet, a DNS label (``Unit.name``).
        served_names: the models that it answers for, as callers name them.
        argv: the command; its first word is the path of ``vllm``.
        env: what is added to the environment; it may hold secrets and is shown nowhere.
        port: TCP port on the loopback address.
        cards: what no two engines may start on at once: ``nvidia:0``, ``amd:1``, ``cpu``.
        load_s: limit for the time until it is ready, in seconds.
        can_sleep: it runs with vLLM's sleep mode.
        unit: what the launch made of the plan, with the predicted footprint (``unit.instance.footprint``).
        repo: the model on the hub, whose files it fetches where they are not here.
        file_bytes: of those files; 0 = not known.
    """

    name: str
    served_names: tuple[str, ...]
    argv: tuple[str, ...]
    env: Mapping[str, str]
    port: int
    cards: tuple[str, ...]
    load_s: float
    can_sleep: bool
    unit: Unit
    repo: str = ""
    file_bytes: int = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def key(self) -> str | None:
        """What it asks for under ``/v1``; None where it asks for nothing."""
        return self.env.get("VLLM_API_KEY")


def specs(
    job: Job,
    *,
    command: Path,
    ports: Sequence[int],
    key: str | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[EngineSpec, ...]:
    """Return a job's engines in start order.

    Args:
        job: one machine's engines.
        command: the ``vllm`` of the engine's own environment.
        ports: one a unit, in the same order.
        key: what the engines shall ask for; the gateway alone knows it.
        env: further variables for all of them.

    Raises:
        BadValue: the job is for another engine than vLLM, or there are not as many ports as engines.
    """
    if job.engine != "vllm":
        raise BadValue("fleet.vllm_only", engine=job.engine)
    if len(ports) != len(job.units):
        raise BadValue("fleet.ports", ports=len(ports), engines=len(job.units))
    shared = {**(_shared_cores(len(job.units)) if job.choices.cpu else {}), **(env or {})}
    if key:
        shared["VLLM_API_KEY"] = key
    return tuple(_spec(job, unit, command, port, shared) for unit, port in zip(job.units, ports, strict=True))


def _spec(job: Job, unit: Unit, command: Path, port: int, shared: Mapping[str, str]) -> EngineSpec:
    cpu = job.choices.cpu
    words = vllm_argv(unit.instance, host=LOOPBACK, port=port, gpus=unit.gpus, cpu=cpu)
    return EngineSpec(
        name=unit.name,
        served_names=tuple(unit.instance.served_names) or (unit.checkpoint.repo,),
        argv=(str(command), *words[1:]),
        env={**vllm_environment(unit, cpu=cpu), **shared},
        port=port,
        cards=(PROCESSOR,) if cpu else tuple(f"{unit.vendor}:{device}" for device in unit.devices),
        load_s=unit.load_s,
        can_sleep=unit.can_sleep,
        unit=replace(unit, port=port),
        repo=unit.checkpoint.repo,
        file_bytes=unit.checkpoint.file_bytes or 0,
    )


def _shared_cores(engines: int) -> dict[str, str]:
    """Engines on the processor share its cores evenly; what the user has set stays."""
    import psutil

    if passed_on("OMP_NUM_THREADS"):
        return {}
    mine = psutil.Process()
    cores = len(mine.cpu_affinity() or ()) if hasattr(mine, "cpu_affinity") else psutil.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // engines))}
