"""The README of a set of launch files, from a template in the asker's language."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prompts import LANGUAGES
from tools.domain import Checkpoint
from tools.launch import pins
from tools.launch.header import header
from tools.launch.job import Job, Unit, memory_row
from tools.launch.yaml_text import comment_line
from tools.units import gib


def readme(job: Job, target: str, *, bases: Mapping[str, str], **more: Any) -> str:
    """Render ``templates/<target>.<language>.md.j2``.

    Args:
        job: what is started.
        target: name of the target.
        bases: by engine name, the address before ``/v1``.
        more: what this target's template names beside what every template does.

    Returns:
        Markdown in which no name of the plan can act as markup. The file's header is a comment above it.
    """
    language = job.language if job.language in LANGUAGES else "en"
    template = _environment().get_template(f"{target}.{language}.md.j2")
    return _comment(header(job)) + template.render(_context(job, bases) | more).rstrip() + "\n"


def _comment(lines: tuple[str, ...]) -> str:
    """Lines as one comment of HTML, which none of them can end."""
    return "\n".join(("<!--", *(comment_line(line).replace("--", "- -") for line in lines), "-->", "", ""))


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment: Any = Environment(  # noqa: S701 - the output is Markdown; its escaping is md_code and md_text
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": md_code, "prose": md_text}
    return environment


def md_code(text: object) -> str:
    """Return text as an inline code span that also survives inside a table cell."""
    line = comment_line(str(text)).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def md_text(text: object) -> str:
    """Return text as one line of prose without markup of its own."""
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", comment_line(str(text)))


def _context(job: Job, bases: Mapping[str, str]) -> dict[str, Any]:
    chosen = job.chosen
    assumptions = [*job.plan.assumptions, *(note for unit in job.units for note in unit.instance.footprint.assumptions)]
    return {
        "job": job,
        "pins": pins,
        "image": pins.IMAGES.get(job.vendor, ""),
        "title": job.note(chosen.title) if chosen else "",
        "needs": [job.note(note) for note in chosen.needs] if chosen else [],
        "rows": [_row(job, unit, bases[unit.name]) for unit in job.units],
        "downloads": [{"repo": c.repo, "size": _size(job, c), "sibling_of": c.sibling_of} for c in job.checkpoints],
        "cards": _cards(job),
        "gib": gib,
        "bnb": any(unit.needs_bnb for unit in job.units),
        "bnb_packages": " ".join(pins.BNB_PLUGIN),
        "assumptions": list(dict.fromkeys(job.note(note) for note in assumptions)),
        "sleepers": [unit.name for unit in job.units if unit.sleeps],
        "swappers": [unit.name for unit in job.units if unit.can_sleep],
    }


def _cards(job: Job) -> list[dict[str, Any]]:
    """What is on each card, once for neighbours that are alike: those from ``index`` to ``last``."""
    found: list[dict[str, Any]] = []
    for gpu in job.placement.gpus:
        if not any(gpu.index in unit.instance.gpu_indices for unit in job.units):
            continue
        row = {name: getattr(gpu, name) for name in ("name", "total_bytes", "reserved_bytes", "free_bytes")}
        if found and found[-1]["last"] == gpu.index - 1 and row.items() <= found[-1].items():
            found[-1]["last"] = gpu.index
        else:
            found.append({"index": gpu.index, "last": gpu.index, **row})
    return found


def _size(job: Job, checkpoint: Checkpoint) -> str:
    """The size of a checkpoint's files: as published, else about what its engine holds in all on its cards."""
    if checkpoint.file_bytes:
        return gib(checkpoint.file_bytes)
    if checkpoint.in_flight:
        return "?"
    unit = next(unit for unit in job.units if unit.checkpoint == checkpoint)
    return "≈ " + gib(unit.instance.footprint.weights_bytes * len(unit.instance.gpu_indices))


def _row(job: Job, unit: Unit, base: str) -> dict[str, Any]:
    return {
        **memory_row(job, unit),
        "served": unit.instance.served_names,
        "base": f"{base}/v1",
        "port": unit.port,
        "sleeps": unit.sleeps,
        "curl": _curl(job, base, (*unit.instance.served_names, unit.checkpoint.repo)[0]),
        "minutes": unit.load_s // 60,
    }


def _curl(job: Job, base: str, model: str) -> str:
    # a model that thinks needs most of the tokens before its answer
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 512}
    words = shlex.join(["curl", f"{base}/v1/chat/completions", "-H", "Content-Type: application/json"])
    key = ' \\\n  -H "Authorization: Bearer $VLLM_API_KEY"' if job.choices.open else ""
    return words + key + " \\\n  -d " + shlex.quote(json.dumps(body, ensure_ascii=False))
