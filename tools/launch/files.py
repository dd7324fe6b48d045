"""What a launch generator hands back, and how it gets to disk or into a zip."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tools.domain import Note
from tools.errors import BadValue, StorageError


@dataclass(frozen=True, slots=True)
class LaunchFile:
    """A text file: ``path`` is relative, with forward slashes; ``content`` is written as UTF-8."""

    path: str
    content: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """What a validator said: ``ok`` True, False, or None where the validator is not there (``detail`` says which)."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class LaunchFiles:
    """The files that start one option of a plan with one target, and what the validators said about them.

    Attributes:
        notes: what was changed for the target's engine: which checkpoint became which.
    """

    target: str
    option: str
    files: tuple[LaunchFile, ...]
    checks: tuple[Check, ...]
    notes: tuple[Note, ...] = ()


def write(files: LaunchFiles | Iterable[LaunchFile], out_dir: Path | str) -> tuple[Path, ...]:
    """Write files under a folder, which is made if missing.

    A file that is already there is never replaced: with the same content it is left as it is, with another content
    nothing at all is written.

    Returns:
        The paths, in the order of ``files``.

    Raises:
        BadValue: a path that leaves the folder, or a different file of that name is already there.
        StorageError: the folder can't be read or written (full disk, no permission).
    """
    root = Path(out_dir)
    targets = [(root / _safe(file.path), file) for file in _listed(files)]
    try:
        for path, file in targets:
            if not path.parent.resolve().is_relative_to(root.resolve()):
                raise BadValue("errors_launch.bad_path", path=file.path)
            if path.is_symlink() or (path.exists() and path.read_bytes() != file.content.encode()):
                raise BadValue("errors_launch.file_exists", path=str(path))
        for path, file in targets:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, file.content.encode())
            path.chmod(0o755 if file.executable else 0o644)
    except OSError as error:
        raise StorageError("errors_launch.cannot_write", path=str(root), reason=error.strerror or str(error)) from error
    return tuple(path for path, _ in targets)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, so that a full disk leaves no half of one behind.

    Raises:
        OSError: it can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def zip_bytes(files: LaunchFiles | Iterable[LaunchFile]) -> bytes:
    """Return a zip of the files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _listed(files):
            entry = zipfile.ZipInfo(str(_safe(file.path)), date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, so that the permission bits are read
            entry.external_attr = (0o100755 if file.executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.content.encode())
    return buffer.getvalue()


def _listed(files: LaunchFiles | Iterable[LaunchFile]) -> tuple[LaunchFile, ...]:
    return files.files if isinstance(files, LaunchFiles) else tuple(files)


def _safe(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\x00" in path:
        raise BadValue("errors_launch.bad_path", path=path)
    return pure
