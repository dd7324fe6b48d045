"""The files of a shown plan: written under the data folder, named by their content, handed out by the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

from tools.domain import Plan
from tools.errors import RequestError, StorageError
from tools.launch.files import write_whole
from tools.launch.generate import TARGETS, generate, write, zip_bytes
from ui.panel import Download

FILE_ROUTE = "/gradio_api/file="
"""Where Gradio hands out files of the allowed folders."""


def plan_downloads(plan: Plan, option: str | None, language: str, folder: Path) -> tuple[Download, ...]:
    """Write the files of an option, for every target that can serve it.

    Args:
        plan: the plan.
        option: an option's id, ``"as_asked"``, or None for the recommended one.
        language: of comments and README.
        folder: the folder that the page hands out; each content gets a folder of its own.

    Returns:
        The files and a zip for each target; empty where the option does not fit.

    Raises:
        StorageError: the folder can't be written.
    """
    found: list[Download] = []
    for target in TARGETS:
        try:
            made = generate(plan, option=option, target=target, language=language)
        except RequestError:
            continue
        archive = zip_bytes(made)
        home = folder / f"{target}-{hashlib.sha256(archive).hexdigest()[:20]}"
        write(made, home)
        name = f"rigfit-{target}.zip"
        _write_once(home / name, archive)
        found += [_download(home, file.path, target) for file in made.files]
        found.append(_download(home, name, target))
    return tuple(found)


def _write_once(path: Path, content: bytes) -> None:
    try:
        if not path.exists():
            write_whole(path, content)
    except OSError as error:
        raise StorageError("errors_ui.files_failed", reason=error.strerror or str(error)) from error


def _download(home: Path, name: str, target: str) -> Download:
    path = home / name
    return Download(name, FILE_ROUTE + quote(str(path)), path.stat().st_size, target)
