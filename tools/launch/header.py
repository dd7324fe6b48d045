"""The comment every file begins with: for which plan, which versions, when, on which numbers, and how to check them."""

from __future__ import annotations

from tools.launch import pins
from tools.launch.job import Job, Unit, memory_row

ENGINES = {
    "vllm": ("vLLM", pins.VLLM),
    "sglang": ("SGLang", pins.SGLANG),
    "text-generation-webui": ("text-generation-webui", pins.WEBUI),
    "llama.cpp": ("llama.cpp", pins.LLAMACPP),
    "ollama": ("Ollama", pins.OLLAMA),
}
"""Name and supported version of each engine."""


def engine_name(engine: str) -> str:
    """Return an engine's name with the version that the files are for: ``vLLM 0.32.0``."""
    return " ".join(ENGINES.get(engine, (engine,)))


def header(job: Job, unit: Unit | None = None) -> tuple[str, ...]:
    """Return lines of comment, without the comment sign.

    Args:
        job: what is started.
        unit: the engine that the file is about; None = all of the job's.
    """
    units = job.units if unit is None else (unit,)
    lines = [job.say("launch.header", option=job.option, engine=engine_name(job.engine), date=job.made_on)]
    for one in units:
        row = memory_row(job, one)
        lines += [job.say("launch.share", **row), job.say("launch.share_memory", **row)]
    lines.append(job.say("launch.header_check"))
    return tuple(lines)
