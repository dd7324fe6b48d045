"""Files that were handed out: kept under one folder, named by their content, the oldest ones removed."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.errors import StorageError
from tools.launch.files import LaunchFiles, write, write_whole, zip_bytes

MOST_FOLDERS = 200
"""Sets of files kept; each is some tens of kB."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a set of files is: its folder, the files in it in their order, and a zip of them beside."""

    folder: Path
    paths: tuple[Path, ...]
    archive: Path


def keep(made: LaunchFiles, root: Path) -> Kept:
    """Write a set of files under ``root``; the same files are always in the same folder.

    Args:
        made: what was generated.
        root: the folder for all sets.

    Raises:
        StorageError: it can't be written.
    """
    content = zip_bytes(made)
    name = f"{made.target}-{hashlib.sha256(content).hexdigest()[:20]}"
    folder = root / name / "files"
    paths = write(made, folder)
    archive = root / name / f"rigfit-{made.target}.zip"
    try:
        if not archive.exists():
            write_whole(archive, content)
        (root / name).touch()
        _prune(root, spare=name)
    except OSError as error:
        raise StorageError("errors_launch.cannot_write", path=str(root), reason=error.strerror or str(error)) from error
    return Kept(folder, paths, archive)


def _prune(root: Path, *, spare: str) -> None:
    """Remove the sets that were asked for longest ago; one that another process removed first is no error."""
    sets = [(path.stat().st_mtime, path) for path in root.iterdir() if path.is_dir() and path.name != spare]
    for _, path in sorted(sets, reverse=True)[MOST_FOLDERS - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
