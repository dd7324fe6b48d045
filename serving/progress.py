"""What an engine's output tells of its start: a line is a stage, and how much of it is done.

Source: vLLM 0.32's own lines (``model_loader/default_loader.py``, ``weight_utils.py``, ``gpu_model_runner.py``,
``v1/core/kv_cache_utils.py``, ``entrypoints/openai``), and tqdm's bars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from serving.engine_state import Stage

_LINE = 1024
"""Of a line this much is looked at."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a start: a stage, and how much of it is done (0 to 1), where that is said."""

    stage: Stage
    share: float | None = None


_MARKS = (
    ("safetensors checkpoint shards", Stage.LOADING),
    ("Starting to load model", Stage.LOADING),
    ("Loading weights took", Stage.PROFILING),
    ("odel loading took", Stage.PROFILING),
    ("Capturing CUDA graphs", Stage.CAPTURING),
    ("Application startup complete", Stage.ANSWERING),
    ("Starting vLLM API server", Stage.ANSWERING),
)
_PERCENT = re.compile(r"(\d{1,3})%")


def progress_of(line: str) -> Progress | None:
    """Return what a line tells of the start, or None."""
    text = line[:_LINE]
    for mark, stage in _MARKS:
        at = text.find(mark)
        if at >= 0:
            percent = _PERCENT.search(text, at)
            share = min(100, int(percent.group(1))) / 100 if percent else None
            return Progress(stage, share)
    return None


class ProgressReader:
    """Reads an engine's output as it comes, in pieces of any size, and yields each step once."""

    def __init__(self) -> None:
        self._rest = b""
        self._last: Progress | None = None

    def feed(self, chunk: bytes) -> Iterator[Progress]:
        """Take bytes; yield the steps that they tell of."""
        *lines, rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[:_LINE]
        for line in lines:
            step = progress_of(line[:_LINE].decode(errors="replace"))
            if step and step != self._last:
                self._last = step
                yield step
