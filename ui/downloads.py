"""The files of a shown plan: written under the data folder, named by their content, handed out by the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tools.domain import Note, Plan
from tools.launch.choices import Choices
from tools.launch.files import Check
from tools.launch.generate import generate
from tools.launch.kept import keep

FILE_ROUTE = "/gradio_api/file="
"""Where Gradio hands out files of the allowed folders."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file to fetch: its name, address and size."""

    name: str
    url: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Offered:
    """Files to fetch for one target.

    Attributes:
        files: in the order they were made.
        archive: all of them as a zip.
        notes: what was changed for the target's engine.
        checks: what the validators said.
    """

    files: tuple[Download, ...]
    archive: Download
    notes: tuple[Note, ...] = ()
    checks: tuple[Check, ...] = ()


def offered_files(
    plan: Plan, option: str | None, target: str, choices: Choices, *, language: str, folder: Path
) -> Offered:
    """Write the files of an option for a target.

    Args:
        plan: the plan.
        option: an option's id, ``"as_asked"``, or None for the recommended one.
        target: a launch target.
        choices: what was chosen about the files.
        language: of comments and README.
        folder: the folder that the page hands out; each content gets a folder of its own.

    Raises:
        RequestError: the target can't serve that option.
        StorageError: the folder can't be written.
    """
    made = generate(plan, option=option, target=target, language=language, choices=choices)
    kept = keep(made, folder)
    files = tuple(_download(file.path, path) for file, path in zip(made.files, kept.paths, strict=True))
    return Offered(files, _download(kept.archive.name, kept.archive), made.notes, made.checks)


def _download(name: str, path: Path) -> Download:
    return Download(name, FILE_ROUTE + quote(str(path)), path.stat().st_size)
