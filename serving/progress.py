"""What an engine's output tells of its start: a line is a stage, and how much of it is done.

Sources, vLLM 0.32.0: ``v1/engine/core.py``, ``v1/worker/gpu_model_runner.py``, ``v1/worker/cpu_model_runner.py``,
``v1/worker/gpu/cudagraph_utils.py``, ``model_executor/model_loader/weight_utils.py`` (bars with a line each),
``compilation/backends.py``, ``entrypoints/launchers/api_server/entry.py``. Bars for captured graphs are tqdm's own,
with carriage returns. What vLLM downloads itself it does without a word (``DisabledTqdm``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from serving.engine_state import Stage

_LINE = 1024
"""Of a line this much is looked at, in bytes; engines print their whole configuration in one line."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a start: a stage, and how much of it is done (0 to 1), where that is said."""

    stage: Stage
    share: float | None = None


_MARKS = (
    ("Starting to load model ", Stage.LOADING),
    ("oading safetensors ", Stage.LOADING),
    ("checkpoint shards", Stage.LOADING),
    ("Multi-thread loading shards", Stage.LOADING),
    ("Loading weights took ", Stage.PROFILING),
    ("odel loading took ", Stage.PROFILING),
    ("for vLLM's torch.compile", Stage.PROFILING),
    ("Warming up model for the compilation", Stage.PROFILING),
    ("Capturing CUDA graphs", Stage.CAPTURING),
    ("Graph capturing finished in ", Stage.CAPTURING),
    ("init engine (profile, ", Stage.ANSWERING),
    ("Starting vLLM server on ", Stage.ANSWERING),
    ("Application startup complete", Stage.ANSWERING),
)
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3})%")
_WITH_SHARE = frozenset({Stage.LOADING, Stage.CAPTURING})


def progress_of(line: str) -> Progress | None:
    """Return what a line tells of the start, or None.

    Example:
        ``Loading safetensors checkpoint shards:  45% Completed | 5/11 [...]`` is ``Progress(Stage.LOADING, 0.45)``.
    """
    for mark, stage in _MARKS:
        at = line.find(mark)
        if at >= 0:
            percent = _PERCENT.search(line, at + len(mark)) if stage in _WITH_SHARE else None
            return Progress(stage, min(100, int(percent.group(1))) / 100 if percent else None)
    return None


class ProgressReader:
    """Reads an engine's output as it comes, in pieces of any size, and tells each step once."""

    def __init__(self) -> None:
        self._rest = b""
        self._last: Progress | None = None

    def feed(self, chunk: bytes) -> Iterator[Progress]:
        """Take bytes; yield the steps that their whole lines tell of. A carriage return ends a line too."""
        *lines, rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[:_LINE]
        for line in lines:
            step = progress_of(line[:_LINE].decode(errors="replace"))
            if step and step != self._last:
                self._last = step
                yield step
