"""A lock on each card, so that two Rigfits of one machine do not fight over it, whoever runs them.

One file a card in a folder that all users share. The lock is ``flock``'s: it ends with its process, however that ends.
The file says who holds it, for the sentence alone. A package such as filelock is not used, because it opens with
``O_CREAT | O_TRUNC``: Linux refuses that for another user's file in a folder like ``/tmp`` (``fs.protected_regular``,
docs.kernel.org/admin-guide/sysctl/fs.html), and it would wipe out the holder's words.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.errors import BadValue, StorageError

SHARED_FOLDERS = (Path("/run/lock"), Path("/var/lock"), Path("/tmp"))  # noqa: S108  opened with care below
"""Where every user may write; the first that is there is taken (Filesystem Hierarchy Standard 3.0, 5.9 and 3.18)."""
_STICKY_FOR_ALL = stat.S_ISVTX | stat.S_IWOTH
_READ_BYTES = 1024
_PATIENCE_S = 0.3
"""A look at a lock holds it for an instant; who finds it held tries again for so long."""
_CARD = re.compile(r"[a-z0-9][a-z0-9:._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a card.

    Attributes:
        pid: its process; 0 where it did not say.
        port: where its gateway listens; 0 where it did not say.
        since: epoch seconds.
    """

    pid: int = 0
    port: int = 0
    since: float = 0.0


class CardTaken(BadValue):
    """Another Rigfit uses a card."""

    def __init__(self, card: str, holder: Holder, path: Path) -> None:
        self.card, self.holder = card, holder
        if holder.pid:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(holder.since))
            super().__init__("run.card_taken", card=card, pid=holder.pid, port=holder.port, since=since)
        else:
            super().__init__("run.card_taken_by_somebody", card=card, path=str(path))


def lock_folder(named: Path | None) -> Path:
    """Return the folder of the locks: the one that is named, made for all users if need be, or the machine's own.

    Raises:
        StorageError: it can't be made.
    """
    if named is None:
        return shared_folder()
    with _storage(named):
        if not named.is_dir():
            named.mkdir(parents=True, exist_ok=True)
            named.chmod(0o1777)  # as /tmp: everybody writes, nobody removes what is another's
    return named


def shared_folder() -> Path:
    """Return the folder of the locks that is the same for all users of a machine."""
    for folder in SHARED_FOLDERS:
        with suppress(OSError):
            if folder.stat().st_mode & _STICKY_FOR_ALL == _STICKY_FOR_ALL:
                return folder
    return SHARED_FOLDERS[-1]


@contextmanager
def held(folder: Path, cards: Iterable[str], *, port: int) -> Iterator[None]:
    """Hold the locks of some cards inside the block.

    Args:
        folder: of the locks.
        cards: names such as ``nvidia:0``; always taken in the same order, none is waited for.
        port: where the gateway of this process listens, for others' sentences.

    Raises:
        CardTaken: another process holds one; then none is held.
        StorageError: the folder or a file in it can't be used.
    """
    with ExitStack() as stack:
        for card in sorted(set(cards)):
            stack.enter_context(_held(folder, card, Holder(os.getpid(), port, time.time())))
        yield


def taken(folder: Path, card: str) -> CardTaken | None:
    """Return what whoever needs a card now would be told, or None where it is free.

    Raises:
        StorageError: the folder or the file can't be used.
    """
    path = _path(folder, card)
    with _storage(path):
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            return None
        try:
            return None if _lock(descriptor, shared=True) else CardTaken(card, _read(descriptor), path)
        finally:
            os.close(descriptor)


@contextmanager
def _held(folder: Path, card: str, me: Holder) -> Iterator[None]:
    path = _path(folder, card)
    with _storage(path):
        descriptor = _take(path, card)
    try:
        with _storage(path):
            _write(descriptor, msgspec.json.encode(me))
        yield
    finally:
        with suppress(OSError):
            _write(descriptor, b"")
        os.close(descriptor)


def _take(path: Path, card: str) -> int:
    """Open a lock's file and lock it; returns its descriptor."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        descriptor = _open_or_make(path)
        if _lock(descriptor, shared=False) and _is_at(descriptor, path):
            return descriptor
        said = _read(descriptor)
        os.close(descriptor)
        if time.monotonic() > end:
            raise CardTaken(card, said, path)
        time.sleep(0.02)


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether a file still lies there: somebody may have cleaned up since it was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _path(folder: Path, card: str) -> Path:
    if not _CARD.fullmatch(card):
        raise ValueError(card)
    return folder / f"rigfit-{card.replace(':', '-')}.lock"


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError("run.lock_unusable", path=str(path), reason=error.strerror or str(error)) from error


def _open_or_make(path: Path) -> int:
    """Open a lock's file, or make it so that other users can open it too."""
    for _ in range(10):  # two that make it at once: one of them finds the other's
        with suppress(FileNotFoundError):
            return _open(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(FileExistsError):
            descriptor = os.open(path, flags, 0o600)
            os.fchmod(descriptor, 0o666)  # whatever the umask: the file holds a process number and a port
            return descriptor
    raise FileExistsError(17, "it appears and vanishes", str(path))


def _open(path: Path) -> int:
    """Open an existing file without following a link.

    Raises:
        OSError: it is a link, has other names, or is no plain file: none of ours.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode) and about.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise PermissionError(1, "it is no file of Rigfit's", str(path))


def _lock(descriptor: int, *, shared: bool) -> bool:
    import fcntl  # not on Windows, where no engine runs

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Holder:
    """Read who holds a lock; whatever else another user wrote there says nothing."""
    try:
        said = msgspec.json.decode(os.pread(descriptor, _READ_BYTES, 0), type=Holder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Holder()
    sane = said.pid > 0 and 0 < said.port < 1 << 16 and 0 < said.since < 1e11
    return said if sane else Holder()


def _write(descriptor: int, words: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, words, 0)
