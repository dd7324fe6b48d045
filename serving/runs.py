"""What is known of runs of ``rigfit serve``: one file a gateway's port in the data folder, for other processes to read.

A run writes its file again whenever something changes, at once or not at all. Its settings are there too, so that it
can be started again after a crash or a reboot; keys and other secrets are not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from serving.processes import lives
from serving.wish import Wish
from tools.errors import StorageError

VERSION = 1
MOST_BYTES = 4 << 20
"""A file that is larger is none of ours: a plan's JSON has some 10 KB."""
STOPPED, INTERRUPTED, FAILED = "stopped", "interrupted", "failed"


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine of a run as it was last.

    Attributes:
        name: of the engine.
        models: the names that it answers for.
        stage: a word of ``serving.engine_state.Stage``.
        asleep: it is ready, and sleeps while another has its turn.
        since: when it came to this stage, fell asleep or woke, epoch seconds.
        port: where it listens on this machine.
        cards: what it runs on: ``nvidia:0``, ``cpu``.
        pid: of its first process; None while there is none.
        born: what tells that process from others of its number.
        ready_s: how long its last start took.
        restarts: how often it was started again.
        next_try: when it is started again after it failed, epoch seconds; None where it is not by itself.
        reason: why it failed, in the run's language.
        log: path of its log file.
        predicted: figures of the plan: ``weights_bytes``, ``kv_pool_bytes``, ``kv_pool_tokens``, ``max_concurrency``.
        measured: the same of its last start; what was not measured is None.
    """

    name: str
    models: tuple[str, ...] = ()
    stage: str = "waiting"
    asleep: bool = False
    since: float = 0.0
    port: int = 0
    cards: tuple[str, ...] = ()
    pid: int | None = None
    born: str | None = None
    ready_s: float | None = None
    restarts: int = 0
    next_try: float | None = None
    reason: str = ""
    log: str = ""
    predicted: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    measured: Mapping[str, float | None] = field(default_factory=dict[str, float | None])


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run.

    Attributes:
        port: of its gateway.
        url: of its gateway.
        pid: of its process.
        born: what tells that process from others of its number.
        started: epoch seconds.
        option: of the plan.
        plan: as ``rigfit plan --json`` prints it.
        wish: what ``rigfit serve`` was told besides; no secrets.
        engines: in start order.
        ready: epoch seconds when every engine was ready first; None before.
        ended: ``stopped`` by its user, ``interrupted`` by somebody else, ``failed``; empty while it runs or where it
            had no time to say.
        ended_at: epoch seconds.
        version: of this form.
    """

    port: int
    url: str
    pid: int
    born: str
    started: float
    option: str
    plan: Mapping[str, Any]
    wish: Wish
    engines: tuple[EngineRecord, ...] = ()
    ready: float | None = None
    ended: str = ""
    ended_at: float | None = None
    version: int = VERSION

    @property
    def running(self) -> bool:
        """Whether its process runs still."""
        return not self.ended_at and lives(self.pid, self.born)

    @property
    def resumable(self) -> bool:
        """Whether it came to an end that its user did not ask for."""
        return self.ended != STOPPED and not self.running

    def engine(self, model: str) -> EngineRecord | None:
        """Return the engine of that name or that answers for it."""
        return next((one for one in self.engines if model == one.name or model in one.models), None)


class Runs:
    """The runs of this user.

    Args:
        data_dir: Rigfit's data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "runs"
        self.logs = data_dir / "logs"

    def path(self, port: int) -> Path:
        """Return where the run on a port is kept."""
        return self._folder / f"{port}.json"

    def write(self, run: RunRecord) -> None:
        """Keep a run: the whole of it, or what was there before.

        Raises:
            StorageError: that can't be written.
        """
        path = self.path(run.port)
        new = path.with_suffix(f".{os.getpid()}.new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(run), indent=1))
                file.flush()
                os.fsync(descriptor)  # a power cut must not leave an empty file behind
            new.replace(path)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise StorageError("run.cannot_write", path=str(path), reason=error.strerror or str(error)) from error

    def read(self, port: int) -> RunRecord | None:
        """Return the run on a port; None where there is none, or where its file is damaged or of a newer Rigfit."""
        return self._read(self.path(port))

    def all(self) -> tuple[RunRecord, ...]:
        """Return every run that is kept, those that began last first."""
        found = (self._read(path) for path in self._files())
        return tuple(sorted((run for run in found if run), key=lambda run: -run.started))

    def damaged(self) -> tuple[Path, ...]:
        """Return the files that say nothing."""
        return tuple(path for path in self._files() if self._read(path) is None)

    def end(self, run: RunRecord, how: str) -> None:
        """Note how a run ended, unless another run has its place.

        Raises:
            StorageError: that can't be written.
        """
        now = self.read(run.port)
        if now is not None and (now.pid, now.born) == (run.pid, run.born):
            engines = tuple(replace(one, stage=_LAST.get(one.stage, one.stage), pid=None) for one in now.engines)
            self.write(replace(now, ended=how, ended_at=now.ended_at or time.time(), engines=engines))

    def last_to_resume(self, port: int | None = None) -> RunRecord | None:
        """Return the last run that its user did not stop and that does not run; of one port, where one is said."""
        return next((run for run in self.all() if run.resumable and port in {None, run.port}), None)

    def _files(self) -> tuple[Path, ...]:
        try:
            return tuple(sorted(path for path in self._folder.glob("*.json") if path.stem.isdecimal()))
        except OSError:
            return ()

    def _read(self, path: Path) -> RunRecord | None:
        try:
            with path.open("rb") as file:
                words = file.read(MOST_BYTES + 1)
            run = msgspec.json.decode(words, type=RunRecord)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        sane = len(words) <= MOST_BYTES and run.version == VERSION and str(run.port) == path.stem and run.pid > 0
        return run if sane else None


_LAST = {"failed": "failed", "gave_up": "gave_up"} | dict.fromkeys(
    ("waiting", "checking", "starting", "loading", "profiling", "capturing", "answering", "ready", "stopping"),
    "stopped",
)
"""What an engine's stage is once its run has ended."""
