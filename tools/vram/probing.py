"""Run the probe: a child process of vLLM's own interpreter, with limits on time, memory and what it may say.

A broken model takes the child down, not the caller: the case in hand gets an error and the others are asked again.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tools.errors import EngineRefuses, ExactUnavailable, RigfitError
from tools.settings import passed_on
from tools.units import GIB

Case = dict[str, Any]
Answer = dict[str, Any]

PROBE = Path(__file__).with_name("probe.py")
VERSION = "0.32"
"""The vLLM whose inner workings the probe knows."""
MAX_LINE = 4 << 20
"""Bytes of one answer; a model of a thousand kinds of layers stays far below."""
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""What the child gets of the environment: no keys, no tokens."""
FIXED = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
"""It stays off the network and off the cards, which may be full."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may take.

    Attributes:
        start_s: until it is ready (importing vLLM takes 6 to 30 s).
        case_s: for one case.
        total_s: for all children together.
        memory_bytes: of data it may hold; vLLM and its libraries take about 3 GiB.
    """

    start_s: float = 180.0
    case_s: float = 120.0
    total_s: float = 1800.0
    memory_bytes: int = 8 * GIB


def ask(python: Path, cases: Sequence[Case], *, capability: str = "9.0", limits: Limits | None = None) -> list[Any]:
    """Ask the probe about cases, in one child as long as none of them takes it down.

    Args:
        python: interpreter of an environment with vLLM.
        cases: as ``probe.py`` describes them, without ``id``.
        capability: compute capability of the pretended card.
        limits: on time and memory.

    Returns:
        For each case the probe's answer, or a ``RigfitError``: ``EngineRefuses`` with vLLM's reason, or
        ``ExactUnavailable`` where the child died, hung or spoke nonsense.

    Raises:
        ExactUnavailable: the interpreter can't be run, or does not become ready.
    """
    limits = limits or Limits()
    until = time.monotonic() + limits.total_s
    found: list[Answer | RigfitError] = []
    while len(found) < len(cases):
        with tempfile.TemporaryDirectory(prefix="rigfit-probe-") as folder:
            found += _one_child(python, cases[len(found) :], capability, limits, until, Path(folder))
        if time.monotonic() > until and len(found) < len(cases):
            late = ExactUnavailable("errors_exact.too_slow", seconds=round(limits.total_s))
            found += [late] * (len(cases) - len(found))
    return found


def _one_child(
    python: Path, cases: Sequence[Case], capability: str, limits: Limits, until: float, folder: Path
) -> list[Answer | RigfitError]:
    """Answer as many cases as one child does; the last answer is an error where it was taken down."""
    (folder / "cases").write_text("".join(json.dumps({**case, "id": i}) + "\n" for i, case in enumerate(cases)))
    found: list[Answer | RigfitError] = []
    with open(folder / "cases", "rb") as asked, open(folder / "log", "wb") as log:
        child = _start(python, capability, limits, asked, log, folder)
        try:
            lines = _lines(child, limits, until)
            _await_ready(lines, folder)
            for number in range(len(cases)):
                answer = _parsed(next(lines, b""), "id")
                if answer is None or answer["id"] != number:
                    raise ExactUnavailable("errors_exact.died", reason=_last_words(folder))
                found.append(_judged(answer))
        except ExactUnavailable as error:
            if error.code == "errors_exact.not_ready":
                raise
            found.append(error)
        finally:
            _end(child)
    return found


def _start(
    python: Path, capability: str, limits: Limits, asked: IO[bytes], log: IO[bytes], folder: Path
) -> subprocess.Popen[bytes]:
    """Start the probe as the leader of a process group, in an empty folder, with a limit on its data."""
    command = [str(python), str(PROBE), "--ready", "--capability", capability]
    if shutil.which("sh"):
        command = ["sh", "-c", 'ulimit -d "$0" 2>/dev/null; exec "$@"', str(limits.memory_bytes >> 10), *command]
    try:
        return subprocess.Popen(  # noqa: S603 - the interpreter is the user's own setting
            command,
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=passed_on(*KEPT) | {"HOME": str(folder), "TMPDIR": str(folder), **FIXED},
            start_new_session=True,
        )
    except OSError as error:
        raise ExactUnavailable("errors_exact.not_ready", reason=error.strerror or str(error)) from error


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the whole group, also what the child started itself."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()
    child.wait()
    if child.stdout:
        child.stdout.close()


def _lines(child: subprocess.Popen[bytes], limits: Limits, until: float) -> Iterator[bytes]:
    """Yield lines as they come; ends with the child.

    Raises:
        ExactUnavailable: a line took too long or is too long.
    """
    stream = cast("IO[bytes]", child.stdout)
    os.set_blocking(stream.fileno(), False)
    allowed, buffer = limits.start_s, b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        deadline = min(until, time.monotonic() + allowed)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ExactUnavailable("errors_exact.too_slow", seconds=round(allowed))
            piece = stream.read(1 << 16)
            if not piece:
                return
            *whole, buffer = (buffer + piece).split(b"\n")
            if len(buffer) > MAX_LINE:
                raise ExactUnavailable("errors_exact.nonsense")
            for line in whole:
                yield line
                allowed = limits.case_s
                deadline = min(until, time.monotonic() + allowed)


def _parsed(line: bytes, field: str) -> Answer | None:
    """Read an answer; None where the child ended without one.

    Raises:
        ExactUnavailable: it is not an object with that field.
    """
    if not line:
        return None
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or field not in answer:
        raise ExactUnavailable("errors_exact.nonsense")
    return cast("Answer", answer)


def _await_ready(lines: Iterator[bytes], folder: Path) -> None:
    """Wait until the child has imported a vLLM that the probe knows.

    Raises:
        ExactUnavailable: ``errors_exact.not_ready``: it ended, was late, spoke nonsense, or has another version.
    """
    try:
        first = _parsed(next(lines, b""), "ready")
    except ExactUnavailable as error:
        raise ExactUnavailable("errors_exact.not_ready", reason=_last_words(folder)) from error
    version = str(first["vllm"])[:20] if first and "vllm" in first else None
    if version is None:
        raise ExactUnavailable("errors_exact.not_ready", reason=_last_words(folder))
    if not version.startswith(f"{VERSION}."):
        raise ExactUnavailable("errors_exact.not_ready", reason=f"vLLM {version} instead of {VERSION}")


def _last_words(folder: Path) -> str:
    """Return the last line that a child wrote to its log."""
    with open(folder / "log", "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
        lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no message")


def _judged(answer: Answer) -> Answer | RigfitError:
    """Turn vLLM's refusal into an error of one line."""
    if "error" not in answer:
        return answer
    kind, _, words = " ".join(str(answer["error"]).split()).partition(": ")
    words = words.rpartition(" Value error, ")[2]
    for tail in (" Supported architectures:", " [type=", " For further information"):
        words = words.partition(tail)[0]
    return EngineRefuses("errors_exact.refused", reason=(words.strip() or kind)[:300])
